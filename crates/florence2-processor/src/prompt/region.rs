//! Conversion of boxes to the text of a prompt.

use florence2_postprocess::{Coordinates, ImageSize, Quantizer};

use crate::error::{Error, Result};

/// Converts a box in pixels to `<loc_x1><loc_y1><loc_x2><loc_y2>`. A box that reaches beyond the
/// image is clipped.
///
/// # Errors
/// [`Error::Region`] if the box is not finite, its corners are swapped, or it lies outside the
/// image.
pub fn region_text(region: [f64; 4], image_size: ImageSize) -> Result<String> {
    let [x1, y1, x2, y2] = region;
    let refuse = |expected: String| Error::Region {
        found: format!("{x1},{y1},{x2},{y2}"),
        expected,
    };
    if !region.iter().all(|value| value.is_finite()) {
        return Err(refuse("finite coordinates".to_owned()));
    }
    if x1 > x2 || y1 > y2 {
        return Err(refuse("x1 <= x2 and y1 <= y2".to_owned()));
    }
    let (width, height) = (f64::from(image_size.width), f64::from(image_size.height));
    if x2 < 0.0 || y2 < 0.0 || x1 > width || y1 > height {
        return Err(refuse(format!(
            "a box within the image of {width}x{height} pixels"
        )));
    }
    let quantizer = Quantizer {
        image_size,
        coordinates: Coordinates::BinCenters,
    };
    let [x1, y1] = quantizer.quantize([x1, y1]);
    let [x2, y2] = quantizer.quantize([x2, y2]);
    Ok(format!("<loc_{x1}><loc_{y1}><loc_{x2}><loc_{y2}>"))
}

//! Conversion of coordinates to bins and back: HF `Florence2PostProcessor.quantize` and
//! `dequantize`.

use crate::types::{Coordinates, ImageSize};

/// The number of bins along each side of an image of any size.
pub const BINS: u32 = 1000;

/// Converts pixels of one image to bins, and bins to pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantizer {
    /// The size of the image.
    pub image_size: ImageSize,
    /// The convention for the coordinate of a bin.
    pub coordinates: Coordinates,
}

impl Quantizer {
    /// The bins, 0 to 999, of a point in pixels.
    pub fn quantize(&self, [x, y]: [f64; 2]) -> [u32; 2] {
        let bin = |value: f64, size: u32| {
            let bin = (value / (f64::from(size) / f64::from(BINS))).floor();
            bin.clamp(0.0, f64::from(BINS - 1)) as u32
        };
        [
            bin(x, self.image_size.width),
            bin(y, self.image_size.height),
        ]
    }

    /// The point in pixels of two bins.
    pub fn dequantize(&self, [x, y]: [u32; 2]) -> [f64; 2] {
        let ImageSize { width, height } = self.image_size;
        [self.coordinate(x, width), self.coordinate(y, height)]
    }

    fn coordinate(&self, bin: u32, size: u32) -> f64 {
        match self.coordinates {
            Coordinates::BinCenters => (f64::from(bin) + 0.5) * f64::from(size) / f64::from(BINS),
            // The reference multiplies in f32, which determines the truncated integers.
            Coordinates::HfIntegers => {
                let per_bin = (f64::from(size) / f64::from(BINS)) as f32;
                f64::from(((bin as f32 + 0.5) * per_bin).trunc())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let image_size = ImageSize {
            width: 640,
            height: 480,
        };
        let quantizer = Quantizer {
            image_size,
            coordinates: Coordinates::BinCenters,
        };
        assert_eq!(quantizer.quantize([639.9, -3.0]), [999, 0]);
        assert_eq!(quantizer.dequantize([53, 333]), [34.24, 160.08]);
        let quantizer = Quantizer {
            coordinates: Coordinates::HfIntegers,
            ..quantizer
        };
        assert_eq!(quantizer.dequantize([53, 333]), [34.0, 160.0]);
        for bin in 0..BINS {
            let centers = Quantizer {
                coordinates: Coordinates::BinCenters,
                ..quantizer
            };
            assert_eq!(centers.quantize(centers.dequantize([bin, bin])), [bin, bin]);
        }
    }
}

//! Coordinates as bins and back: HF `Florence2PostProcessor.quantize` and `dequantize`.

use serde::{Deserialize, Serialize};

/// Bins along each side of an image, whatever its size.
pub const BINS: u32 = 1000;

/// An image's size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageSize {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Whose conventions a result follows where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// Coordinates are the bins' centres, as Microsoft's code gives them; labels keep all
    /// characters; `<pad>` is no part of a plain text; a polygon's ring without points is left out.
    #[default]
    Centers,
    /// As transformers 5.17: centres cut to integers, labels of boxes without the characters
    /// outside ASCII, `<pad>` kept in plain text, rings without points kept.
    Hf,
}

/// Turns pixels into bins and bins into pixels of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantizer {
    /// The image.
    pub image_size: ImageSize,
    /// What a bin's coordinate is.
    pub compat: Compat,
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
        match self.compat {
            Compat::Centers => (f64::from(bin) + 0.5) * f64::from(size) / f64::from(BINS),
            // The reference multiplies in f32, which decides what the cut to integers leaves.
            Compat::Hf => {
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
            compat: Compat::Centers,
        };
        assert_eq!(quantizer.quantize([639.9, -3.0]), [999, 0]);
        assert_eq!(quantizer.dequantize([53, 333]), [34.24, 160.08]);
        let quantizer = Quantizer {
            compat: Compat::Hf,
            ..quantizer
        };
        assert_eq!(quantizer.dequantize([53, 333]), [34.0, 160.0]);
        for bin in 0..BINS {
            let centers = Quantizer {
                compat: Compat::Centers,
                ..quantizer
            };
            assert_eq!(centers.quantize(centers.dequantize([bin, bin])), [bin, bin]);
        }
    }
}

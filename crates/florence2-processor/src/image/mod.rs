//! Images in memory: decoded from files, copied from pixel buffers or converted from YUV frames.

mod bmp;
mod decode;
mod gif;
mod jpeg;
mod png;
mod raw;
mod tiff;
mod yuv;

use florence2_postprocess::ImageSize;

use crate::error::{Error, Result};

pub use decode::DecodeOptions;
pub use raw::{PixelBuffer, PixelFormat, PixelRect};
pub use yuv::{ChromaPlanes, Plane, YuvBuffer, YuvMatrix, YuvRange};

/// An image of 8-bit RGB pixels in row-major order, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Image {
    /// Creates an image from RGB pixels in row-major order, without padding.
    ///
    /// # Errors
    /// [`Error::PixelBuffer`] if `rgb` does not have `width * height * 3` bytes, [`Error::Image`]
    /// if a side is 0.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self> {
        check_sides(width, height, "pixel buffer")?;
        let expected = u128::from(width) * u128::from(height) * 3;
        if rgb.len() as u128 != expected {
            return Err(Error::PixelBuffer {
                field: "data",
                found: format!("{} bytes", rgb.len()),
                expected: format!("{expected}"),
            });
        }
        Ok(Self { width, height, rgb })
    }

    /// The width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The width and height in pixels.
    pub fn size(&self) -> ImageSize {
        ImageSize {
            width: self.width,
            height: self.height,
        }
    }

    /// The pixels in row-major order: `width * height * 3` bytes.
    pub fn as_rgb(&self) -> &[u8] {
        &self.rgb
    }
}

/// Rejects an image without pixels. The error names it `name`.
fn check_sides(width: u32, height: u32, name: &str) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::Image {
            name: name.to_owned(),
            reason: format!("{width}x{height} pixels, expected at least 1x1"),
        });
    }
    Ok(())
}

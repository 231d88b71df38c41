//! Pixel buffers in memory, such as camera frames, and regions of them.

use super::{Image, check_sides};
use crate::error::{Error, Result};

/// The channel order of a pixel buffer, one byte per channel. Alpha is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue, alpha.
    Rgba,
    /// Blue, green, red.
    Bgr,
    /// Blue, green, red, alpha.
    Bgra,
    /// Gray.
    Gray,
}

/// A borrowed pixel buffer, such as a camera frame.
#[derive(Debug, Clone, Copy)]
pub struct PixelBuffer<'a> {
    /// `height` rows of `stride` bytes. The last row may end after its last pixel, without padding.
    pub data: &'a [u8],
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// Bytes from the start of a row to the start of the next.
    pub stride: usize,
    /// The order of the channels.
    pub format: PixelFormat,
}

/// A rectangle of pixels in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelRect {
    /// The first column.
    pub x: u32,
    /// The first row.
    pub y: u32,
    /// The number of columns.
    pub width: u32,
    /// The number of rows.
    pub height: u32,
}

impl PixelFormat {
    /// Bytes per pixel.
    pub fn bytes_per_pixel(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Rgba | Self::Bgra => 4,
            Self::Gray => 1,
        }
    }
}

impl PixelRect {
    /// Checks that the rectangle has pixels and lies within an image.
    pub(super) fn check(self, width: u32, height: u32) -> Result<()> {
        let fits = |start: u32, length: u32, limit: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= limit)
        };
        if fits(self.x, self.width, width) && fits(self.y, self.height, height) {
            return Ok(());
        }
        Err(Error::PixelBuffer {
            field: "region",
            found: format!(
                "{}x{} pixels at ({}, {})",
                self.width, self.height, self.x, self.y
            ),
            expected: format!("at least 1x1 within {width}x{height}"),
        })
    }
}

impl<'a> PixelBuffer<'a> {
    /// Returns a view of a region of the pixels.
    ///
    /// # Errors
    /// [`Error::PixelBuffer`] if the region has no pixels, reaches beyond the buffer's size, or
    /// begins beyond its data.
    pub fn region(&self, region: PixelRect) -> Result<PixelBuffer<'a>> {
        region.check(self.width, self.height)?;
        let start = (region.y as usize)
            .checked_mul(self.stride)
            .and_then(|rows| rows.checked_add(region.x as usize * self.format.bytes_per_pixel()));
        let data = start.and_then(|start| self.data.get(start..));
        Ok(PixelBuffer {
            data: data.ok_or_else(|| Error::PixelBuffer {
                field: "data",
                found: format!("{} bytes", self.data.len()),
                expected: format!("{} rows of {} bytes", self.height, self.stride),
            })?,
            width: region.width,
            height: region.height,
            ..*self
        })
    }
}

impl Image {
    /// Copies a pixel buffer and converts it to RGB. [`DecodeOptions::max_pixels`] does not apply.
    ///
    /// [`DecodeOptions::max_pixels`]: crate::DecodeOptions::max_pixels
    ///
    /// # Errors
    /// [`Error::PixelBuffer`] if the buffer is too short or its stride is too small,
    /// [`Error::Image`] if a side is 0.
    pub fn from_pixels(buffer: &PixelBuffer<'_>) -> Result<Self> {
        let PixelBuffer {
            data,
            width,
            height,
            stride,
            format,
        } = *buffer;
        check_sides(width, height, "pixel buffer")?;
        let row_length = width as usize * format.bytes_per_pixel();
        if stride < row_length {
            return Err(Error::PixelBuffer {
                field: "stride",
                found: format!("{stride} bytes"),
                expected: format!("at least {row_length}"),
            });
        }
        let needed = (height as usize - 1)
            .checked_mul(stride)
            .and_then(|rows| rows.checked_add(row_length));
        if needed.is_none_or(|needed| data.len() < needed) {
            return Err(Error::PixelBuffer {
                field: "data",
                found: format!("{} bytes", data.len()),
                expected: needed.map_or("a smaller stride".to_owned(), |n| format!("at least {n}")),
            });
        }
        let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
        for row in data.chunks(stride).take(height as usize) {
            push_rgb(&row[..row_length], format, &mut rgb);
        }
        Ok(Self { width, height, rgb })
    }
}

/// Appends a row of pixels as RGB.
fn push_rgb(row: &[u8], format: PixelFormat, rgb: &mut Vec<u8>) {
    match format {
        PixelFormat::Rgb => rgb.extend_from_slice(row),
        PixelFormat::Gray => rgb.extend(row.iter().flat_map(|value| [*value; 3])),
        PixelFormat::Rgba => rgb.extend(row.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]])),
        PixelFormat::Bgr | PixelFormat::Bgra => {
            let pixels = row.chunks_exact(format.bytes_per_pixel());
            rgb.extend(pixels.flat_map(|p| [p[2], p[1], p[0]]));
        }
    }
}

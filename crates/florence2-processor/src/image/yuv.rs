//! Frames of cameras and video decoders: YUV planes, converted to RGB.

use super::Image;
use super::raw::PixelRect;
use crate::error::{Error, Result};

/// One plane of a frame: 8-bit samples, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// The rows. The last row may end after its last sample, without padding.
    pub data: &'a [u8],
    /// Bytes from the start of a row to the start of the next.
    pub stride: usize,
}

/// The chroma planes of a frame with 4:2:0 subsampling: one sample of U and one of V for every 2x2
/// pixels, rounded up at odd sizes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ChromaPlanes<'a> {
    /// One plane of interleaved U and V samples (NV12).
    Nv12(Plane<'a>),
    /// A plane of U and a plane of V (I420).
    I420(Plane<'a>, Plane<'a>),
}

/// The conversion matrix between YUV and RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum YuvMatrix {
    /// ITU-R BT.601: most cameras, and standard-definition video.
    #[default]
    Bt601,
    /// ITU-R BT.709: high-definition video.
    Bt709,
}

/// The range of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum YuvRange {
    /// Luma from 16 to 235, chroma from 16 to 240.
    #[default]
    Limited,
    /// Luma and chroma from 0 to 255, as in JPEG.
    Full,
}

/// A borrowed YUV frame with 4:2:0 subsampling.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct YuvBuffer<'a> {
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// The luma plane, one sample per pixel.
    pub luma: Plane<'a>,
    /// The chroma planes.
    pub chroma: ChromaPlanes<'a>,
    /// The matrix.
    pub matrix: YuvMatrix,
    /// The range.
    pub range: YuvRange,
    /// The part of the frame to convert; `None` converts the whole frame.
    pub region: Option<PixelRect>,
}

impl<'a> YuvBuffer<'a> {
    /// Creates a whole frame with the default matrix and range.
    pub fn new(width: u32, height: u32, luma: Plane<'a>, chroma: ChromaPlanes<'a>) -> Self {
        Self {
            width,
            height,
            luma,
            chroma,
            matrix: YuvMatrix::default(),
            range: YuvRange::default(),
            region: None,
        }
    }

    /// Sets the matrix.
    #[must_use]
    pub fn matrix(self, matrix: YuvMatrix) -> Self {
        Self { matrix, ..self }
    }

    /// Sets the range.
    #[must_use]
    pub fn range(self, range: YuvRange) -> Self {
        Self { range, ..self }
    }

    /// Sets the part of the frame to convert; `None` converts the whole frame.
    #[must_use]
    pub fn region(self, region: Option<PixelRect>) -> Self {
        Self { region, ..self }
    }
}

impl Plane<'_> {
    /// Checks that the plane contains `rows` rows of `row_length` bytes.
    fn check(self, plane: &'static str, row_length: usize, rows: usize) -> Result<()> {
        let refuse = |found: String, expected: String| {
            Err(Error::PixelBuffer {
                field: plane,
                found,
                expected,
            })
        };
        if self.stride < row_length {
            let expected = format!("at least {row_length}");
            return refuse(format!("a stride of {} bytes", self.stride), expected);
        }
        let needed = (rows - 1)
            .checked_mul(self.stride)
            .and_then(|bytes| bytes.checked_add(row_length));
        match needed {
            Some(needed) if self.data.len() >= needed => Ok(()),
            Some(needed) => {
                let found = format!("{} bytes", self.data.len());
                refuse(found, format!("at least {needed}"))
            }
            None => refuse(
                format!("a stride of {} bytes", self.stride),
                "a smaller one".to_owned(),
            ),
        }
    }

    fn row(&self, row: usize) -> &[u8] {
        &self.data[row * self.stride..]
    }
}

impl ChromaPlanes<'_> {
    fn check(self, columns: usize, rows: usize) -> Result<()> {
        match self {
            Self::Nv12(plane) => plane.check("uv", 2 * columns, rows),
            Self::I420(u, v) => {
                u.check("u", columns, rows)?;
                v.check("v", columns, rows)
            }
        }
    }

    /// A row of chroma: the samples of U and of V, and the distance between samples of one kind.
    fn row(&self, row: usize) -> (&[u8], &[u8], usize) {
        match self {
            Self::Nv12(plane) => {
                let samples = plane.row(row);
                (samples, &samples[1..], 2)
            }
            Self::I420(u, v) => (u.row(row), v.row(row), 1),
        }
    }
}

/// The fractional bits of [`Coefficients`].
const FRACTION: u32 = 20;

/// The coefficients of the conversion, in units of 2^-20.
///
/// `y`, `u` and `v` are the samples minus their offsets (16 or 0 for luma, 128 for chroma):
///
/// ```text
/// red   = clamp((luma * y + red_v * v                + 2^19) >> 20)
/// green = clamp((luma * y - green_u * u - green_v * v + 2^19) >> 20)
/// blue  = clamp((luma * y + blue_u * u               + 2^19) >> 20)
/// ```
#[derive(Debug, Clone, Copy)]
struct Coefficients {
    offset: i32,
    luma: i32,
    red_v: i32,
    green_u: i32,
    green_v: i32,
    blue_u: i32,
}

/// A fraction in units of 2^-20, rounded to the nearest.
fn fixed(numerator: i64, denominator: i64) -> i32 {
    (((numerator << (FRACTION + 1)) / denominator + 1) / 2) as i32
}

impl Coefficients {
    fn new(matrix: YuvMatrix, range: YuvRange) -> Self {
        // The weights of red, green and blue in luma, in units of 1/10000.
        let (red, green, blue) = match matrix {
            YuvMatrix::Bt601 => (2990, 5870, 1140),
            YuvMatrix::Bt709 => (2126, 7152, 722),
        };
        let (offset, luma_steps, chroma_steps) = match range {
            YuvRange::Limited => (16, 219, 224),
            YuvRange::Full => (0, 255, 255),
        };
        let chroma = |weight: i64, numerator: i64, denominator: i64| {
            fixed(
                255 * 2 * (10_000 - weight) * numerator,
                chroma_steps * 10_000 * denominator,
            )
        };
        Self {
            offset,
            luma: fixed(255, luma_steps),
            red_v: chroma(red, 1, 1),
            green_u: chroma(blue, blue, green),
            green_v: chroma(red, red, green),
            blue_u: chroma(blue, 1, 1),
        }
    }

    fn rgb(self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let y = self.luma * (i32::from(y) - self.offset);
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        let round = |value: i32| ((value + (1 << (FRACTION - 1))) >> FRACTION).clamp(0, 255) as u8;
        [
            round(y + self.red_v * v),
            round(y - self.green_u * u - self.green_v * v),
            round(y + self.blue_u * u),
        ]
    }
}

impl Image {
    /// Converts a YUV frame to RGB. Each chroma sample applies to its block of 2x2 pixels.
    ///
    /// # Errors
    /// [`Error::PixelBuffer`] naming the plane that is too short or has too small a stride, or the
    /// region that is empty or reaches beyond the frame; [`Error::Image`] if a side is 0.
    pub fn from_yuv(frame: &YuvBuffer<'_>) -> Result<Self> {
        let YuvBuffer {
            width,
            height,
            luma,
            chroma,
            ..
        } = *frame;
        let whole = PixelRect {
            x: 0,
            y: 0,
            width,
            height,
        };
        if width == 0 || height == 0 {
            return Self::from_rgb(width, height, Vec::new());
        }
        let region = frame.region.unwrap_or(whole);
        region.check(width, height)?;
        luma.check("y", width as usize, height as usize)?;
        chroma.check(width.div_ceil(2) as usize, height.div_ceil(2) as usize)?;
        Self::from_rgb(region.width, region.height, convert(frame, region))
    }
}

/// Converts a region to RGB. The caller has checked the planes and the region.
fn convert(frame: &YuvBuffer<'_>, region: PixelRect) -> Vec<u8> {
    let coefficients = Coefficients::new(frame.matrix, frame.range);
    let PixelRect {
        x,
        y,
        width,
        height,
    } = region;
    let columns = x as usize..x as usize + width as usize;
    let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
    for row in y as usize..y as usize + height as usize {
        let luma = frame.luma.row(row);
        let (u, v, step) = frame.chroma.row(row / 2);
        let pixels = columns.clone().map(|column| {
            let sample = column / 2 * step;
            coefficients.rgb(luma[column], u[sample], v[sample])
        });
        rgb.extend(pixels.flatten());
    }
    rgb
}

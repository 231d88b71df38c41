//! Images in memory, decoded from files or copied from pixel buffers.

use std::io::Cursor;
use std::path::Path;

use florence2_postprocess::ImageSize;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

use crate::error::{Error, Result};
use crate::tiff::{Tiff, is_tiff};
use crate::{bmp, gif, png};

/// An image of 8-bit RGB pixels in row-major order, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

/// Options for decoding image files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions {
    /// The maximum number of pixels of an image (default [`Image::DEFAULT_MAX_PIXELS`]). Larger
    /// images are rejected before decoding, because a small file can declare any size. Decoding
    /// takes 3 to 17 bytes of memory per pixel.
    pub max_pixels: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            max_pixels: Image::DEFAULT_MAX_PIXELS,
        }
    }
}

/// The channel order of a pixel buffer, one byte per channel. Alpha is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

impl Image {
    /// The default of [`DecodeOptions::max_pixels`], equal to Pillow's limit.
    pub const DEFAULT_MAX_PIXELS: u64 = 178_956_970;

    /// Reads a JPEG, PNG, WebP, BMP, GIF (first frame) or TIFF file and applies its EXIF
    /// orientation.
    ///
    /// 16-bit channels are reduced to their high byte and alpha is dropped, as in Pillow's
    /// `convert("RGB")`. Pillow differs for 16-bit gray, which it clips at 255.
    ///
    /// Pillow reads the following files, but they are errors here: TIFF with samples of 12 or 32
    /// bits, signed 16-bit or float samples, L\*a\*b\* or uncompressed YCbCr colours, and the
    /// compressions CCITT group 3, WebP and Zstandard; JPEG with arithmetic coding; PNG whose image
    /// data has a wrong CRC.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Image`], [`Error::TooManyPixels`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &DecodeOptions::default())
    }

    /// Like [`Self::open`], with options.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_with(path: impl AsRef<Path>, options: &DecodeOptions) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::decode(&bytes, &path.display().to_string(), *options)
    }

    /// Like [`Self::open`], from the contents of a file.
    ///
    /// # Errors
    /// [`Error::Image`], [`Error::TooManyPixels`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_bytes_with(bytes, &DecodeOptions::default())
    }

    /// Like [`Self::from_bytes`], with options.
    ///
    /// # Errors
    /// Those of [`Self::from_bytes`].
    pub fn from_bytes_with(bytes: &[u8], options: &DecodeOptions) -> Result<Self> {
        Self::decode(bytes, "image", *options)
    }

    /// Copies a pixel buffer and converts it to RGB. [`DecodeOptions::max_pixels`] does not apply.
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

    fn decode(bytes: &[u8], name: &str, options: DecodeOptions) -> Result<Self> {
        let decoding = Decoding { name, options };
        let image = if is_tiff(bytes) {
            decoding.tiff(bytes)
        } else {
            decoding.other(bytes)
        };
        let rgb = match image {
            Err(error @ Error::Image { .. }) => match png::repaired(bytes) {
                Some(png) => decoding.other(&png).map_err(|_| error)?,
                None => return Err(error),
            },
            image => image?,
        };
        Ok(Self {
            width: rgb.width(),
            height: rgb.height(),
            rgb: rgb.into_raw(),
        })
    }
}

/// The name of the file to decode, for errors, and the options.
struct Decoding<'a> {
    name: &'a str,
    options: DecodeOptions,
}

impl Decoding<'_> {
    fn unreadable(&self, reason: impl std::fmt::Display) -> Error {
        Error::Image {
            name: self.name.to_owned(),
            // An error is one line, but some decoders return several.
            reason: reason.to_string().replace('\n', " "),
        }
    }

    fn check_size(&self, width: u32, height: u32) -> Result<()> {
        check_sides(width, height, self.name)?;
        let limit = self.options.max_pixels;
        if u64::from(width) * u64::from(height) > limit {
            return Err(Error::TooManyPixels {
                name: self.name.to_owned(),
                width,
                height,
                limit,
            });
        }
        Ok(())
    }

    fn tiff(&self, bytes: &[u8]) -> Result<RgbImage> {
        let mut tiff = Tiff::open(bytes).map_err(|reason| self.unreadable(reason))?;
        let (width, height) = (tiff.width, tiff.height);
        self.check_size(width, height)?;
        let orientation = tiff.orientation();
        let rgb = tiff.rgb().map_err(|reason| self.unreadable(reason))?;
        let rgb = RgbImage::from_raw(width, height, rgb)
            .ok_or_else(|| self.unreadable("the image data are incomplete"))?;
        let mut image = DynamicImage::ImageRgb8(rgb);
        image.apply_orientation(orientation);
        Ok(image.into_rgb8())
    }

    fn other(&self, bytes: &[u8]) -> Result<RgbImage> {
        let unreadable = |error: image::ImageError| self.unreadable(error);
        let mut reader = ImageReader::new(Cursor::new(bytes));
        let mut limits = Limits::no_limits();
        // A pixel takes up to 8 bytes, and a decoder may hold a second copy. The rest is for
        // metadata.
        const METADATA: u64 = 64 << 20;
        limits.max_alloc = Some(
            self.options
                .max_pixels
                .saturating_mul(16)
                .saturating_add(METADATA),
        );
        reader.limits(limits);
        let mut decoder = reader
            .with_guessed_format()
            .map_err(|error| self.unreadable(error))?
            .into_decoder()
            .map_err(unreadable)?;
        let (width, height) = decoder.dimensions();
        self.check_size(width, height)?;
        let orientation = decoder.orientation().map_err(unreadable)?;
        if is_cut_jpeg(bytes) {
            return Err(self.unreadable("the file ends before the image does"));
        }
        let mut decoded = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
        decoded.apply_orientation(orientation);
        let mut rgb = to_rgb8(decoded);
        if let Some(bits) = bmp::channel_bits(bytes) {
            bmp::round_levels_down(&mut rgb, bits);
        }
        if let Some(frame) = gif::first_frame(bytes) {
            frame.paint_background(&mut rgb, width as usize);
        }
        Ok(rgb)
    }
}

/// Returns true if a JPEG is truncated. The decoder would fill the missing part with gray; Pillow
/// rejects the file.
fn is_cut_jpeg(bytes: &[u8]) -> bool {
    const START_OF_IMAGE: [u8; 2] = [0xFF, 0xD8];
    const END_OF_IMAGE: u8 = 0xD9;
    if !bytes.starts_with(&START_OF_IMAGE) {
        return false;
    }
    let mut at = START_OF_IMAGE.len();
    // Entropy-coded data contains no markers except restarts (D0 to D7): any other 0xFF in it is
    // followed by 0.
    while let [byte, marker, rest @ ..] = &bytes[at..] {
        match (byte, marker) {
            (0xFF, &END_OF_IMAGE) => return false,
            (0xFF, 0xC0..=0xCF | 0xDA..=0xFE) => {
                let [high, low, ..] = rest else { return true };
                at += 2 + usize::from(u16::from_be_bytes([*high, *low]));
                at = at.min(bytes.len());
            }
            _ => at += 1,
        }
    }
    true
}

/// Converts to 8-bit RGB. 16-bit channels are reduced to their high byte, as in Pillow; the `image`
/// crate would round.
fn to_rgb8(decoded: DynamicImage) -> image::RgbImage {
    match decoded {
        DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageLumaA16(_)
        | DynamicImage::ImageRgb16(_)
        | DynamicImage::ImageRgba16(_) => {
            let wide = decoded.into_rgb16();
            let (width, height) = wide.dimensions();
            let high = wide.into_raw().into_iter().map(|value| (value >> 8) as u8);
            // INVARIANT: as many bytes as the 16-bit image of this size has channels.
            image::RgbImage::from_raw(width, height, high.collect()).expect("same size")
        }
        other => other.into_rgb8(),
    }
}

fn check_sides(width: u32, height: u32, name: &str) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::Image {
            name: name.to_owned(),
            reason: format!("{width}x{height} pixels, expected at least 1x1"),
        });
    }
    Ok(())
}

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

//! Decoding of image files: JPEG, PNG, WebP, BMP, GIF and TIFF, with their EXIF orientation.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::tiff::{Tiff, is_tiff};
use super::{Image, bmp, check_sides, gif, jpeg, png};
use crate::error::{Error, Result};

/// The formats that are decoded.
const FORMATS: &str = "JPEG, PNG, WebP, BMP, GIF, TIFF";

/// Options for decoding image files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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

impl DecodeOptions {
    /// Sets the maximum number of pixels.
    #[must_use]
    pub fn max_pixels(self, max_pixels: u64) -> Self {
        Self { max_pixels }
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

    fn check_format(&self, format: Option<ImageFormat>) -> Result<()> {
        let found = match format {
            Some(format) if format.reading_enabled() => return Ok(()),
            Some(format) => format!("the format {format:?}"),
            None => "an unknown format".to_owned(),
        };
        Err(self.unreadable(format!("found {found}, expected one of {FORMATS}")))
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
        let reader = reader
            .with_guessed_format()
            .map_err(|error| self.unreadable(error))?;
        self.check_format(reader.format())?;
        let mut decoder = reader.into_decoder().map_err(unreadable)?;
        let (width, height) = decoder.dimensions();
        self.check_size(width, height)?;
        let orientation = decoder.orientation().map_err(unreadable)?;
        if jpeg::is_truncated(bytes) {
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

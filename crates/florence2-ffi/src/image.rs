//! Images, from whatever form the caller holds.

use std::ffi::c_char;

use florence2::{DecodeOptions, Image, ImageFeatures, PixelBuffer, PixelFormat, PixelRect};

use crate::boundary::{self, Handle, Options, Outcome, first_size};
use crate::error::{Failure, florence2_error, florence2_status};

/// An image: 8-bit RGB pixels in memory.
///
/// Made by one of florence2_image_from_*, owned by the caller, to be freed with florence2_image_free.
/// Immutable: any number of threads and models may use it at once.
pub struct florence2_image {
    pub(crate) image: Image,
    /// The path, where there was one.
    pub(crate) name: String,
}

/// An image that went through a model's vision tower once, for any number of requests about it.
///
/// Made by florence2_model_encode_image, owned by the caller, to be freed with
/// florence2_image_features_free; neither the image nor the model need outlive it. Immutable: any
/// number of threads may use it at once. Only the model that made it understands it.
pub struct florence2_image_features {
    pub(crate) features: ImageFeatures,
    pub(crate) name: String,
}

impl Handle for florence2_image {
    const NAME: &'static str = "image";
}

impl Handle for florence2_image_features {
    const NAME: &'static str = "image_features";
}

/// The order of a pixel's channels, one byte each. Alpha is dropped.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_pixel_format {
    /// Red, green, blue: 3 bytes.
    Rgb = 0,
    /// Red, green, blue, alpha: 4 bytes.
    Rgba = 1,
    /// Blue, green, red: 3 bytes.
    Bgr = 2,
    /// Blue, green, red, alpha: 4 bytes.
    Bgra = 3,
    /// Gray: 1 byte.
    Gray = 4,
}

/// Pixels that the caller holds, such as a camera's frame. To be cleared with florence2_pixels_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_pixels {
    /// The size of this struct, as florence2_pixels_init sets it.
    pub struct_size: usize,
    /// `height_px` rows of `stride_bytes` each; the last row may end with its last pixel.
    pub data: *const u8,
    /// Bytes at `data`.
    pub data_len: usize,
    /// Bytes from one row's begin to the next's; 0 for rows without gaps.
    pub stride_bytes: usize,
    /// Pixels across.
    pub width_px: u32,
    /// Pixels down.
    pub height_px: u32,
    /// A florence2_pixel_format.
    pub format: i32,
    /// Must be 0.
    pub reserved: u32,
    /// The first column of the region that becomes the image. The region is all pixels if its four
    /// fields are 0.
    pub region_x_px: u32,
    /// The first row of the region.
    pub region_y_px: u32,
    /// The number of columns of the region.
    pub region_width_px: u32,
    /// The number of rows of the region.
    pub region_height_px: u32,
}

// SAFETY: `repr(C)`, `struct_size` first, numbers and pointers alone.
unsafe impl Options for florence2_pixels {
    const NAME: &'static str = "pixels";
    const FIRST_SIZE: usize = first_size(48, 32);
}

/// Options of decoding an image file. To be cleared with florence2_decode_options_init; zero is the
/// default everywhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_decode_options {
    /// The size of this struct, as florence2_decode_options_init sets it.
    pub struct_size: usize,
    /// The largest number of pixels that are decoded; 0 for 178,956,970. A larger image is refused
    /// before it is decoded, since a small file can claim any size. Decoding takes 3 to 17 bytes of
    /// memory per pixel.
    pub max_pixels: u64,
}

// SAFETY: `repr(C)`, `struct_size` first, numbers alone.
unsafe impl Options for florence2_decode_options {
    const NAME: &'static str = "options";
    #[cfg(not(target_arch = "x86"))]
    const FIRST_SIZE: usize = 16;
    /// 64-bit integers have an alignment of 4 bytes there.
    #[cfg(target_arch = "x86")]
    const FIRST_SIZE: usize = 12;
}

/// Clears `options` and sets its struct_size: `size` is sizeof(florence2_decode_options). NULL is
/// allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_decode_options_init(
    options: *mut florence2_decode_options,
    size: usize,
) {
    // SAFETY: the header asks for room for `size` bytes.
    unsafe { boundary::init_options(options, size) };
}

/// # Safety
/// As the header asks for options.
unsafe fn decode_options(options: *const florence2_decode_options) -> Outcome<DecodeOptions> {
    // SAFETY: as this function's.
    let options = unsafe { boundary::options(options) }?;
    Ok(match options.map_or(0, |options| options.max_pixels) {
        0 => DecodeOptions::default(),
        max_pixels => DecodeOptions { max_pixels },
    })
}

/// Clears `pixels` and sets its struct_size: `size` is sizeof(florence2_pixels). NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_pixels_init(pixels: *mut florence2_pixels, size: usize) {
    // SAFETY: the header asks for room for `size` bytes.
    unsafe { boundary::init_options(pixels, size) };
}

/// Decodes a JPEG, PNG, WebP, BMP, GIF (first frame) or TIFF file held in memory, and applies its
/// EXIF orientation.
///
/// `data`: `data_len` bytes, read during the call only. `options`: NULL for the defaults. `image`:
/// where the image goes.
/// Fails with FLORENCE2_STATUS_INVALID_IMAGE, also for more pixels than the options allow. Callable
/// from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_from_encoded(
    data: *const u8,
    data_len: usize,
    options: *const florence2_decode_options,
    image: *mut *mut florence2_image,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header asks for `data_len` readable bytes, options of their own size and writable
    // outputs.
    unsafe {
        boundary::create(image, error, || {
            let options = decode_options(options)?;
            let data = boundary::bytes("data", data, data_len)?;
            let image = Image::from_bytes_with(data, &options)?;
            let name = String::new();
            Ok(florence2_image { image, name })
        })
    }
}

/// Reads an image file, of the formats of florence2_image_from_encoded.
///
/// `path`: UTF-8; it becomes the image's name in a result's JSON. `options`: NULL for the defaults.
/// Fails with FLORENCE2_STATUS_IO or FLORENCE2_STATUS_INVALID_IMAGE. Callable from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_from_path(
    path: *const c_char,
    options: *const florence2_decode_options,
    image: *mut *mut florence2_image,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header asks for a string, options of their own size and writable outputs.
    unsafe {
        boundary::create(image, error, || {
            let name = boundary::text("path", path)?.to_owned();
            let image = Image::open_with(&name, &decode_options(options)?)?;
            Ok(florence2_image { image, name })
        })
    }
}

/// Copies pixels that the caller holds.
///
/// `pixels`: read during the call only.
/// Fails with FLORENCE2_STATUS_INVALID_ARGUMENT when the buffer is too short for its size, the
/// stride too small for the width, the format unknown or the region not within the pixels, and with
/// FLORENCE2_STATUS_INVALID_IMAGE for no pixels. Callable from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_from_pixels(
    pixels: *const florence2_pixels,
    image: *mut *mut florence2_image,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header asks for a struct of its own size and writable outputs.
    unsafe {
        boundary::create(image, error, || {
            let Some(pixels) = boundary::options(pixels)? else {
                return Err(Failure::argument("pixels", "NULL", "a florence2_pixels"));
            };
            let format = pixel_format(pixels.format)?;
            boundary::reserved("pixels.reserved", pixels.reserved)?;
            let row_length = (pixels.width_px as usize).saturating_mul(format.bytes_per_pixel());
            let buffer = PixelBuffer {
                data: boundary::bytes("pixels.data", pixels.data, pixels.data_len)?,
                width: pixels.width_px,
                height: pixels.height_px,
                stride: match pixels.stride_bytes {
                    0 => row_length,
                    stride => stride,
                },
                format,
            };
            let region = region([
                pixels.region_x_px,
                pixels.region_y_px,
                pixels.region_width_px,
                pixels.region_height_px,
            ]);
            let image = match region {
                None => Image::from_pixels(&buffer)?,
                Some(region) => Image::from_pixels(&buffer.region(region)?)?,
            };
            let name = String::new();
            Ok(florence2_image { image, name })
        })
    }
}

/// The region that its begin and size say; none when all are 0.
pub(crate) fn region([x, y, width, height]: [u32; 4]) -> Option<PixelRect> {
    let is_set = [x, y, width, height] != [0; 4];
    is_set.then_some(PixelRect {
        x,
        y,
        width,
        height,
    })
}

fn pixel_format(number: i32) -> Outcome<PixelFormat> {
    const RGB: i32 = florence2_pixel_format::Rgb as i32;
    const RGBA: i32 = florence2_pixel_format::Rgba as i32;
    const BGR: i32 = florence2_pixel_format::Bgr as i32;
    const BGRA: i32 = florence2_pixel_format::Bgra as i32;
    const GRAY: i32 = florence2_pixel_format::Gray as i32;
    match number {
        RGB => Ok(PixelFormat::Rgb),
        RGBA => Ok(PixelFormat::Rgba),
        BGR => Ok(PixelFormat::Bgr),
        BGRA => Ok(PixelFormat::Bgra),
        GRAY => Ok(PixelFormat::Gray),
        other => Err(Failure::argument(
            "pixels.format",
            other,
            "a florence2_pixel_format",
        )),
    }
}

/// Pixels across. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_width_px(image: *const florence2_image) -> u32 {
    // SAFETY: the header asks for a living image or NULL.
    unsafe { boundary::read(image, 0, |image| image.image.width()) }
}

/// Pixels down. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_height_px(image: *const florence2_image) -> u32 {
    // SAFETY: the header asks for a living image or NULL.
    unsafe { boundary::read(image, 0, |image| image.image.height()) }
}

/// Frees an image. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_free(image: *mut florence2_image) {
    // SAFETY: the header asks for an image that nobody uses any more, or NULL.
    unsafe { boundary::free(image) };
}

/// Frees image features. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_features_free(
    image_features: *mut florence2_image_features,
) {
    // SAFETY: the header asks for features that nobody uses any more, or NULL.
    unsafe { boundary::free(image_features) };
}

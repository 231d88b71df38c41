//! Images from files, from encoded data and from pixels.

use std::ffi::c_char;

use florence2::{DecodeOptions, Image, ImageFeatures, PixelBuffer, PixelFormat, PixelRect};

use crate::arguments;
use crate::boundary;
use crate::error::florence2_error;
use crate::failure::{Failure, Outcome};
use crate::handle::Handle;
use crate::option_struct::{self, Options, first_size};
use crate::status::florence2_status;

/// An image: 8-bit RGB pixels in memory.
///
/// - Ownership: one of the florence2_image_from functions creates it. The caller frees it with
///   florence2_image_free.
/// - Threads: it is immutable. Any number of threads and models may use it at the same time.
pub struct florence2_image {
    pub(crate) image: Image,
    /// The path of the file; empty if the image is not from a file.
    pub(crate) name: String,
}

/// The output of a model's vision tower for an image. Requests that use the features skip the
/// vision tower.
///
/// - Ownership: florence2_model_encode_image creates it. The caller frees it with
///   florence2_image_features_free, before or after the image and the model.
/// - Threads: it is immutable. Any number of threads may use it at the same time.
///
/// Only the model that created the features accepts them.
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

/// The order of the channels of a pixel, one byte per channel. Alpha is ignored.
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

/// Pixels in the caller's memory, such as a camera frame. Initialise it with florence2_pixels_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_pixels {
    /// The size of this struct in bytes. florence2_pixels_init sets it.
    pub struct_size: usize,
    /// The pixels: `height_px` rows in order from top to bottom, `stride_bytes` apart. A row begins
    /// with its leftmost pixel. The last row may lack its padding. Required.
    pub data: *const u8,
    /// The number of bytes at `data`.
    pub data_len: usize,
    /// The number of bytes from the start of a row to the start of the next. Default: 0, rows
    /// without padding.
    pub stride_bytes: usize,
    /// The width in pixels. Required.
    pub width_px: u32,
    /// The height in pixels. Required.
    pub height_px: u32,
    /// A florence2_pixel_format. Default: FLORENCE2_PIXEL_FORMAT_RGB.
    pub format: i32,
    /// Must be 0.
    pub reserved: u32,
    /// The left edge, in pixels, of the crop: the part that becomes the image. If all four fields of
    /// the crop are 0, all pixels become the image. Default: 0.
    pub region_x_px: u32,
    /// The top edge of the crop in pixels. Default: 0.
    pub region_y_px: u32,
    /// The width of the crop in pixels. Default: 0.
    pub region_width_px: u32,
    /// The height of the crop in pixels. Default: 0.
    pub region_height_px: u32,
}

// SAFETY: `repr(C)`, `struct_size` first, only numbers and pointers.
unsafe impl Options for florence2_pixels {
    const NAME: &'static str = "pixels";
    const FIRST_SIZE: usize = first_size(48, 32);
}

/// Options for decoding an image file. Initialise it with florence2_decode_options_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_decode_options {
    /// The size of this struct in bytes. florence2_decode_options_init sets it.
    pub struct_size: usize,
    /// The maximum number of pixels of the image. An image with more pixels is an error, which is
    /// returned before the image is decoded, because a small file can declare any size. Decoding
    /// takes 3 to 17 bytes of memory per pixel. Default: 0, which means 178,956,970.
    pub max_pixels: u64,
}

// SAFETY: `repr(C)`, `struct_size` first, only numbers.
unsafe impl Options for florence2_decode_options {
    const NAME: &'static str = "options";
    #[cfg(not(target_arch = "x86"))]
    const FIRST_SIZE: usize = 16;
    /// On x86, 64-bit integers are aligned to 4 bytes.
    #[cfg(target_arch = "x86")]
    const FIRST_SIZE: usize = 12;
}

/// Clears a florence2_decode_options and sets its `struct_size`.
///
/// - `options`: the struct. If it is NULL, the function does nothing.
/// - `size`: sizeof(florence2_decode_options).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_decode_options_init(
    options: *mut florence2_decode_options,
    size: usize,
) {
    // SAFETY: rule 4 of lib.rs.
    unsafe { boundary::init_struct(options, size) };
}

/// Converts decode options to those of the facade.
///
/// # Safety
/// `options` follows rule 4 of lib.rs.
unsafe fn decode_options(options: *const florence2_decode_options) -> Outcome<DecodeOptions> {
    // SAFETY: guaranteed by the caller.
    let options = unsafe { option_struct::read_struct(options) }?;
    Ok(match options.map_or(0, |options| options.max_pixels) {
        0 => DecodeOptions::default(),
        max_pixels => DecodeOptions::default().max_pixels(max_pixels),
    })
}

/// Clears a florence2_pixels and sets its `struct_size`.
///
/// - `pixels`: the struct. If it is NULL, the function does nothing.
/// - `size`: sizeof(florence2_pixels).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_pixels_init(pixels: *mut florence2_pixels, size: usize) {
    // SAFETY: rule 4 of lib.rs.
    unsafe { boundary::init_struct(pixels, size) };
}

/// Decodes an image file in memory and applies its EXIF orientation. The formats are JPEG, PNG,
/// WebP, BMP, GIF (the first frame) and TIFF.
///
/// - `data`: the contents of the file. The library reads them only during the call.
/// - `data_len`: the number of bytes at `data`.
/// - `options`: NULL for the defaults.
/// - `image`: receives the image. Required. Free it with florence2_image_free.
///
/// Returns FLORENCE2_STATUS_INVALID_IMAGE if the file cannot be decoded or has more than
/// `max_pixels` pixels.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_from_encoded(
    data: *const u8,
    data_len: usize,
    options: *const florence2_decode_options,
    image: *mut *mut florence2_image,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 3, 4 and 5 of lib.rs.
    unsafe {
        boundary::create(image, error, || {
            let options = decode_options(options)?;
            let data = arguments::bytes("data", data, data_len)?;
            let image = Image::from_bytes_with(data, &options)?;
            let name = String::new();
            Ok(florence2_image { image, name })
        })
    }
}

/// Reads and decodes an image file, as florence2_image_from_encoded does.
///
/// - `path`: the path of the file. Required. It is also the value of "image" in the JSON of
///   results.
/// - `options`: NULL for the defaults.
/// - `image`: receives the image. Required. Free it with florence2_image_free.
///
/// Returns FLORENCE2_STATUS_IO if the file cannot be read, and FLORENCE2_STATUS_INVALID_IMAGE if it
/// cannot be decoded or has more than `max_pixels` pixels.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_from_path(
    path: *const c_char,
    options: *const florence2_decode_options,
    image: *mut *mut florence2_image,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 1, 3, 4, 5 and 6 of lib.rs.
    unsafe {
        boundary::create(image, error, || {
            let name = arguments::text("path", path)?.to_owned();
            let image = Image::open_with(&name, &decode_options(options)?)?;
            Ok(florence2_image { image, name })
        })
    }
}

/// Creates an image from pixels in the caller's memory. The pixels are copied.
///
/// - `pixels`: the pixels. Required.
/// - `image`: receives the image. Required. Free it with florence2_image_free.
///
/// Returns:
/// - FLORENCE2_STATUS_INVALID_ARGUMENT if the buffer is too short, the stride is smaller than a
///   row, the format is unknown, or the region is empty or exceeds the pixels.
/// - FLORENCE2_STATUS_INVALID_IMAGE if the width or the height is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_from_pixels(
    pixels: *const florence2_pixels,
    image: *mut *mut florence2_image,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 3, 4 and 5 of lib.rs.
    unsafe {
        boundary::create(image, error, || {
            let Some(pixels) = option_struct::read_struct(pixels)? else {
                return Err(Failure::argument("pixels", "NULL", "a florence2_pixels"));
            };
            let format = pixel_format(pixels.format)?;
            option_struct::check_reserved("pixels.reserved", pixels.reserved)?;
            let row_length = (pixels.width_px as usize).saturating_mul(format.bytes_per_pixel());
            let buffer = PixelBuffer {
                data: arguments::bytes("pixels.data", pixels.data, pixels.data_len)?,
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

/// Returns a region from its edges and size; `None` if all four numbers are 0.
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

/// Returns the width of an image in pixels; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_width_px(image: *const florence2_image) -> u32 {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(image, 0, |image| image.image.width()) }
}

/// Returns the height of an image in pixels; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_height_px(image: *const florence2_image) -> u32 {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(image, 0, |image| image.image.height()) }
}

/// Frees an image. NULL is allowed. Image features and results remain valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_free(image: *mut florence2_image) {
    // SAFETY: rules 1 and 2 of lib.rs.
    unsafe { boundary::free(image) };
}

/// Frees image features. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_features_free(
    image_features: *mut florence2_image_features,
) {
    // SAFETY: rules 1 and 2 of lib.rs.
    unsafe { boundary::free(image_features) };
}

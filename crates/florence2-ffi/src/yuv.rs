//! Images from YUV frames of cameras and video decoders.

use florence2::{ChromaPlanes, Image, Plane, YuvBuffer, YuvMatrix, YuvRange};

use crate::arguments;
use crate::boundary;
use crate::error::florence2_error;
use crate::failure::{Failure, Outcome};
use crate::image::{florence2_image, region};
use crate::option_struct::{self, Options, first_size};
use crate::status::florence2_status;

/// The layout of the chroma planes of a frame with 4:2:0 subsampling: one sample of U and one of V
/// for every 2x2 pixels. A chroma plane has (width_px + 1) / 2 samples of each kind per row and
/// (height_px + 1) / 2 rows.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_yuv_format {
    /// NV12: one plane with alternating U and V samples, passed as `u`. `v` is NULL.
    Nv12 = 0,
    /// I420: a plane of U samples and a plane of V samples.
    I420 = 1,
}

/// The conversion matrix between YUV and RGB.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_yuv_matrix {
    /// ITU-R BT.601: most cameras, and standard-definition video.
    Bt601 = 0,
    /// ITU-R BT.709: high-definition video.
    Bt709 = 1,
}

/// The range of the samples of a YUV frame.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_yuv_range {
    /// Luma from 16 to 235, chroma from 16 to 240.
    Limited = 0,
    /// Luma and chroma from 0 to 255, as in JPEG.
    Full = 1,
}

/// A YUV frame in the caller's memory: 8-bit samples with 4:2:0 subsampling. Initialise it with
/// florence2_yuv_init. The last row of each plane may lack its padding.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_yuv {
    /// The size of this struct in bytes. florence2_yuv_init sets it.
    pub struct_size: usize,
    /// The luma plane: `height_px` rows of `width_px` samples. Required.
    pub y: *const u8,
    /// The number of bytes at `y`.
    pub y_len: usize,
    /// The number of bytes from the start of a row of `y` to the start of the next. Default: 0,
    /// rows without padding.
    pub y_stride_bytes: usize,
    /// I420: the plane of U samples. NV12: the plane of alternating U and V samples. Required.
    pub u: *const u8,
    /// The number of bytes at `u`.
    pub u_len: usize,
    /// The number of bytes from the start of a row of `u` to the start of the next. Default: 0,
    /// rows without padding.
    pub u_stride_bytes: usize,
    /// I420: the plane of V samples, required. NV12: must be NULL.
    pub v: *const u8,
    /// The number of bytes at `v`.
    pub v_len: usize,
    /// The number of bytes from the start of a row of `v` to the start of the next. Default: 0,
    /// rows without padding.
    pub v_stride_bytes: usize,
    /// The width in pixels. Required.
    pub width_px: u32,
    /// The height in pixels. Required.
    pub height_px: u32,
    /// A florence2_yuv_format. Default: FLORENCE2_YUV_FORMAT_NV12.
    pub format: i32,
    /// A florence2_yuv_matrix. Default: FLORENCE2_YUV_MATRIX_BT601.
    pub matrix: i32,
    /// A florence2_yuv_range. Default: FLORENCE2_YUV_RANGE_LIMITED.
    pub range: i32,
    /// Must be 0.
    pub reserved: u32,
    /// The left edge, in pixels, of the crop: the part that becomes the image. If all four fields of
    /// the crop are 0, the whole frame becomes the image. Default: 0.
    pub region_x_px: u32,
    /// The top edge of the crop in pixels. Default: 0.
    pub region_y_px: u32,
    /// The width of the crop in pixels. Default: 0.
    pub region_width_px: u32,
    /// The height of the crop in pixels. Default: 0.
    pub region_height_px: u32,
}

// SAFETY: `repr(C)`, `struct_size` first, only numbers and pointers.
unsafe impl Options for florence2_yuv {
    const NAME: &'static str = "yuv";
    const FIRST_SIZE: usize = first_size(120, 80);
}

/// Clears a florence2_yuv and sets its `struct_size`.
///
/// - `yuv`: the struct. If it is NULL, the function does nothing.
/// - `size`: sizeof(florence2_yuv).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_yuv_init(yuv: *mut florence2_yuv, size: usize) {
    // SAFETY: rule 4 of lib.rs.
    unsafe { boundary::init_struct(yuv, size) };
}

/// Creates an image from a YUV frame. Each chroma sample applies to its 2x2 pixels.
///
/// - `yuv`: the frame. Required. The library reads the planes only during the call.
/// - `image`: receives the image. Required. Free it with florence2_image_free.
///
/// The conversion uses integers, so that it is the same on every machine. y, u and v are the
/// samples minus their offsets (16 or 0 for y, 128 for u and v). The coefficients of the matrix
/// and the range (c_y, and r, g and b with the sample's name) are in units of 2^-20, rounded to the
/// nearest. Each channel is clamped to 0..255:
///
/// - red: (c_y * y + r_v * v + 2^19) >> 20
/// - green: (c_y * y - g_u * u - g_v * v + 2^19) >> 20
/// - blue: (c_y * y + b_u * u + 2^19) >> 20
///
/// Returns:
/// - FLORENCE2_STATUS_INVALID_ARGUMENT if a plane is too short, a stride is smaller than a row, the
///   region is empty or exceeds the frame, or the format, matrix or range is unknown.
/// - FLORENCE2_STATUS_INVALID_IMAGE if the width or the height is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_from_yuv(
    yuv: *const florence2_yuv,
    image: *mut *mut florence2_image,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 3, 4 and 5 of lib.rs.
    unsafe {
        boundary::create(image, error, || {
            let Some(yuv) = option_struct::read_struct(yuv)? else {
                return Err(Failure::argument("yuv", "NULL", "a florence2_yuv"));
            };
            option_struct::check_reserved("yuv.reserved", yuv.reserved)?;
            let image = Image::from_yuv(&buffer(&yuv)?)?;
            let name = String::new();
            Ok(florence2_image { image, name })
        })
    }
}

/// Converts a frame to that of the facade.
///
/// # Safety
/// `yuv` follows rule 3 of lib.rs.
unsafe fn buffer<'a>(yuv: &florence2_yuv) -> Outcome<YuvBuffer<'a>> {
    const NV12: i32 = florence2_yuv_format::Nv12 as i32;
    const I420: i32 = florence2_yuv_format::I420 as i32;
    let plane = |argument: &str, data, len, stride, row_length| {
        // SAFETY: guaranteed by the caller.
        let data = unsafe { arguments::bytes(argument, data, len) }?;
        let stride = match stride {
            0 => row_length,
            stride => stride,
        };
        Outcome::Ok(Plane { data, stride })
    };
    let width = yuv.width_px as usize;
    let columns = width.div_ceil(2);
    let luma = plane("yuv.y", yuv.y, yuv.y_len, yuv.y_stride_bytes, width)?;
    let u = |row_length| plane("yuv.u", yuv.u, yuv.u_len, yuv.u_stride_bytes, row_length);
    let chroma = match yuv.format {
        NV12 if yuv.v.is_null() => ChromaPlanes::Nv12(u(2 * columns)?),
        NV12 => {
            let expected = "NULL, because NV12 has its V samples in `u`";
            return Err(Failure::argument("yuv.v", "a plane", expected));
        }
        I420 => {
            let v = plane("yuv.v", yuv.v, yuv.v_len, yuv.v_stride_bytes, columns)?;
            ChromaPlanes::I420(u(columns)?, v)
        }
        other => {
            return Err(Failure::argument(
                "yuv.format",
                other,
                "a florence2_yuv_format",
            ));
        }
    };
    let region = region([
        yuv.region_x_px,
        yuv.region_y_px,
        yuv.region_width_px,
        yuv.region_height_px,
    ]);
    Ok(YuvBuffer::new(yuv.width_px, yuv.height_px, luma, chroma)
        .matrix(matrix(yuv.matrix)?)
        .range(range(yuv.range)?)
        .region(region))
}

fn matrix(number: i32) -> Outcome<YuvMatrix> {
    const BT601: i32 = florence2_yuv_matrix::Bt601 as i32;
    const BT709: i32 = florence2_yuv_matrix::Bt709 as i32;
    match number {
        BT601 => Ok(YuvMatrix::Bt601),
        BT709 => Ok(YuvMatrix::Bt709),
        other => {
            let expected = "a florence2_yuv_matrix";
            Err(Failure::argument("yuv.matrix", other, expected))
        }
    }
}

fn range(number: i32) -> Outcome<YuvRange> {
    const LIMITED: i32 = florence2_yuv_range::Limited as i32;
    const FULL: i32 = florence2_yuv_range::Full as i32;
    match number {
        LIMITED => Ok(YuvRange::Limited),
        FULL => Ok(YuvRange::Full),
        other => {
            let expected = "a florence2_yuv_range";
            Err(Failure::argument("yuv.range", other, expected))
        }
    }
}

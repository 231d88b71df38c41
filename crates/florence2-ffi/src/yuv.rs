//! YUV frames, from cameras and video decoders.

use florence2::{ChromaPlanes, Image, Plane, YuvBuffer, YuvMatrix, YuvRange};

use crate::arguments;
use crate::boundary;
use crate::error::florence2_error;
use crate::failure::{Failure, Outcome};
use crate::image::{florence2_image, region};
use crate::option_struct::{self, Options, first_size};
use crate::status::florence2_status;

/// How a YUV frame stores its chroma: one sample of U and one of V for every 2x2 pixels, rounded up
/// at odd sizes.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_yuv_format {
    /// NV12: one plane with U and V in turn, given as `u`; `v` is NULL.
    Nv12 = 0,
    /// I420: a plane of U and a plane of V.
    I420 = 1,
}

/// The matrix between YUV and RGB.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_yuv_matrix {
    /// ITU-R BT.601: most cameras, and video of standard definition.
    Bt601 = 0,
    /// ITU-R BT.709: video of high definition.
    Bt709 = 1,
}

/// The range of a YUV frame's samples.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_yuv_range {
    /// Luma from 16 to 235, chroma from 16 to 240.
    Limited = 0,
    /// All from 0 to 255, as in JPEG.
    Full = 1,
}

/// A YUV frame with 4:2:0 subsampling that the caller holds. To be cleared with florence2_yuv_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_yuv {
    /// The size of this struct, as florence2_yuv_init sets it.
    pub struct_size: usize,
    /// Luma: `height_px` rows of `width_px` samples. The last row of every plane may end with its last
    /// sample.
    pub y: *const u8,
    /// Bytes at `y`.
    pub y_len: usize,
    /// Bytes from the start of a row of `y` to the start of the next; 0 for rows without gaps.
    pub y_stride_bytes: usize,
    /// I420: U. NV12: U and V in turn.
    pub u: *const u8,
    /// Bytes at `u`.
    pub u_len: usize,
    /// As `y_stride_bytes`, of `u`.
    pub u_stride_bytes: usize,
    /// I420: V. NV12: NULL.
    pub v: *const u8,
    /// Bytes at `v`.
    pub v_len: usize,
    /// As `y_stride_bytes`, of `v`.
    pub v_stride_bytes: usize,
    /// Pixels across.
    pub width_px: u32,
    /// Pixels down.
    pub height_px: u32,
    /// A florence2_yuv_format.
    pub format: i32,
    /// A florence2_yuv_matrix.
    pub matrix: i32,
    /// A florence2_yuv_range.
    pub range: i32,
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
unsafe impl Options for florence2_yuv {
    const NAME: &'static str = "yuv";
    const FIRST_SIZE: usize = first_size(120, 80);
}

/// Clears `yuv` and sets its struct_size: `size` is sizeof(florence2_yuv). NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_yuv_init(yuv: *mut florence2_yuv, size: usize) {
    // SAFETY: the header requires room for `size` bytes.
    unsafe { boundary::init_struct(yuv, size) };
}

/// Converts a YUV frame that the caller holds to RGB. Each chroma sample holds for its 2x2 pixels.
///
/// With the coefficients c of the matrix and the range in units of 2^-20, rounded to the nearest, and
/// the samples without their offsets (16 or 0 of y, 128 of u and v), the channels are
/// (c_y * y + c_v * v + 2^19) >> 20 for red, (c_y * y + c_u * u + 2^19) >> 20 for blue and
/// (c_y * y - c_u * u - c_v * v + 2^19) >> 20 for green, each clamped to 0..255.
///
/// `yuv`: read during the call only.
/// Fails with FLORENCE2_STATUS_INVALID_ARGUMENT when a plane is too short or its stride too small,
/// the region not within the frame, or a format, matrix or range unknown, and with
/// FLORENCE2_STATUS_INVALID_IMAGE for no pixels. Callable from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_image_from_yuv(
    yuv: *const florence2_yuv,
    image: *mut *mut florence2_image,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header requires a struct of its own size and writable outputs.
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

/// # Safety
/// As the header requires a frame.
unsafe fn buffer<'a>(yuv: &florence2_yuv) -> Outcome<YuvBuffer<'a>> {
    const NV12: i32 = florence2_yuv_format::Nv12 as i32;
    const I420: i32 = florence2_yuv_format::I420 as i32;
    let plane = |argument: &str, data, len, stride, row_length| {
        // SAFETY: the caller guarantees it.
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
            let expected = "NULL, as NV12 has its V in `u`";
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
    Ok(YuvBuffer {
        width: yuv.width_px,
        height: yuv.height_px,
        luma,
        chroma,
        matrix: matrix(yuv.matrix)?,
        range: range(yuv.range)?,
        region: region([
            yuv.region_x_px,
            yuv.region_y_px,
            yuv.region_width_px,
            yuv.region_height_px,
        ]),
    })
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

//! NEON and its int8 dot products: microkernels of 6 rows by four vectors of 4 columns, or of up to
//! three rows by eight vectors.

use std::arch::aarch64::{
    float32x4_t, int32x4_t, uint16x4_t, vaddq_f32, vandq_u32, vcvtq_f32_s32, vdupq_n_f32,
    vdupq_n_u32, vfmaq_f32, vld1_u16, vld1q_dup_f32, vld1q_dup_s32, vld1q_f32, vld1q_s32,
    vld1q_u32, vmulq_f32, vreinterpretq_f32_u32, vshlq_n_s32, vshlq_n_u32, vshrq_n_s32, vst1q_f32,
    vsubq_s32,
};

use super::widened::{self, Widened};
use super::{Dot, End, Kernel, PANEL, Quantised, Raw, for_rows};

const MAX_ROWS: usize = 6;

pub(crate) const F32: Kernel = Kernel::new(run_f32::<false>, run_f32::<true>, MAX_ROWS);
pub(crate) const F16: Kernel =
    Kernel::new(run_f16::<false>, run_f16::<true>, MAX_ROWS).widening::<Halves>(widen_f16);
pub(crate) const BF16_AS_F32: Kernel =
    Kernel::new(run_bf16::<false>, run_bf16::<true>, MAX_ROWS).widening::<Pairs>(widen_bf16);
pub(crate) const INT8_AS_F32: Kernel =
    Kernel::new(run_bytes::<false>, run_bytes::<true>, MAX_ROWS).widening::<Bytes>(widen_bytes);
pub(crate) const INT8: Kernel = Kernel::new(run_int8::<false>, run_int8::<true>, MAX_ROWS);

/// Runs the microkernel for the number of rows and columns. Few rows use a wider one, since a
/// narrow one would have too few independent sums and would stall on them.
macro_rules! run {
    ($name:ident, $dot:ty, $features:literal) => {
        #[target_feature(enable = $features)]
        #[allow(unsafe_code)]
        unsafe fn $name<const ASKS: bool>(raw: &Raw<'_>) {
            // SAFETY: guaranteed by the caller.
            unsafe {
                if raw.rows <= 3 && raw.columns > PANEL / 2 {
                    for_rows!(raw, 0, $dot, 8, ASKS, [1 2 3]);
                    return;
                }
                for column in (0..raw.columns).step_by(4 * <$dot>::LANES) {
                    for_rows!(raw, column, $dot, 4, ASKS, [1 2 3 4 5 6]);
                }
            }
        }
    };
}

run!(run_f32, Floats, "neon");
run!(run_f16, Halves, "neon");
run!(run_bf16, Pairs, "neon");
run!(run_bytes, Bytes, "neon");
run!(run_int8, Quads, "neon,dotprod");

macro_rules! widen {
    ($name:ident, $columns:ty) => {
        #[target_feature(enable = "neon")]
        #[allow(unsafe_code)]
        unsafe fn $name(count: usize, words: *const u32, into: *mut f32) {
            // SAFETY: guaranteed by the caller.
            unsafe { widened::widen::<$columns>(count, words, into) }
        }
    };
}

widen!(widen_f16, Halves);
widen!(widen_bf16, Pairs);
widen!(widen_bytes, Bytes);

#[derive(Clone, Copy)]
struct Floats;

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl Dot for Floats {
    type Words = float32x4_t;
    type Sums = float32x4_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(words: *const u32, _value: usize) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vld1q_f32(words.cast()) }
    }

    #[inline(always)]
    unsafe fn broadcast(word: *const u32) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vld1q_dup_f32(word.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: float32x4_t, left: float32x4_t, right: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vfmaq_f32(sums, left, right) }
    }

    #[inline(always)]
    unsafe fn store(mut sums: float32x4_t, end: &End<'_>, column: usize, result: *mut f32) {
        // SAFETY: as above; `column` and what follows it are inside the panel.
        unsafe {
            if let Some(Quantised { scales, .. }) = end.quantised {
                sums = vmulq_f32(sums, vld1q_f32(scales.as_ptr().add(column)));
            }
            let mut sums = vfmaq_f32(vld1q_f32(end.bias), sums, vdupq_n_f32(end.scale));
            if end.add {
                sums = vaddq_f32(sums, vld1q_f32(result));
            }
            vst1q_f32(result, sums);
        }
    }
}

#[derive(Clone, Copy)]
struct Halves;

#[allow(unsafe_code, clippy::inline_always)]
impl Widened for Halves {
    type Into = Floats;
    const COLUMNS: usize = 2;

    #[inline(always)]
    unsafe fn widen(words: *const u32, _value: usize) -> float32x4_t {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let words: uint16x4_t = vld1_u16(words.cast());
            let values: float32x4_t;
            // The intrinsic is not stable.
            std::arch::asm!(
                "fcvtl {values:v}.4s, {words:v}.4h",
                words = in(vreg) words,
                values = out(vreg) values,
                options(pure, nomem, nostack, preserves_flags),
            );
            values
        }
    }
}

/// Pairs of bf16.
#[derive(Clone, Copy)]
struct Pairs;

#[allow(unsafe_code, clippy::inline_always)]
impl Widened for Pairs {
    type Into = Floats;
    const VALUES: usize = 2;

    #[inline(always)]
    unsafe fn widen(words: *const u32, value: usize) -> float32x4_t {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let words = vld1q_u32(words);
            vreinterpretq_f32_u32(match value {
                0 => vshlq_n_u32::<16>(words),
                _ => vandq_u32(words, vdupq_n_u32(u32::MAX << 16)),
            })
        }
    }
}

/// int8 values, one at a time.
#[derive(Clone, Copy)]
struct Bytes;

#[allow(unsafe_code, clippy::inline_always)]
impl Widened for Bytes {
    type Into = Floats;
    const VALUES: usize = 4;

    #[inline(always)]
    unsafe fn widen(words: *const u32, value: usize) -> float32x4_t {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let words = vld1q_s32(words.cast());
            // Shifts the byte to the top, and back with its sign.
            let words = match value {
                0 => vshlq_n_s32::<24>(words),
                1 => vshlq_n_s32::<16>(words),
                2 => vshlq_n_s32::<8>(words),
                _ => words,
            };
            vcvtq_f32_s32(vshrq_n_s32::<24>(words))
        }
    }
}

/// int8 values, all four of a word.
#[derive(Clone, Copy)]
struct Quads;

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl Dot for Quads {
    type Words = int32x4_t;
    type Sums = int32x4_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(words: *const u32, _value: usize) -> int32x4_t {
        // SAFETY: guaranteed by the caller.
        unsafe { vld1q_s32(words.cast()) }
    }

    #[inline(always)]
    unsafe fn broadcast(word: *const u32) -> int32x4_t {
        // SAFETY: guaranteed by the caller.
        unsafe { vld1q_dup_s32(word.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(mut sums: int32x4_t, left: int32x4_t, right: int32x4_t) -> int32x4_t {
        // SAFETY: it reads and writes registers; the caller guarantees that the machine has the
        // instruction.
        unsafe {
            // The intrinsic is not stable.
            std::arch::asm!(
                "sdot {sums:v}.4s, {left:v}.16b, {right:v}.16b",
                sums = inout(vreg) sums,
                left = in(vreg) left,
                right = in(vreg) right,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }

    #[inline(always)]
    unsafe fn store(sums: int32x4_t, end: &End<'_>, column: usize, result: *mut f32) {
        // SAFETY: guaranteed by the caller; `column` and what follows it are inside the panel.
        unsafe {
            let sums = match end.quantised {
                Some(Quantised { corrections, .. }) => {
                    vsubq_s32(sums, vld1q_s32(corrections.as_ptr().add(column)))
                }
                None => sums,
            };
            Floats::store(vcvtq_f32_s32(sums), end, column, result);
        }
    }
}

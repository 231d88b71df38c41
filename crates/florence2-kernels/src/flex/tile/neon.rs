//! NEON: 6 rows times four vectors of 4 columns.

use std::arch::aarch64::{
    float32x4_t, uint16x4_t, vaddq_f32, vdupq_n_f32, vfmaq_f32, vld1_u16, vld1q_dup_f32, vld1q_f32,
    vst1q_f32,
};

use super::{Dot, End, Kernel, Raw, for_rows};

pub(super) const F32: Kernel = Kernel::new(run_f32::<false>, run_f32::<true>, 6);
pub(super) const F16: Kernel = Kernel {
    widen: Some(widen_f16),
    columns_per_word: Halves::COLUMNS_PER_WORD,
    ..Kernel::new(run_f16::<false>, run_f16::<true>, 6)
};

#[target_feature(enable = "neon")]
#[allow(unsafe_code)]
unsafe fn run_f32<const ASKS: bool>(raw: &Raw<'_>) {
    for column in (0..raw.columns).step_by(4 * Floats::LANES) {
        // SAFETY: of the caller.
        unsafe { for_rows!(raw, column, Floats, 4, ASKS, [1 2 3 4 5 6]) }
    }
}

#[target_feature(enable = "neon")]
#[allow(unsafe_code)]
unsafe fn run_f16<const ASKS: bool>(raw: &Raw<'_>) {
    for column in (0..raw.columns).step_by(4 * Halves::LANES) {
        // SAFETY: of the caller.
        unsafe { for_rows!(raw, column, Halves, 4, ASKS, [1 2 3 4 5 6]) }
    }
}

#[derive(Clone, Copy)]
struct Floats;

#[allow(unsafe_code, clippy::inline_always)]
impl Dot for Floats {
    type Words = float32x4_t;
    type Sums = float32x4_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(words: *const u32) -> float32x4_t {
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
    unsafe fn store(sums: float32x4_t, end: &End<'_>, _column: usize, result: *mut f32) {
        // SAFETY: as above.
        unsafe {
            let mut sums = vfmaq_f32(vld1q_f32(end.bias), sums, vdupq_n_f32(end.scale));
            if end.add {
                sums = vaddq_f32(sums, vld1q_f32(result));
            }
            vst1q_f32(result, sums);
        }
    }
}

#[target_feature(enable = "neon")]
#[allow(unsafe_code)]
unsafe fn widen_f16(count: usize, words: *const u32, into: *mut f32) {
    // SAFETY: of the caller.
    unsafe { super::widen::<Halves>(count, words, into) }
}

/// Columns of f16, which become f32 as they are read.
#[derive(Clone, Copy)]
struct Halves;

#[allow(unsafe_code, clippy::inline_always)]
impl Dot for Halves {
    type Words = float32x4_t;
    type Sums = float32x4_t;
    const LANES: usize = 4;
    const COLUMNS_PER_WORD: usize = 2;

    #[inline(always)]
    unsafe fn load(words: *const u32) -> float32x4_t {
        // SAFETY: as above.
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

    #[inline(always)]
    unsafe fn broadcast(word: *const u32) -> float32x4_t {
        // SAFETY: as above.
        unsafe { Floats::broadcast(word) }
    }

    #[inline(always)]
    unsafe fn dot(sums: float32x4_t, left: float32x4_t, right: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { Floats::dot(sums, left, right) }
    }

    #[inline(always)]
    unsafe fn store(sums: float32x4_t, end: &End<'_>, column: usize, result: *mut f32) {
        // SAFETY: as above.
        unsafe { Floats::store(sums, end, column, result) }
    }
}

//! NEON and its int8 dot products.
//!
//! MR x NR is 6 rows by 16 columns (24 registers of sums, 4 of columns, 1 of a row's word), or up to 3
//! rows by 32 columns (24 of sums; the columns and the row's word share the others). There are 32
//! registers of 4 columns.
//!
//! The entry points of [`vector_kernels`] have the contract of
//! [`GemmArgs`](super::args::GemmArgs). They are called through [`super::entry::Kernel`] only, which
//! checks it. florence2-core's `tests/fused.rs` compares their products with burn's.

use std::arch::aarch64::{
    float32x4_t, int32x4_t, uint16x4_t, vaddq_f32, vandq_s32, vcvtq_f32_s32, vdupq_n_f32,
    vdupq_n_s32, vfmaq_f32, vld1_u16, vld1q_dup_f32, vld1q_dup_s32, vld1q_f32, vld1q_s32,
    vmulq_f32, vreinterpretq_f32_s32, vshlq_n_s32, vshrq_n_s32, vst1q_f32, vsubq_s32,
};

use super::vector::{VectorIsa, vector_kernels};

vector_kernels!(
    Neon,
    narrow: 4,
    wide: 8,
    base: "neon",
    f16: "neon",
    int8: "neon,dotprod",
);

/// Vectors of 4 columns.
struct Neon;

// SAFETY: both types are 128 bits of any value. Each function executes the instruction of its name;
// its contract is the trait's.
#[allow(unsafe_code, clippy::inline_always, clippy::undocumented_unsafe_blocks)]
unsafe impl VectorIsa for Neon {
    type F32 = float32x4_t;
    type I32 = int32x4_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load_f32(values: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(values) }
    }

    #[inline(always)]
    unsafe fn store_f32(values: *mut f32, vector: float32x4_t) {
        unsafe { vst1q_f32(values, vector) }
    }

    #[inline(always)]
    unsafe fn broadcast_f32(value: *const f32) -> float32x4_t {
        unsafe { vld1q_dup_f32(value) }
    }

    #[inline(always)]
    unsafe fn splat_f32(value: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    unsafe fn add_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn add_product_f32(sums: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(sums, a, b) }
    }

    #[inline(always)]
    unsafe fn load_i32(values: *const i32) -> int32x4_t {
        unsafe { vld1q_s32(values) }
    }

    #[inline(always)]
    unsafe fn broadcast_i32(value: *const i32) -> int32x4_t {
        unsafe { vld1q_dup_s32(value) }
    }

    #[inline(always)]
    unsafe fn sub_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe { vsubq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn shift_left_i32<const BITS: i32>(vector: int32x4_t) -> int32x4_t {
        unsafe { vshlq_n_s32::<BITS>(vector) }
    }

    #[inline(always)]
    unsafe fn shift_right_24_i32(vector: int32x4_t) -> int32x4_t {
        unsafe { vshrq_n_s32::<24>(vector) }
    }

    #[inline(always)]
    unsafe fn and_i32(vector: int32x4_t, mask: i32) -> int32x4_t {
        unsafe { vandq_s32(vector, vdupq_n_s32(mask)) }
    }

    #[inline(always)]
    unsafe fn cast_f32(vector: int32x4_t) -> float32x4_t {
        unsafe { vreinterpretq_f32_s32(vector) }
    }

    #[inline(always)]
    unsafe fn convert_f32(vector: int32x4_t) -> float32x4_t {
        unsafe { vcvtq_f32_s32(vector) }
    }

    #[inline(always)]
    unsafe fn load_f16(values: *const u16) -> float32x4_t {
        unsafe {
            let values: uint16x4_t = vld1_u16(values);
            let widened: float32x4_t;
            // The intrinsic is not stable.
            std::arch::asm!(
                "fcvtl {widened:v}.4s, {values:v}.4h",
                values = in(vreg) values,
                widened = out(vreg) widened,
                options(pure, nomem, nostack, preserves_flags),
            );
            widened
        }
    }

    #[inline(always)]
    unsafe fn dot_int8x4(mut sums: int32x4_t, lhs: int32x4_t, rhs: int32x4_t) -> int32x4_t {
        unsafe {
            // The intrinsic is not stable.
            std::arch::asm!(
                "sdot {sums:v}.4s, {lhs:v}.16b, {rhs:v}.16b",
                sums = inout(vreg) sums,
                lhs = in(vreg) lhs,
                rhs = in(vreg) rhs,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }
}

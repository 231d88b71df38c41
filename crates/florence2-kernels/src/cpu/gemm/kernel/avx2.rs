//! AVX2 and its int8 dot products.
//!
//! MR x NR is 6 rows by 16 columns (12 registers of sums, 2 of columns, 1 of a row's word), or up to 3
//! rows by 32 columns (12 of sums; some of the columns are operands in memory). There are 16
//! registers of 8 columns.
//!
//! The entry points of [`vector_kernels`] have the contract of
//! [`GemmArgs`](super::args::GemmArgs). They are called through [`super::entry::Kernel`] only, which
//! checks it. florence2-core's `tests/fused.rs` compares their products with burn's: on a processor
//! with AVX-512, at `FLORENCE2_CPU_LEVEL=avx2`.

use std::arch::x86_64::{
    __m256, __m256i, _mm_loadu_si128, _mm256_add_ps, _mm256_and_si256, _mm256_castsi256_ps,
    _mm256_cvtepi32_ps, _mm256_cvtph_ps, _mm256_dpbusd_avx_epi32, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi32,
    _mm256_srai_epi32, _mm256_storeu_ps, _mm256_sub_epi32,
};

use super::vector::{VectorIsa, vector_kernels};

vector_kernels!(
    Avx2,
    narrow: 2,
    wide: 4,
    base: "avx2,fma",
    f16: "avx2,fma,f16c",
    int8: "avx2,fma,avxvnni",
);

/// Vectors of 8 columns.
struct Avx2;

// SAFETY: both types are 256 bits of any value. Each function executes the instruction of its name;
// its contract is the trait's.
#[allow(unsafe_code, clippy::inline_always, clippy::undocumented_unsafe_blocks)]
unsafe impl VectorIsa for Avx2 {
    type F32 = __m256;
    type I32 = __m256i;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load_f32(values: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(values) }
    }

    #[inline(always)]
    unsafe fn store_f32(values: *mut f32, vector: __m256) {
        unsafe { _mm256_storeu_ps(values, vector) }
    }

    #[inline(always)]
    unsafe fn broadcast_f32(value: *const f32) -> __m256 {
        unsafe { _mm256_set1_ps(*value) }
    }

    #[inline(always)]
    unsafe fn splat_f32(value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn add_f32(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_f32(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn add_product_f32(sums: __m256, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, sums) }
    }

    #[inline(always)]
    unsafe fn load_i32(values: *const i32) -> __m256i {
        unsafe { _mm256_loadu_si256(values.cast()) }
    }

    #[inline(always)]
    unsafe fn broadcast_i32(value: *const i32) -> __m256i {
        unsafe { _mm256_set1_epi32(*value) }
    }

    #[inline(always)]
    unsafe fn sub_i32(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_sub_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn shift_left_i32<const BITS: i32>(vector: __m256i) -> __m256i {
        unsafe { _mm256_slli_epi32::<BITS>(vector) }
    }

    #[inline(always)]
    unsafe fn shift_right_24_i32(vector: __m256i) -> __m256i {
        unsafe { _mm256_srai_epi32::<24>(vector) }
    }

    #[inline(always)]
    unsafe fn and_i32(vector: __m256i, mask: i32) -> __m256i {
        unsafe { _mm256_and_si256(vector, _mm256_set1_epi32(mask)) }
    }

    #[inline(always)]
    unsafe fn cast_f32(vector: __m256i) -> __m256 {
        unsafe { _mm256_castsi256_ps(vector) }
    }

    #[inline(always)]
    unsafe fn convert_f32(vector: __m256i) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(vector) }
    }

    #[inline(always)]
    unsafe fn load_f16(values: *const u16) -> __m256 {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(values.cast())) }
    }

    #[inline(always)]
    unsafe fn dot_int8x4(sums: __m256i, lhs: __m256i, rhs: __m256i) -> __m256i {
        unsafe { _mm256_dpbusd_avx_epi32(sums, lhs, rhs) }
    }
}

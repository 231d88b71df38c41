//! AVX2: 6 rows times two vectors of 8 columns.

use std::arch::x86_64::{
    __m256, _mm_loadu_si128, _mm256_add_ps, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_set1_ps, _mm256_storeu_ps,
};

use super::{Dot, End, Kernel, Raw, for_rows};

pub(super) const F32: Kernel = Kernel::new(run_f32::<false>, run_f32::<true>, 6);
pub(super) const F16: Kernel = Kernel {
    widen: Some(widen_f16),
    columns_per_word: Halves::COLUMNS_PER_WORD,
    ..Kernel::new(run_f16::<false>, run_f16::<true>, 6)
};

#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code)]
unsafe fn run_f32<const ASKS: bool>(raw: &Raw<'_>) {
    for column in (0..raw.columns).step_by(2 * Floats::LANES) {
        // SAFETY: of the caller.
        unsafe { for_rows!(raw, column, Floats, 2, ASKS, [1 2 3 4 5 6]) }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[allow(unsafe_code)]
unsafe fn run_f16<const ASKS: bool>(raw: &Raw<'_>) {
    for column in (0..raw.columns).step_by(2 * Halves::LANES) {
        // SAFETY: of the caller.
        unsafe { for_rows!(raw, column, Halves, 2, ASKS, [1 2 3 4 5 6]) }
    }
}

#[derive(Clone, Copy)]
struct Floats;

#[allow(unsafe_code, clippy::inline_always)]
impl Dot for Floats {
    type Words = __m256;
    type Sums = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(words: *const u32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_loadu_ps(words.cast()) }
    }

    #[inline(always)]
    unsafe fn broadcast(word: *const u32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_set1_ps(*word.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256, left: __m256, right: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(left, right, sums) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m256, end: &End<'_>, _column: usize, result: *mut f32) {
        // SAFETY: as above.
        unsafe {
            let bias = _mm256_loadu_ps(end.bias);
            let mut sums = _mm256_fmadd_ps(sums, _mm256_set1_ps(end.scale), bias);
            if end.add {
                sums = _mm256_add_ps(sums, _mm256_loadu_ps(result));
            }
            _mm256_storeu_ps(result, sums);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
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
    type Words = __m256;
    type Sums = __m256;
    const LANES: usize = 8;
    const COLUMNS_PER_WORD: usize = 2;

    #[inline(always)]
    unsafe fn load(words: *const u32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(words.cast())) }
    }

    #[inline(always)]
    unsafe fn broadcast(word: *const u32) -> __m256 {
        // SAFETY: as above.
        unsafe { Floats::broadcast(word) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256, left: __m256, right: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { Floats::dot(sums, left, right) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m256, end: &End<'_>, column: usize, result: *mut f32) {
        // SAFETY: as above.
        unsafe { Floats::store(sums, end, column, result) }
    }
}

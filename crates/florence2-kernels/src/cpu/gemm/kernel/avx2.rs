//! AVX2 and its int8 dot products: microkernels of 6 rows by two vectors of 8 columns, or of up to
//! three rows by four vectors.

use std::arch::x86_64::{
    __m256, __m256i, _mm_loadu_si128, _mm256_add_ps, _mm256_and_si256, _mm256_castsi256_ps,
    _mm256_cvtepi32_ps, _mm256_cvtph_ps, _mm256_dpbusd_avx_epi32, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi32,
    _mm256_srai_epi32, _mm256_storeu_ps, _mm256_sub_epi32,
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
                    for_rows!(raw, 0, $dot, 4, ASKS, [1 2 3]);
                    return;
                }
                for column in (0..raw.columns).step_by(2 * <$dot>::LANES) {
                    for_rows!(raw, column, $dot, 2, ASKS, [1 2 3 4 5 6]);
                }
            }
        }
    };
}

run!(run_f32, Floats, "avx2,fma");
run!(run_f16, Halves, "avx2,fma,f16c");
run!(run_bf16, Pairs, "avx2,fma");
run!(run_bytes, Bytes, "avx2,fma");
run!(run_int8, Quads, "avx2,fma,avxvnni");

macro_rules! widen {
    ($name:ident, $columns:ty, $features:literal) => {
        #[target_feature(enable = $features)]
        #[allow(unsafe_code)]
        unsafe fn $name(count: usize, words: *const u32, into: *mut f32) {
            // SAFETY: guaranteed by the caller.
            unsafe { widened::widen::<$columns>(count, words, into) }
        }
    };
}

widen!(widen_f16, Halves, "avx2,fma,f16c");
widen!(widen_bf16, Pairs, "avx2,fma");
widen!(widen_bytes, Bytes, "avx2,fma");

#[derive(Clone, Copy)]
struct Floats;

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl Dot for Floats {
    type Words = __m256;
    type Sums = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(words: *const u32, _value: usize) -> __m256 {
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
    unsafe fn store(mut sums: __m256, end: &End<'_>, column: usize, result: *mut f32) {
        // SAFETY: as above; `column` and what follows it are inside the panel.
        unsafe {
            if let Some(Quantised { scales, .. }) = end.quantised {
                sums = _mm256_mul_ps(sums, _mm256_loadu_ps(scales.as_ptr().add(column)));
            }
            let bias = _mm256_loadu_ps(end.bias);
            let mut sums = _mm256_fmadd_ps(sums, _mm256_set1_ps(end.scale), bias);
            if end.add {
                sums = _mm256_add_ps(sums, _mm256_loadu_ps(result));
            }
            _mm256_storeu_ps(result, sums);
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
    unsafe fn widen(words: *const u32, _value: usize) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(words.cast())) }
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
    unsafe fn widen(words: *const u32, value: usize) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let words = _mm256_loadu_si256(words.cast());
            _mm256_castsi256_ps(match value {
                0 => _mm256_slli_epi32::<16>(words),
                _ => _mm256_and_si256(words, _mm256_set1_epi32(-1 << 16)),
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
    unsafe fn widen(words: *const u32, value: usize) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let words = _mm256_loadu_si256(words.cast());
            // Shifts the byte to the top, and back with its sign.
            let words = match value {
                0 => _mm256_slli_epi32::<24>(words),
                1 => _mm256_slli_epi32::<16>(words),
                2 => _mm256_slli_epi32::<8>(words),
                _ => words,
            };
            _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(words))
        }
    }
}

/// int8 values, all four of a word. The left operand's bytes are unsigned.
#[derive(Clone, Copy)]
struct Quads;

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl Dot for Quads {
    type Words = __m256i;
    type Sums = __m256i;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(words: *const u32, _value: usize) -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_loadu_si256(words.cast()) }
    }

    #[inline(always)]
    unsafe fn broadcast(word: *const u32) -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_set1_epi32((*word).cast_signed()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, left: __m256i, right: __m256i) -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_dpbusd_avx_epi32(sums, left, right) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m256i, end: &End<'_>, column: usize, result: *mut f32) {
        // SAFETY: guaranteed by the caller; `column` and what follows it are inside the panel.
        unsafe {
            let sums = match end.quantised {
                Some(Quantised { corrections, .. }) => {
                    let corrections = corrections.as_ptr().add(column);
                    _mm256_sub_epi32(sums, _mm256_loadu_si256(corrections.cast()))
                }
                None => sums,
            };
            Floats::store(_mm256_cvtepi32_ps(sums), end, column, result);
        }
    }
}

//! f32 values as integers of three 8-bit slices with a common scale (the Ozaki scheme).
//!
//! The scale is a power of two, between a 4-millionth and an 8-millionth of the largest magnitude.
//! The rounding error is smaller than the rounding error of an f32 sum that contains the largest
//! value. Slices are digits of base 256 that range from -128 to 127. Only AMX multiplies them.

use crate::cpu::cache_line::LINE;

/// The number of slices of a value.
pub(crate) const SLICES: usize = 3;

/// The number of values whose slices fill one cache line each: one line of first slices, one of
/// second slices and one of third slices. A word holds the slices of every sixteenth value.
pub(crate) const GROUP: usize = 4 * LINE;

/// The number of words that hold `values` values.
pub(crate) fn words(values: usize) -> usize {
    values.div_ceil(GROUP) * SLICES * LINE
}

/// Writes the slices of a row with a given largest magnitude. Only x86-64 has such rows.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn encode_row(_row: &[f32], _max_abs: f32, _words: &mut [u32]) -> f32 {
    // INVARIANT: `select::kernel` returns no kernel for rows in split int8 there.
    unreachable!("split int8")
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{Scale, encode_row, round_scaled, slices_of};

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::{
        __m512, __m512i, _mm512_add_epi32, _mm512_castsi512_ps, _mm512_cvtps_epi32,
        _mm512_loadu_si512, _mm512_maskz_loadu_epi32, _mm512_mul_ps, _mm512_set1_epi32,
        _mm512_set1_ps, _mm512_setzero_si512, _mm512_slli_epi32, _mm512_srli_epi32,
        _mm512_storeu_si512, _mm512_ternarylogic_epi32, _mm512_xor_si512,
    };

    use super::{GROUP, SLICES, words};
    use crate::cpu::cache_line::LINE;
    use crate::cpu::simd::{SimdLevel, simd_level};

    /// Added to an integer, and subtracted from the bytes of its second and third slices, it makes
    /// all slices signed.
    const CARRY: u32 = 0x8080;

    /// The common scale of values up to a largest magnitude.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Scale {
        /// The value of the integer 1. It is not finite if the largest magnitude is not, so that
        /// products are not finite either.
        pub(crate) value: f32,
        /// The inverse of a finite `value`.
        pub(crate) inverse: f32,
    }

    impl Scale {
        /// The scale for a largest magnitude.
        #[inline(always)]
        #[allow(
            clippy::inline_always,
            reason = "it must be vectorised with its caller"
        )]
        pub(crate) fn of(max_abs: f32) -> Self {
            /// 2^23 divided by the largest integer of three slices, rounded up.
            const MARGIN: f32 = 1.003_95;
            /// The number of bits below the exponent.
            const MANTISSA: u32 = 23;
            const ONE: u32 = 127;
            // With a smaller exponent, the scale or its inverse would not be a normal number.
            let exponent =
                ((max_abs * MARGIN).to_bits() >> MANTISSA).max(MANTISSA) - (MANTISSA - 1);
            let scale = f32::from_bits(exponent << MANTISSA);
            Self {
                value: if max_abs.is_finite() { scale } else { max_abs },
                inverse: f32::from_bits((2 * ONE - exponent) << MANTISSA),
            }
        }
    }

    /// Writes the slices of a row with a given largest magnitude, padded with zeros to a whole
    /// line. Returns the scale.
    #[allow(unsafe_code)]
    pub(crate) fn encode_row(row: &[f32], max_abs: f32, words_: &mut [u32]) -> f32 {
        assert!(simd_level() == SimdLevel::Amx && words_.len() >= words(row.len()));
        let scale = Scale::of(max_abs);
        // SAFETY: the level includes AVX-512.
        unsafe { write_row(row, scale.inverse, words_) };
        scale.value
    }

    /// # Safety
    /// The processor supports the instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    #[allow(unsafe_code)]
    unsafe fn write_row(row: &[f32], inverse: f32, words: &mut [u32]) {
        let inverses = _mm512_set1_ps(inverse);
        let lines = words.as_chunks_mut::<LINE>().0.as_chunks_mut::<SLICES>().0;
        for (values, lines) in row.chunks(GROUP).zip(lines) {
            let mut integers = [_mm512_setzero_si512(); 4];
            for (index, integer) in integers.iter_mut().enumerate() {
                let values = &values[values.len().min(index * LINE)..];
                // SAFETY: the mask selects only existing values.
                *integer = unsafe {
                    match values.len() {
                        0 => *integer,
                        1..LINE => {
                            let mask = u16::MAX >> (LINE - values.len());
                            _mm512_maskz_loadu_epi32(mask, values.as_ptr().cast())
                        }
                        _ => _mm512_loadu_si512(values.as_ptr().cast()),
                    }
                };
                *integer = round_scaled(*integer, inverses);
            }
            let slices = slices_of(integers);
            for slice in 0..SLICES {
                // SAFETY: a line holds a vector.
                unsafe { _mm512_storeu_si512(lines[slice].as_mut_ptr().cast(), slices[slice]) };
            }
        }
    }

    /// The nearest integers of f32 values times the inverse scales, plus [`CARRY`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn round_scaled(values: __m512i, inverses: __m512) -> __m512i {
        let values = _mm512_mul_ps(_mm512_castsi512_ps(values), inverses);
        let carry = _mm512_set1_epi32(CARRY.cast_signed());
        _mm512_add_epi32(_mm512_cvtps_epi32(values), carry)
    }

    /// The slices of four vectors of integers, side by side in words: the first slices first.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn slices_of([a, b, c, d]: [__m512i; 4]) -> [__m512i; SLICES] {
        /// Selects bits of the second operand where the mask is set, else bits of the third.
        const SELECT: i32 = 0xca;
        let bytes = _mm512_set1_epi32(0x00ff_00ff);
        let halves = _mm512_set1_epi32(0x0000_ffff);
        let signs = _mm512_set1_epi32(0x8080_8080_u32.cast_signed());
        // The third and first slices, and the second slices, of pairs of integers.
        let outer = |a, b| _mm512_ternarylogic_epi32::<SELECT>(bytes, a, _mm512_slli_epi32::<8>(b));
        let inner = |a, b| _mm512_ternarylogic_epi32::<SELECT>(bytes, _mm512_srli_epi32::<8>(a), b);
        let lower =
            |a, b| _mm512_ternarylogic_epi32::<SELECT>(halves, a, _mm512_slli_epi32::<16>(b));
        let upper =
            |a, b| _mm512_ternarylogic_epi32::<SELECT>(halves, _mm512_srli_epi32::<16>(a), b);
        let (outer_ab, outer_cd) = (outer(a, b), outer(c, d));
        [
            upper(outer_ab, outer_cd),
            _mm512_xor_si512(lower(inner(a, b), inner(c, d)), signs),
            _mm512_xor_si512(lower(outer_ab, outer_cd), signs),
        ]
    }
}

//! Rounding of f32 to bf16: to the nearest, ties to even. NaN stays NaN.

use crate::cpu::simd::vectorised;
#[cfg(target_arch = "x86_64")]
use crate::cpu::simd::{SimdLevel, simd_level};

/// The bits of a value rounded to bf16.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be vectorised with its caller"
)]
pub(crate) fn bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    // Rounding must not carry a NaN into infinity.
    if value.is_nan() { 0x7fc0 } else { rounded }
}

/// Encodes neighbouring values of a row in pairs. A last value without a neighbour is paired with
/// zero.
pub(crate) fn encode_row(row: &[f32], words: &mut [u32]) {
    let done = whole_vectors_of_row(row, words);
    let (row, words) = (&row[2 * done..], &mut words[done..]);
    vectorised(
        #[inline(always)]
        |_| {
            for (word, pair) in words.iter_mut().zip(row.chunks(2)) {
                *word = bf16(pair[0]) | pair.get(1).map_or(0, |second| bf16(*second) << 16);
            }
        },
    );
}

/// Encodes pairs of a value of the first row and the value below it in the second row. The second
/// row has the same length, or is empty and stands for zeros.
pub(crate) fn encode_pairs(first: &[f32], second: &[f32], words: &mut [u32]) {
    let done = whole_vectors_of_pairs(first, second, words);
    let (first, words) = (&first[done..], &mut words[done..]);
    let second = second.get(done..).unwrap_or_default();
    vectorised(
        #[inline(always)]
        |_| {
            if second.is_empty() {
                for (word, first) in words.iter_mut().zip(first) {
                    *word = bf16(*first);
                }
                return;
            }
            for ((word, first), second) in words.iter_mut().zip(first).zip(second) {
                *word = bf16(*first) | bf16(*second) << 16;
            }
        },
    );
}

/// Encodes as many words as fill whole vectors if the machine has an instruction for it. Returns
/// their number.
fn whole_vectors_of_row(row: &[f32], words: &mut [u32]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if simd_level() >= SimdLevel::Avx512Dot {
        // SAFETY: the processor supports the level in use and those below it.
        #[allow(unsafe_code)]
        return unsafe { avx512::encode_row(row, words) };
    }
    let _ = (row, words);
    0
}

/// Like [`whole_vectors_of_row`], for two rows.
fn whole_vectors_of_pairs(first: &[f32], second: &[f32], words: &mut [u32]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if simd_level() >= SimdLevel::Avx512Dot {
        // SAFETY: the processor supports the level in use and those below it.
        #[allow(unsafe_code)]
        return unsafe { avx512::encode_pairs(first, second, words) };
    }
    let _ = (first, second, words);
    0
}

/// Encoding with the instruction that rounds two vectors. It treats subnormal numbers, those below
/// 1e-38, as zero.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_loadu_si512,
        _mm512_permutexvar_epi16, _mm512_storeu_si512,
    };
    use std::mem::transmute;

    /// Words per vector.
    const WORDS: usize = 16;

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(crate) fn encode_row(row: &[f32], words: &mut [u32]) -> usize {
        let (pairs, _) = row.as_chunks::<{ 2 * WORDS }>();
        let (vectors, _) = words.as_chunks_mut::<WORDS>();
        for (pair, vector) in pairs.iter().zip(vectors) {
            let (first, second) = pair.split_at(WORDS);
            store(halves(first, second), vector);
        }
        WORDS * pairs.len().min(words.len() / WORDS)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(crate) fn encode_pairs(first: &[f32], second: &[f32], words: &mut [u32]) -> usize {
        /// The order that interleaves the values of both rows: those of the second row are the
        /// upper halves.
        const IN_TURN: [u16; 2 * WORDS] = {
            let mut order = [0; 2 * WORDS];
            let mut word = 0;
            while word < WORDS {
                order[2 * word] = word as u16;
                order[2 * word + 1] = (WORDS + word) as u16;
                word += 1;
            }
            order
        };
        // SAFETY: a vector's worth of values is read.
        #[allow(unsafe_code)]
        let in_turn = unsafe { _mm512_loadu_si512(IN_TURN.as_ptr().cast()) };
        let (firsts, seconds) = (first.as_chunks::<WORDS>().0, second.as_chunks::<WORDS>().0);
        let (vectors, _) = words.as_chunks_mut::<WORDS>();
        for ((first, second), vector) in firsts.iter().zip(seconds).zip(vectors) {
            let halves = _mm512_permutexvar_epi16(in_turn, halves(first, second));
            store(halves, vector);
        }
        WORDS * firsts.len().min(seconds.len()).min(words.len() / WORDS)
    }

    /// The first row's values as bf16, then the second's.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn halves(first: &[f32], second: &[f32]) -> __m512i {
        assert!(first.len() >= WORDS && second.len() >= WORDS);
        // SAFETY: both rows hold a vector's worth; both types are 512 bits of any value.
        #[allow(unsafe_code)]
        unsafe {
            let (first, second) = (
                _mm512_loadu_ps(first.as_ptr()),
                _mm512_loadu_ps(second.as_ptr()),
            );
            transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first))
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn store(halves: __m512i, words: &mut [u32; WORDS]) {
        // SAFETY: the words are a vector's worth.
        #[allow(unsafe_code)]
        unsafe {
            _mm512_storeu_si512(words.as_mut_ptr().cast(), halves);
        }
    }
}

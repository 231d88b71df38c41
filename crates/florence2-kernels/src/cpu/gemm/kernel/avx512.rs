//! AVX-512: microkernels of 14 rows by two vectors of 16 columns.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm256_loadu_si256, _mm512_add_ps, _mm512_castps_si512,
    _mm512_castsi512_ps, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbf16_ps,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_storeu_ps, _mm512_sub_epi32,
};
use std::mem::transmute;

use super::widened::{self, Widened};
use super::{Dot, End, Kernel, PANEL, Quantised, Raw, for_rows};

const MAX_ROWS: usize = 14;

pub(crate) const F32: Kernel = Kernel::new(run_f32::<false>, run_f32::<true>, MAX_ROWS);
pub(crate) const F16: Kernel =
    Kernel::new(run_f16::<false>, run_f16::<true>, MAX_ROWS).widening::<Halves>(widen_f16);
pub(crate) const BF16: Kernel = Kernel::new(run_bf16::<false>, run_bf16::<true>, MAX_ROWS);
pub(crate) const INT8: Kernel = Kernel::new(run_int8::<false>, run_int8::<true>, MAX_ROWS);

/// Runs the microkernel for the number of rows and columns.
macro_rules! run {
    ($name:ident, $dot:ty, $features:literal) => {
        #[target_feature(enable = $features)]
        #[allow(unsafe_code)]
        unsafe fn $name<const ASKS: bool>(raw: &Raw<'_>) {
            // SAFETY: guaranteed by the caller.
            unsafe {
                if raw.columns <= PANEL / 2 {
                    for_rows!(raw, 0, $dot, 1, ASKS, [1 2 3 4 5 6 7 8 9 10 11 12 13 14]);
                } else {
                    for_rows!(raw, 0, $dot, 2, ASKS, [1 2 3 4 5 6 7 8 9 10 11 12 13 14]);
                }
            }
        }
    };
}

run!(run_f32, Floats, "avx512f,avx512bw,avx512dq,avx512vl");
run!(run_f16, Halves, "avx512f,avx512bw,avx512dq,avx512vl");
run!(
    run_bf16,
    Pairs,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"
);
run!(
    run_int8,
    Quads,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"
);

/// The common part of all formats: their words, and the instruction for a row.
///
/// It multiplies one word by two vectors in one block of assembly. Otherwise the compiler loads the
/// words of all rows first and spills the sums from their registers, which costs a third of the
/// speed.
macro_rules! words {
    ($sums:ty, $instruction:literal, $features:literal) => {
        type Words = __m512i;
        type Sums = $sums;
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn load(words: *const u32, _value: usize) -> __m512i {
            // SAFETY: guaranteed by the caller.
            unsafe { _mm512_loadu_si512(words.cast()) }
        }

        #[inline(always)]
        unsafe fn broadcast(word: *const u32) -> __m512i {
            // SAFETY: guaranteed by the caller.
            unsafe { _mm512_set1_epi32((*word).cast_signed()) }
        }

        #[inline(always)]
        unsafe fn dot_row<const VECTORS: usize>(
            sums: &mut [$sums; VECTORS],
            left: *const u32,
            right: &[__m512i; VECTORS],
        ) {
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn pair(mut sums: [$sums; 2], left: *const u32, right: [__m512i; 2]) -> [$sums; 2] {
                let [first, second] = &mut sums;
                let _word: __m512i;
                // SAFETY: it reads one word, which the caller checked, and writes registers.
                unsafe {
                    std::arch::asm!(
                        "vbroadcastss {word}, dword ptr [{left}]",
                        concat!($instruction, " {first}, {word}, {a}"),
                        concat!($instruction, " {second}, {word}, {b}"),
                        word = out(zmm_reg) _word,
                        left = in(reg) left,
                        first = inout(zmm_reg) *first,
                        second = inout(zmm_reg) *second,
                        a = in(zmm_reg) right[0],
                        b = in(zmm_reg) right[1],
                        options(pure, readonly, nostack, preserves_flags),
                    );
                }
                sums
            }
            // SAFETY: guaranteed by the caller.
            unsafe {
                match (&mut sums[..], &right[..]) {
                    ([first, second], &[a, b]) => {
                        [*first, *second] = pair([*first, *second], left, [a, b]);
                    }
                    ([first], &[a]) => *first = Self::dot(*first, Self::broadcast(left), a),
                    // INVARIANT: tiles are one or two vectors wide.
                    _ => unreachable!(),
                }
            }
        }
    };
}

#[derive(Clone, Copy)]
pub(crate) struct Floats;

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl Dot for Floats {
    words!(__m512, "vfmadd231ps", "avx512f");

    #[inline(always)]
    unsafe fn dot(sums: __m512, left: __m512i, right: __m512i) -> __m512 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm512_fmadd_ps(_mm512_castsi512_ps(left), _mm512_castsi512_ps(right), sums) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512, end: &End<'_>, column: usize, result: *mut f32) {
        // SAFETY: guaranteed by the caller.
        unsafe { store(sums, end, column, result) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn widen_f16(count: usize, words: *const u32, into: *mut f32) {
    // SAFETY: guaranteed by the caller.
    unsafe { widened::widen::<Halves>(count, words, into) }
}

#[derive(Clone, Copy)]
pub(crate) struct Halves;

#[allow(unsafe_code, clippy::inline_always)]
impl Widened for Halves {
    type Into = Floats;
    const COLUMNS: usize = 2;

    #[inline(always)]
    unsafe fn widen(words: *const u32, _value: usize) -> __m512i {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm512_castps_si512(_mm512_cvtph_ps(_mm256_loadu_si256(words.cast()))) }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Pairs;

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl Dot for Pairs {
    words!(__m512, "vdpbf16ps", "avx512f,avx512bf16");

    #[inline(always)]
    unsafe fn dot(sums: __m512, left: __m512i, right: __m512i) -> __m512 {
        // SAFETY: guaranteed by the caller; a vector of words is one of pairs.
        unsafe {
            let [left, right] = [left, right].map(|words| transmute::<__m512i, __m512bh>(words));
            _mm512_dpbf16_ps(sums, left, right)
        }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512, end: &End<'_>, column: usize, result: *mut f32) {
        // SAFETY: guaranteed by the caller.
        unsafe { store(sums, end, column, result) }
    }
}

/// The left operand's bytes are unsigned.
#[derive(Clone, Copy)]
pub(crate) struct Quads;

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl Dot for Quads {
    words!(__m512i, "vpdpbusd", "avx512f,avx512vnni");

    #[inline(always)]
    unsafe fn dot(sums: __m512i, left: __m512i, right: __m512i) -> __m512i {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm512_dpbusd_epi32(sums, left, right) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512i, end: &End<'_>, column: usize, result: *mut f32) {
        // SAFETY: as above; `column` and what follows it are inside the panel.
        unsafe {
            let sums = match end.quantised {
                Some(Quantised { corrections, .. }) => {
                    let corrections = corrections.as_ptr().add(column);
                    _mm512_sub_epi32(sums, _mm512_loadu_si512(corrections.cast()))
                }
                None => sums,
            };
            store(_mm512_cvtepi32_ps(sums), end, column, result);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn store(mut sums: __m512, end: &End<'_>, column: usize, result: *mut f32) {
    // SAFETY: guaranteed by the caller: bias and result have a vector's columns, which are inside
    // the panel.
    unsafe {
        if let Some(Quantised { scales, .. }) = end.quantised {
            sums = _mm512_mul_ps(sums, _mm512_loadu_ps(scales.as_ptr().add(column)));
        }
        let bias = _mm512_loadu_ps(end.bias);
        let mut sums = _mm512_fmadd_ps(sums, _mm512_set1_ps(end.scale), bias);
        if end.add {
            sums = _mm512_add_ps(sums, _mm512_loadu_ps(result));
        }
        _mm512_storeu_ps(result, sums);
    }
}

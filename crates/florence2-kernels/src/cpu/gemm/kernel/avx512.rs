//! AVX-512 with its dot products of bf16 and int8.
//!
//! MR x NR is 14 rows by 32 columns (28 registers of sums, 2 of columns, 1 of a row's word), or 14
//! rows by 16 columns if there are no more. There are 32 registers of 16 columns.
//!
//! The entry points have the contract of [`GemmArgs`]. They are called through [`Kernel`] only,
//! which checks it. florence2-core's `tests/fused.rs` compares their products with burn's.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm256_loadu_si256, _mm512_add_ps, _mm512_castps_si512,
    _mm512_castsi512_ps, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbf16_ps,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_storeu_ps, _mm512_sub_epi32,
};
use std::mem::transmute;

use super::args::GemmArgs;
use super::entry::Kernel;
use super::microkernel::{Dot, RowEpilogue, for_rows};
use super::widened::{self, Widened};
use crate::cpu::gemm::epilogue::Quantised;
use crate::cpu::gemm::format::PANEL;

/// MR.
const MAX_ROWS: usize = 14;

pub(crate) const F32_KERNEL: Kernel = Kernel::new(run_f32::<false>, run_f32::<true>, MAX_ROWS);
pub(crate) const F16_KERNEL: Kernel = Kernel::new(run_f16::<false>, run_f16::<true>, MAX_ROWS)
    .widening::<F16>(widen_f16, &F32_KERNEL);
pub(crate) const BF16_KERNEL: Kernel = Kernel::new(run_bf16::<false>, run_bf16::<true>, MAX_ROWS);
pub(crate) const INT8_KERNEL: Kernel = Kernel::new(run_int8::<false>, run_int8::<true>, MAX_ROWS);

/// Runs the microkernel for the number of rows and columns.
macro_rules! run {
    ($name:ident, $dot:ty, $features:literal) => {
        /// # Safety
        /// The invariants of [`GemmArgs`], and `m <= MAX_ROWS`.
        #[target_feature(enable = $features)]
        #[allow(unsafe_code)]
        unsafe fn $name<const PREFETCH: bool>(args: &GemmArgs<'_>) {
            // SAFETY: the caller guarantees the invariants. The tile spans the width of invariant
            // 3.
            unsafe {
                if args.n <= PANEL / 2 {
                    for_rows!(args, 0, $dot, 1, PREFETCH, [1 2 3 4 5 6 7 8 9 10 11 12 13 14]);
                } else {
                    for_rows!(args, 0, $dot, 2, PREFETCH, [1 2 3 4 5 6 7 8 9 10 11 12 13 14]);
                }
            }
        }
    };
}

run!(run_f32, F32, "avx512f,avx512bw,avx512dq,avx512vl");
run!(run_f16, F16, "avx512f,avx512bw,avx512dq,avx512vl");
run!(
    run_bf16,
    Bf16x2,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"
);
run!(
    run_int8,
    Int8x4,
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
            // SAFETY: the caller guarantees a vector.
            unsafe { _mm512_loadu_si512(words.cast()) }
        }

        #[inline(always)]
        unsafe fn broadcast(word: *const u32) -> __m512i {
            // SAFETY: the caller guarantees a word.
            unsafe { _mm512_set1_epi32((*word).cast_signed()) }
        }

        #[inline(always)]
        unsafe fn dot_row<const VECTORS: usize>(
            sums: &mut [$sums; VECTORS],
            lhs: *const u32,
            rhs: &[__m512i; VECTORS],
        ) {
            /// # Safety
            /// `lhs` is readable.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn pair(mut sums: [$sums; 2], lhs: *const u32, rhs: [__m512i; 2]) -> [$sums; 2] {
                let [first, second] = &mut sums;
                let _word: __m512i;
                // SAFETY: it reads one word, which the caller guarantees, and writes registers.
                unsafe {
                    std::arch::asm!(
                        "vbroadcastss {word}, dword ptr [{lhs}]",
                        concat!($instruction, " {first}, {word}, {a}"),
                        concat!($instruction, " {second}, {word}, {b}"),
                        word = out(zmm_reg) _word,
                        lhs = in(reg) lhs,
                        first = inout(zmm_reg) *first,
                        second = inout(zmm_reg) *second,
                        a = in(zmm_reg) rhs[0],
                        b = in(zmm_reg) rhs[1],
                        options(pure, readonly, nostack, preserves_flags),
                    );
                }
                sums
            }
            // SAFETY: the caller guarantees a word and the instructions.
            unsafe {
                match (&mut sums[..], &rhs[..]) {
                    ([first, second], &[a, b]) => {
                        [*first, *second] = pair([*first, *second], lhs, [a, b]);
                    }
                    ([first], &[a]) => *first = Self::dot(*first, Self::broadcast(lhs), a),
                    // INVARIANT: `run` passes one or two vectors.
                    _ => unreachable!(),
                }
            }
        }
    };
}

/// f32 columns.
pub(crate) struct F32;

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl Dot for F32 {
    words!(__m512, "vfmadd231ps", "avx512f");

    #[inline(always)]
    unsafe fn dot(sums: __m512, lhs: __m512i, rhs: __m512i) -> __m512 {
        // SAFETY: the caller guarantees the instructions.
        unsafe { _mm512_fmadd_ps(_mm512_castsi512_ps(lhs), _mm512_castsi512_ps(rhs), sums) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512, epilogue: &RowEpilogue<'_>, column: usize, dst: *mut f32) {
        // SAFETY: `store` has the same contract.
        unsafe { store(sums, epilogue, column, dst) }
    }
}

/// # Safety
/// That of [`widened::widen`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn widen_f16(count: usize, words: *const u32, into: *mut f32) {
    // SAFETY: guaranteed by the caller.
    unsafe { widened::widen::<F16>(count, words, into) }
}

/// f16 columns, widened to f32.
pub(crate) struct F16;

#[allow(unsafe_code, clippy::inline_always)]
impl Widened for F16 {
    type Into = F32;
    const COLUMNS: usize = 2;

    #[inline(always)]
    unsafe fn widen(words: *const u32, _value: usize) -> __m512i {
        // SAFETY: the caller guarantees a vector of columns, two of which are in a word.
        unsafe { _mm512_castps_si512(_mm512_cvtph_ps(_mm256_loadu_si256(words.cast()))) }
    }
}

/// bf16 columns, multiplied in pairs by bf16 rows.
pub(crate) struct Bf16x2;

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl Dot for Bf16x2 {
    words!(__m512, "vdpbf16ps", "avx512f,avx512bf16");

    #[inline(always)]
    unsafe fn dot(sums: __m512, lhs: __m512i, rhs: __m512i) -> __m512 {
        // SAFETY: the caller guarantees the instructions. Both vectors are 512 bits of any value.
        unsafe {
            let [lhs, rhs] = [lhs, rhs].map(|words| transmute::<__m512i, __m512bh>(words));
            _mm512_dpbf16_ps(sums, lhs, rhs)
        }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512, epilogue: &RowEpilogue<'_>, column: usize, dst: *mut f32) {
        // SAFETY: `store` has the same contract.
        unsafe { store(sums, epilogue, column, dst) }
    }
}

/// int8 columns, multiplied four at a time by int8 rows, whose bytes are unsigned.
pub(crate) struct Int8x4;

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl Dot for Int8x4 {
    words!(__m512i, "vpdpbusd", "avx512f,avx512vnni");

    #[inline(always)]
    unsafe fn dot(sums: __m512i, lhs: __m512i, rhs: __m512i) -> __m512i {
        // SAFETY: the caller guarantees the instructions.
        unsafe { _mm512_dpbusd_epi32(sums, lhs, rhs) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512i, epilogue: &RowEpilogue<'_>, column: usize, dst: *mut f32) {
        // SAFETY: the vector from `column` on is inside the panel, and so inside its corrections;
        // `store` has the same contract.
        unsafe {
            let sums = match epilogue.quantised {
                Some(Quantised { corrections, .. }) => {
                    let corrections = corrections.as_ptr().add(column);
                    _mm512_sub_epi32(sums, _mm512_loadu_si512(corrections.cast()))
                }
                None => sums,
            };
            store(_mm512_cvtepi32_ps(sums), epilogue, column, dst);
        }
    }
}

/// [`Dot::store`] of f32 sums.
///
/// # Safety
/// That of [`Dot::store`].
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn store(mut sums: __m512, epilogue: &RowEpilogue<'_>, column: usize, dst: *mut f32) {
    // SAFETY: the caller guarantees a vector of the bias and of the result; the vector from `column`
    // on is inside the panel, and so inside its scales.
    unsafe {
        if let Some(Quantised { scales, .. }) = epilogue.quantised {
            sums = _mm512_mul_ps(sums, _mm512_loadu_ps(scales.as_ptr().add(column)));
        }
        let bias = _mm512_loadu_ps(epilogue.bias);
        let mut sums = _mm512_fmadd_ps(sums, _mm512_set1_ps(epilogue.row_scale), bias);
        if epilogue.accumulate {
            sums = _mm512_add_ps(sums, _mm512_loadu_ps(dst));
        }
        _mm512_storeu_ps(dst, sums);
    }
}

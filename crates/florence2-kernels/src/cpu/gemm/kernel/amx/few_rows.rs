//! Products of a few bf16 rows in vectors, with the same sums as in AMX's tile registers.
//!
//! A step of the decoder stalls on its weights, and longer on tile loads than on vector loads. For
//! the 16 pairs of a row in a tile register, AMX adds up the products of the first values and those
//! of the second values separately, rounding after each, and then adds both to the previous sum.
//! These vectors do the same in f32. The results are bit-identical, except for subnormal numbers,
//! which AMX treats as zero.

use std::arch::asm;
use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_T1, _mm_prefetch, _mm512_add_ps, _mm512_and_si512,
    _mm512_castsi512_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_maskz_loadu_epi32,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_slli_epi32, _mm512_storeu_ps,
};

use super::tiles::{SIDE, mask, sums_are_results};
use crate::cpu::cache_line::{LINE, Line};
use crate::cpu::gemm::format::PANEL;
use crate::cpu::gemm::kernel::args::GemmArgs;
use crate::cpu::gemm::kernel::avx512::Bf16x2;
use crate::cpu::gemm::kernel::microkernel::store_row;
use crate::cpu::gemm::prefetch::PREFETCH_DISTANCE;

/// The maximum number of rows; more rows are multiplied in tile registers.
pub(crate) const MAX_ROWS: usize = 3;

/// The number of vectors across a panel.
const VECTORS: usize = PANEL / SIDE;

/// Multiplies up to [`MAX_ROWS`] rows, each with contiguous words.
///
/// # Safety
/// The invariants of [`GemmArgs`]; `n` is more than half a panel, `m` at most [`MAX_ROWS`] and
/// `lhs_k_stride` 1.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
pub(crate) unsafe fn run(args: &GemmArgs<'_>) {
    // SAFETY: `multiply` has the same contract, and the number of rows matches.
    unsafe {
        match args.m {
            1 => multiply::<1>(args),
            2 => multiply::<2>(args),
            MAX_ROWS => multiply::<MAX_ROWS>(args),
            // INVARIANT: the caller passes no more rows.
            rows => unreachable!("{rows} rows"),
        }
    }
}

/// # Safety
/// That of [`run`], with `m` equal to `ROWS`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn multiply<const ROWS: usize>(args: &GemmArgs<'_>) {
    let is_result = sums_are_results(args);
    let (whole, rest) = (args.k / SIDE, args.k % SIDE);
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    // SAFETY: invariants 2 and 3 for the words below `k`, 4 and 5 for a whole panel of the result and
    // the bias, since `is_result` requires all columns, and for `store_row`; 6 for the instructions.
    unsafe {
        for (row, sums) in sums.iter_mut().enumerate() {
            let from = match args.epilogue.bias {
                Some(bias) if is_result => bias.as_ptr(),
                None if is_result && args.epilogue.accumulate => {
                    args.dst.add(row * args.dst_row_stride)
                }
                _ => continue,
            };
            for (vector, sums) in sums.iter_mut().enumerate() {
                *sums = _mm512_loadu_ps(from.add(vector * SIDE));
            }
        }
        let mut first = 0;
        for _ in 0..whole {
            add_register::<ROWS, SIDE>(&mut sums, args, first, SIDE);
            first += SIDE;
        }
        if rest > 0 {
            add_register::<ROWS, 0>(&mut sums, args, first, rest);
        }
        for (row, sums) in sums.iter().enumerate() {
            if !is_result {
                store_row::<Bf16x2, VECTORS>(sums, args, row, 0);
                continue;
            }
            let result = args.dst.add(row * args.dst_row_stride);
            for (vector, sums) in sums.iter().enumerate() {
                _mm512_storeu_ps(result.add(vector * SIDE), *sums);
            }
        }
    }
}

/// Adds the products of the words that a tile register holds, from word `first` on: `COUNT` words, or
/// `count` if that is 0.
///
/// # Safety
/// That of [`multiply`], with `first + count` at most `k`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn add_register<const ROWS: usize, const COUNT: usize>(
    sums: &mut [[__m512; VECTORS]; ROWS],
    args: &GemmArgs<'_>,
    first: usize,
    count: usize,
) {
    let count = if COUNT == 0 { count } else { COUNT };
    // SAFETY: invariants 2 and 3 for the words below `k`, 6 for the instructions. Prefetched memory
    // need not exist.
    unsafe {
        let mut rows = [[Line::default(); 2]; ROWS];
        for (row, lines) in rows.iter_mut().enumerate() {
            let words = args.lhs.add(row * args.lhs_row_stride + first);
            let words = _mm512_maskz_loadu_epi32(mask(count), words.cast());
            for (line, values) in lines.iter_mut().zip(halves(words)) {
                _mm512_storeu_ps(line.0.as_mut_ptr().cast(), values);
            }
        }
        let mut parts = [[[_mm512_setzero_ps(); 2]; VECTORS]; ROWS];
        for p in 0..count {
            let rhs = args.rhs.add((first + p) * args.rhs_k_stride);
            let ahead = rhs.wrapping_byte_add(PREFETCH_DISTANCE);
            let mut columns = [[_mm512_setzero_ps(); 2]; VECTORS];
            for (vector, columns) in columns.iter_mut().enumerate() {
                // One prefetch beside each load: with `prefetch_ahead` before both, most products
                // took 4 to 13 % longer.
                _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(vector * LINE).cast());
                *columns = halves(_mm512_loadu_si512(rhs.add(vector * SIDE).cast()));
            }
            for (parts, row) in parts.iter_mut().zip(&rows) {
                add_products(parts, &columns, row.as_ptr().cast::<f32>().add(p));
            }
        }
        for (sums, parts) in sums.iter_mut().zip(&parts) {
            for (sum, [first, second]) in sums.iter_mut().zip(parts) {
                *sum = _mm512_add_ps(*sum, _mm512_add_ps(*first, *second));
            }
        }
    }
}

/// Adds the columns times the first value of a row's pair and times the second one, which is stored
/// a line after the first.
///
/// Written in assembly, so that the instructions take the row's values from memory: with fewer
/// instructions, the processor starts more loads of columns ahead.
///
/// # Safety
/// `row` is readable for two lines. The processor supports AVX-512.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn add_products(
    parts: &mut [[__m512; 2]; VECTORS],
    columns: &[[__m512; 2]; VECTORS],
    row: *const f32,
) {
    let [[first_a, second_a], [first_b, second_b]] = parts;
    // SAFETY: it reads two values, which the caller guarantees, and writes registers.
    unsafe {
        asm!(
            "vfmadd231ps {first_a}, {first_columns_a}, dword ptr [{row}]{{1to16}}",
            "vfmadd231ps {first_b}, {first_columns_b}, dword ptr [{row}]{{1to16}}",
            "vfmadd231ps {second_a}, {second_columns_a}, dword ptr [{row} + {line}]{{1to16}}",
            "vfmadd231ps {second_b}, {second_columns_b}, dword ptr [{row} + {line}]{{1to16}}",
            row = in(reg) row,
            line = const size_of::<Line>(),
            first_a = inout(zmm_reg) *first_a,
            first_b = inout(zmm_reg) *first_b,
            second_a = inout(zmm_reg) *second_a,
            second_b = inout(zmm_reg) *second_b,
            first_columns_a = in(zmm_reg) columns[0][0],
            first_columns_b = in(zmm_reg) columns[1][0],
            second_columns_a = in(zmm_reg) columns[0][1],
            second_columns_b = in(zmm_reg) columns[1][1],
            options(pure, readonly, nostack, preserves_flags),
        );
    }
}

/// The first values of pairs as f32, and the second values.
#[inline]
#[target_feature(enable = "avx512f")]
fn halves(words: __m512i) -> [__m512; 2] {
    const SECOND: i32 = 0xffff_0000_u32.cast_signed();
    [
        _mm512_slli_epi32(words, 16),
        _mm512_and_si512(words, _mm512_set1_epi32(SECOND)),
    ]
    .map(|words| _mm512_castsi512_ps(words))
}

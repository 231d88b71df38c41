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

use super::{Pairs, SIDE, mask, sums_are_results};
use crate::cpu::cache_line::{LINE, Line};
use crate::cpu::gemm::kernel::{PANEL, Raw, store_row};
use crate::cpu::gemm::prefetch::AHEAD;

/// The maximum number of rows; more rows are multiplied in tile registers.
pub(crate) const MAX_ROWS: usize = 3;

/// The number of vectors across a panel.
const VECTORS: usize = PANEL / SIDE;

/// Multiplies up to [`MAX_ROWS`] rows, each with contiguous words.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
pub(crate) unsafe fn run(raw: &Raw<'_>) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        match raw.rows {
            1 => multiply::<1>(raw),
            2 => multiply::<2>(raw),
            MAX_ROWS => multiply::<MAX_ROWS>(raw),
            // INVARIANT: the caller passes no more rows.
            rows => unreachable!("{rows} rows"),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn multiply<const ROWS: usize>(raw: &Raw<'_>) {
    let is_result = sums_are_results(raw);
    let (whole, rest) = (raw.steps / SIDE, raw.steps % SIDE);
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    // SAFETY: guaranteed by the caller, which checked every bound.
    unsafe {
        for (row, sums) in sums.iter_mut().enumerate() {
            let from = match raw.finish.bias {
                Some(bias) if is_result => bias.as_ptr(),
                None if is_result && raw.finish.add => raw.result.add(row * raw.result_row_step),
                _ => continue,
            };
            for (vector, sums) in sums.iter_mut().enumerate() {
                *sums = _mm512_loadu_ps(from.add(vector * SIDE));
            }
        }
        let mut step = 0;
        for _ in 0..whole {
            add_steps::<ROWS, SIDE>(&mut sums, raw, step, SIDE);
            step += SIDE;
        }
        if rest > 0 {
            add_steps::<ROWS, 0>(&mut sums, raw, step, rest);
        }
        for (row, sums) in sums.iter().enumerate() {
            if !is_result {
                store_row::<Pairs, VECTORS>(sums, raw, row, 0);
                continue;
            }
            let result = raw.result.add(row * raw.result_row_step);
            for (vector, sums) in sums.iter().enumerate() {
                _mm512_storeu_ps(result.add(vector * SIDE), *sums);
            }
        }
    }
}

/// Adds the steps of a register: `STEPS`, or `steps` if that is 0.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn add_steps<const ROWS: usize, const STEPS: usize>(
    sums: &mut [[__m512; VECTORS]; ROWS],
    raw: &Raw<'_>,
    first: usize,
    steps: usize,
) {
    let steps = if STEPS == 0 { steps } else { STEPS };
    // SAFETY: guaranteed by the caller, which checked every bound; prefetched memory need not
    // exist.
    unsafe {
        let mut rows = [[Line::default(); 2]; ROWS];
        for (row, lines) in rows.iter_mut().enumerate() {
            let words = raw.left.add(row * raw.left_row_step + first);
            let words = _mm512_maskz_loadu_epi32(mask(steps), words.cast());
            for (line, values) in lines.iter_mut().zip(halves(words)) {
                _mm512_storeu_ps(line.0.as_mut_ptr().cast(), values);
            }
        }
        let mut parts = [[[_mm512_setzero_ps(); 2]; VECTORS]; ROWS];
        for step in 0..steps {
            let right = raw.right.add((first + step) * raw.right_step);
            let ahead = right.wrapping_byte_add(AHEAD);
            let mut columns = [[_mm512_setzero_ps(); 2]; VECTORS];
            for (vector, columns) in columns.iter_mut().enumerate() {
                // One prefetch beside each load: with `ask_for_lines` before both, most steps took
                // 4 to 13 % longer.
                _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(vector * LINE).cast());
                *columns = halves(_mm512_loadu_si512(right.add(vector * SIDE).cast()));
            }
            for (parts, row) in parts.iter_mut().zip(&rows) {
                add_products(parts, &columns, row.as_ptr().cast::<f32>().add(step));
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
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn add_products(
    parts: &mut [[__m512; 2]; VECTORS],
    columns: &[[__m512; 2]; VECTORS],
    row: *const f32,
) {
    let [[first_a, second_a], [first_b, second_b]] = parts;
    // SAFETY: it reads two values, which the caller provides, and writes registers.
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

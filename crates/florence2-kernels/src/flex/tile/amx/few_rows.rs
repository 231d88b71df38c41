//! A few rows of bf16 in vectors, with the very sums that AMX's registers give.
//!
//! A decoder's step waits for its weights, and longer for whole registers of them than for vectors. Of the
//! 16 pairs that a register has of a row, AMX adds up the products of the first values and those of the
//! second ones apart, rounding after each, and then both to what was there. So do these vectors, in f32:
//! to the last bit, but in numbers below f32's normal ones, which AMX takes for zero.

use std::arch::asm;
use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_T1, _mm_prefetch, _mm512_add_ps, _mm512_and_si512,
    _mm512_castsi512_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_maskz_loadu_epi32,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_slli_epi32, _mm512_storeu_ps,
};

use super::{Pairs, SIDE, mask, sums_are_results};
use crate::flex::ahead::AHEAD;
use crate::flex::line::{LINE, Line};
use crate::flex::tile::{PANEL, Raw, store_row};

/// More rows are multiplied in registers.
pub(super) const MAX_ROWS: usize = 3;

/// Vectors of a panel.
const VECTORS: usize = PANEL / SIDE;

/// Multiplies up to [`MAX_ROWS`] rows whose words lie beside each other.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
pub(super) unsafe fn run(raw: &Raw<'_>) {
    // SAFETY: of the caller.
    unsafe {
        match raw.rows {
            1 => multiply::<1>(raw),
            2 => multiply::<2>(raw),
            MAX_ROWS => multiply::<MAX_ROWS>(raw),
            // INVARIANT: the caller sends no more.
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
    // SAFETY: of the caller, which checked every bound.
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

/// Adds the steps of a register: `STEPS`, or where that is 0 so many.
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
    // SAFETY: of the caller, which checked every bound; memory that is asked for need not exist.
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
                // One line beside each load: by `ask_for_lines`, before both, most steps took 4 to 13 % longer.
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

/// Adds columns times the first value of a row's pair and the second, which lies a line behind it.
///
/// Written out, so that instructions read the row themselves: with fewer of them, the processor sees
/// more columns coming.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn add_products(
    parts: &mut [[__m512; 2]; VECTORS],
    columns: &[[__m512; 2]; VECTORS],
    row: *const f32,
) {
    let [[first_a, second_a], [first_b, second_b]] = parts;
    // SAFETY: it reads two values, which are the caller's, and writes registers.
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

/// The first values of pairs as f32, and the second ones.
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

//! Softmax, as plain loops that are compiled once per instruction set.

use crate::cpu::gemm::format::PANEL;
use crate::cpu::ops::reduce::{LANES, sum};
use crate::cpu::simd::vectorised;
use crate::exp::exp_with;

/// The largest value of a row, ignoring NaN.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
fn maximum(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut parts = [f32::NEG_INFINITY; LANES];
    let (chunks, tail) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (part, x) in parts.iter_mut().zip(chunk) {
            *part = larger(*part, *x);
        }
    }
    let all = parts.iter().chain(tail).copied();
    all.fold(f32::NEG_INFINITY, larger)
}

/// `softmax(scale * row)`.
pub(crate) fn softmax(row: &mut [f32], scale: f32) {
    vectorised(
        #[inline(always)]
        |multiply_add| {
            let maximum = maximum(row);
            for x in row.iter_mut() {
                *x = exp_with(multiply_add, scale * (*x - maximum));
            }
            let inverse = 1.0 / sum(row, |sum, x| sum + x);
            for x in row.iter_mut() {
                *x *= inverse;
            }
        },
    );
}

/// Computes `e^(scale * (x - maximum))` in every column of rows of `WIDTH` values, and the inverse
/// of each column's sum: a column-wise softmax without the final scaling.
pub(crate) fn exp_columns<const WIDTH: usize>(
    values: &mut [f32],
    scale: f32,
    inverses: &mut [f32; PANEL],
) {
    vectorised(
        #[inline(always)]
        |multiply_add| {
            let (rows, _) = values.as_chunks_mut::<WIDTH>();
            let mut maxima = [f32::NEG_INFINITY; WIDTH];
            for row in rows.iter() {
                for (maximum, x) in maxima.iter_mut().zip(row) {
                    *maximum = if *x > *maximum { *x } else { *maximum };
                }
            }
            let mut sums = [0.0; WIDTH];
            for row in rows {
                for ((x, maximum), sum) in row.iter_mut().zip(&maxima).zip(&mut sums) {
                    *x = exp_with(multiply_add, scale * (*x - maximum));
                    *sum += *x;
                }
            }
            for (inverse, sum) in inverses.iter_mut().zip(sums) {
                *inverse = 1.0 / sum;
            }
        },
    );
}

//! Sums, dot products and residual additions of rows, as plain loops that are compiled once per
//! instruction set.

use crate::cpu::simd::vectorised;
use crate::multiply_add::MultiplyAdd;

/// The number of partial sums: the lanes of the widest vector.
pub(crate) const LANES: usize = 16;

/// Folds the values of a row with `add`, from zero on.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
pub(crate) fn sum(row: &[f32], add: impl Fn(f32, f32) -> f32) -> f32 {
    let mut parts = [0.0; LANES];
    let (chunks, tail) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (part, x) in parts.iter_mut().zip(chunk) {
            *part = add(*part, *x);
        }
    }
    let tail = tail.iter().fold(0.0, |sum, x| add(sum, *x));
    total(parts) + tail
}

/// Sums the parts by adding one half to the other repeatedly, as a vector reduction does.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
fn total(mut parts: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for index in 0..half {
            parts[index] += parts[index + half];
        }
        half /= 2;
    }
    parts[0]
}

/// The dot product of two rows.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
pub(crate) fn dot(multiply_add: MultiplyAdd, a: &[f32], b: &[f32]) -> f32 {
    let (a, a_tail) = a.as_chunks::<LANES>();
    let (b, b_tail) = b.as_chunks::<LANES>();
    let mut parts = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((part, a), b) in parts.iter_mut().zip(a).zip(b) {
            *part = multiply_add.of(*a, *b, *part);
        }
    }
    let tail = a_tail.iter().zip(b_tail);
    total(parts) + tail.map(|(a, b)| a * b).sum::<f32>()
}

/// `output += input`.
pub(crate) fn add(output: &mut [f32], input: &[f32]) {
    vectorised(
        #[inline(always)]
        |_| {
            for (output, input) in output.iter_mut().zip(input) {
                *output += input;
            }
        },
    );
}

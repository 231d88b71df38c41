//! Functions of rows, as plain loops that are compiled once per instruction set.

use crate::Activation;
use crate::activation::{GELU_CUBE, GELU_TANH, QUICK_GELU};
use crate::cpu::gemm::kernel::PANEL;
use crate::cpu::parameters::Norm;
use crate::cpu::simd::vectorised;
use crate::exp::exp_with;
use crate::multiply_add::MultiplyAdd;

/// The epsilon of layer norms: the default of burn and of the model.
const EPSILON: f32 = 1e-5;

/// The number of partial sums: the lanes of the widest vector.
pub(crate) const LANES: usize = 16;

/// Folds the values of a row with `add`, from zero on.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
fn sum(row: &[f32], add: impl Fn(f32, f32) -> f32) -> f32 {
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
pub(crate) fn dot(multiply_add: MultiplyAdd, left: &[f32], right: &[f32]) -> f32 {
    let (lefts, lefts_tail) = left.as_chunks::<LANES>();
    let (rights, rights_tail) = right.as_chunks::<LANES>();
    let mut parts = [0.0; LANES];
    for (left, right) in lefts.iter().zip(rights) {
        for ((part, left), right) in parts.iter_mut().zip(left).zip(right) {
            *part = multiply_add.of(*left, *right, *part);
        }
    }
    let tail = lefts_tail.iter().zip(rights_tail);
    total(parts) + tail.map(|(left, right)| left * right).sum::<f32>()
}

/// Layer norm of rows that have as many values as the norm has channels.
pub(crate) fn layer_norm(input: &[f32], norm: &Norm, output: &mut [f32]) {
    let (gamma, beta) = (norm.gamma(), norm.beta());
    vectorised(
        #[inline(always)]
        |multiply_add| layer_norm_rows(multiply_add, input, gamma, beta, output),
    );
}

#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
fn layer_norm_rows(
    multiply_add: MultiplyAdd,
    input: &[f32],
    gamma: &[f32],
    beta: Option<&[f32]>,
    output: &mut [f32],
) {
    let channels = gamma.len();
    let rows = input.chunks_exact(channels);
    for (input, output) in rows.zip(output.chunks_exact_mut(channels)) {
        let mean = sum(input, |sum, x| sum + x) / channels as f32;
        let squares = sum(input, |sum, x| multiply_add.of(x - mean, x - mean, sum));
        let variance = squares / channels as f32;
        let inverse = 1.0 / (variance + EPSILON).sqrt();
        match beta {
            Some(beta) => {
                let parameters = gamma.iter().zip(beta);
                for ((output, x), (gamma, beta)) in output.iter_mut().zip(input).zip(parameters) {
                    *output = multiply_add.of((x - mean) * inverse, *gamma, *beta);
                }
            }
            None => {
                for ((output, x), gamma) in output.iter_mut().zip(input).zip(gamma) {
                    *output = (x - mean) * inverse * gamma;
                }
            }
        }
    }
}

/// Applies an activation function to every value.
pub(crate) fn activate(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Gelu => gelu(values),
        Activation::GeluTanh => vectorised(
            #[inline(always)]
            |multiply_add| {
                for x in values {
                    let factor = multiply_add.of(GELU_TANH * GELU_CUBE, *x * *x, GELU_TANH);
                    *x *= sigmoid(multiply_add, factor * *x);
                }
            },
        ),
        Activation::QuickGelu => times_sigmoid(values, QUICK_GELU),
        Activation::Relu => vectorised(
            #[inline(always)]
            |_| {
                for x in values {
                    // This comparison keeps a NaN.
                    *x = if *x < 0.0 { 0.0 } else { *x };
                }
            },
        ),
        Activation::Silu => times_sigmoid(values, 1.0),
    }
}

/// `x sigmoid(factor x)` of every value.
fn times_sigmoid(values: &mut [f32], factor: f32) {
    vectorised(
        #[inline(always)]
        |multiply_add| {
            for x in values {
                *x *= sigmoid(multiply_add, factor * *x);
            }
        },
    );
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
fn sigmoid(multiply_add: MultiplyAdd, x: f32) -> f32 {
    // The exponent is not positive, so that nothing overflows.
    let power = exp_with(multiply_add, -x.abs());
    let numerator = if x < 0.0 { power } else { 1.0 };
    numerator / (1.0 + power)
}

/// The exact GELU, `x / 2 (1 + erf(x / sqrt 2))`.
fn gelu(values: &mut [f32]) {
    vectorised(
        #[inline(always)]
        |multiply_add| {
            for x in values {
                let half = 0.5 * *x;
                let erf = erf(multiply_add, *x * std::f32::consts::FRAC_1_SQRT_2);
                *x = multiply_add.of(half, erf, half);
            }
        },
    );
}

/// The error function with an error of 5e-7: `x` times a polynomial of `x^2`, fitted at Chebyshev
/// points up to 3.8, beyond which the result rounds to 1. A quotient of shorter polynomials is
/// slower because of the division.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
fn erf(multiply_add: MultiplyAdd, x: f32) -> f32 {
    const END: f32 = 3.8;
    // Maps the squares within the polynomial's range to -1..=1.
    let square = multiply_add.of(x * x, 2.0 / (END * END), -1.0);
    let mut factor = -2.191_397e-3;
    for coefficient in [
        5.694_967_7e-3,
        -4.814_901_4e-3,
        5.718_142_7e-3,
        -1.659_408_2e-2,
        2.934_268_5e-2,
        -3.988_985e-2,
        5.421_181_4e-2,
        -7.226_565e-2,
        9.095_968e-2,
        -1.112_133_86e-1,
        1.377_324_5e-1,
        -1.856_403_4e-1,
        3.721_076_8e-1,
    ] {
        factor = multiply_add.of(factor, square, coefficient);
    }
    // These comparisons keep a NaN.
    if x > END {
        1.0
    } else if x < -END {
        -1.0
    } else {
        x * factor
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_equal_those_of_transformers() {
        let golden = include_str!("../../../../../tests/fixtures/activations.txt");
        for line in golden.lines() {
            let [name, x, expected] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("found `{line}`, expected a name and two numbers");
            };
            let (x, expected): (f32, f64) = (x.parse().unwrap(), expected.parse().unwrap());
            // In a whole vector and in the tail.
            let mut values = [x; LANES + 3];
            activate(Activation::named(name).unwrap(), &mut values);
            for found in values {
                let error = (f64::from(found) - expected).abs();
                assert!(
                    error <= 1e-6 * expected.abs().max(1.0),
                    "{line}: found {found}"
                );
            }
        }
    }

    #[test]
    fn activations_keep_a_nan() {
        for name in ["gelu", "gelu_new", "quick_gelu", "relu", "silu"] {
            let mut values = [f32::NAN; LANES + 3];
            activate(Activation::named(name).unwrap(), &mut values);
            assert!(values.iter().all(|value| value.is_nan()), "{name}");
        }
    }
}

//! The activation functions (GELU and others), as plain loops that are compiled once per instruction
//! set.

use crate::Activation;
use crate::activation::{GELU_CUBE, GELU_TANH, QUICK_GELU};
use crate::cpu::simd::vectorised;
use crate::exp::exp_with;
use crate::multiply_add::MultiplyAdd;

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
pub(crate) fn erf(multiply_add: MultiplyAdd, x: f32) -> f32 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::ops::reduce::LANES;

    #[test]
    fn activations_equal_those_of_transformers() {
        let golden = include_str!("activations.txt");
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

//! The gradient of the exact GELU, as plain loops that are compiled once per instruction set.

use rayon::prelude::*;

use super::super::ops::activation::{activate, erf};
use super::super::simd::vectorised;
use crate::Activation;
use crate::exp::exp_with;

/// The number of values of a task.
const PART: usize = 1 << 14;
/// `1 / sqrt(2 pi)`.
const INVERSE_ROOT_2_PI: f32 = 0.398_942_3;

/// Replaces the gradients of GELU's outputs by those of its inputs:
/// `(1 + erf(x / sqrt 2)) / 2 + x e^(-x^2 / 2) / sqrt(2 pi)` times the gradient.
pub(crate) fn gelu_backward(input: &[f32], gradients: &mut [f32]) {
    let parts = gradients.par_chunks_mut(PART).zip(input.par_chunks(PART));
    parts.for_each(|(gradients, input)| {
        vectorised(
            #[inline(always)]
            |multiply_add| {
                for (gradient, x) in gradients.iter_mut().zip(input) {
                    let erf = erf(multiply_add, *x * std::f32::consts::FRAC_1_SQRT_2);
                    let density = exp_with(multiply_add, -0.5 * *x * *x) * INVERSE_ROOT_2_PI;
                    *gradient *= multiply_add.of(*x, density, multiply_add.of(0.5, erf, 0.5));
                }
            },
        );
    });
}

/// The exact GELU of every value.
pub(crate) fn gelu(values: &mut [f32]) {
    let parts = values.par_chunks_mut(PART);
    parts.for_each(|values| activate(Activation::Gelu, values));
}

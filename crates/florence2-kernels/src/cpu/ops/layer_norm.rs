//! Layer norm, as plain loops that are compiled once per instruction set.

use crate::cpu::ops::reduce::sum;
use crate::cpu::parameters::Norm;
use crate::cpu::simd::vectorised;
use crate::multiply_add::MultiplyAdd;

/// The epsilon of layer norms: the default of burn and of the model.
pub(crate) const EPSILON: f32 = 1e-5;

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

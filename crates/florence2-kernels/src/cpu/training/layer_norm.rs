//! The gradients of layer norm, as plain loops that are compiled once per instruction set.

use rayon::prelude::*;

use super::super::gemm::driver::rows_per_sum;
use super::super::ops::layer_norm::EPSILON;
use super::super::ops::reduce::sum;
use super::super::simd::vectorised;
use crate::multiply_add::MultiplyAdd;

/// The gradients of a layer norm's input and parameters.
pub(crate) struct Gradients {
    /// `[rows, channels]`.
    pub(crate) input: Vec<f32>,
    /// `[channels]`.
    pub(crate) gamma: Vec<f32>,
    /// `[channels]`.
    pub(crate) beta: Vec<f32>,
}

/// Computes the gradients for that of the output. All have rows of as many values as there are
/// channels.
pub(crate) fn backward(input: &[f32], gamma: &[f32], gradient: &[f32]) -> Gradients {
    let channels = gamma.len();
    let part = rows_per_sum(input.len() / channels) * channels;
    let mut result = vec![0.0; input.len()];
    let tasks = result
        .par_chunks_mut(part)
        .zip(input.par_chunks(part))
        .zip(gradient.par_chunks(part));
    // The sums are added in the order of the tasks, whose number does not depend on the threads.
    let sums: Vec<[Vec<f32>; 2]> = tasks
        .map(|((result, input), gradient)| {
            let [mut gammas, mut betas] = [(); 2].map(|()| vec![0.0; channels]);
            vectorised(
                #[inline(always)]
                |multiply_add| {
                    let sums = (&mut gammas[..], &mut betas[..]);
                    backward_rows(multiply_add, input, gamma, gradient, result, sums);
                },
            );
            [gammas, betas]
        })
        .collect();
    let total = |kind: usize| {
        let mut total = vec![0.0; channels];
        for sums in &sums {
            for (total, part) in total.iter_mut().zip(&sums[kind]) {
                *total += part;
            }
        }
        total
    };
    Gradients {
        gamma: total(0),
        beta: total(1),
        input: result,
    }
}

#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
fn backward_rows(
    multiply_add: MultiplyAdd,
    input: &[f32],
    gamma: &[f32],
    gradient: &[f32],
    result: &mut [f32],
    (gammas, betas): (&mut [f32], &mut [f32]),
) {
    let channels = gamma.len();
    let count = channels as f32;
    let rows = input
        .chunks_exact(channels)
        .zip(gradient.chunks_exact(channels));
    for ((input, gradient), result) in rows.zip(result.chunks_exact_mut(channels)) {
        let mean = sum(input, |sum, x| sum + x) / count;
        let squares = sum(input, |sum, x| multiply_add.of(x - mean, x - mean, sum));
        let inverse = 1.0 / (squares / count + EPSILON).sqrt();
        // The gradient of the normed value, in `result`.
        for ((result, gradient), gamma) in result.iter_mut().zip(gradient).zip(gamma) {
            *result = gradient * gamma;
        }
        let mean_gradient = sum(result, |sum, x| sum + x) / count;
        let mut projection = 0.0;
        for (gradient, x) in result.iter().zip(input) {
            projection += gradient * (x - mean);
        }
        let projection = projection * inverse / count;
        let parameters = gammas.iter_mut().zip(betas.iter_mut());
        for (((result, x), gradient), (gamma, beta)) in
            result.iter_mut().zip(input).zip(gradient).zip(parameters)
        {
            let normed = (x - mean) * inverse;
            *result = (*result - mean_gradient - normed * projection) * inverse;
            *gamma += gradient * normed;
            *beta += gradient;
        }
    }
}

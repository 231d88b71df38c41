//! A depthwise 3x3 convolution of channels-last features, and its gradients.

use rayon::prelude::*;

use super::super::gemm::driver::rows_per_sum;
use super::super::ops::depthwise::Depthwise;
use super::super::simd::vectorised;
use crate::multiply_add::MultiplyAdd;

/// The number of taps of a kernel.
const TAPS: usize = 9;
/// The number of positions of a task.
const POSITIONS: usize = 64;

/// The convolution of images `[height, width, channels]`, with weights `[channels, 1, 3, 3]`.
pub(crate) fn forward(
    shape: [usize; 3],
    weight: &[f32],
    bias: Vec<f32>,
    input: &[f32],
) -> Vec<f32> {
    let channels = shape[2];
    let convolution = Depthwise::of(shape, weight, bias);
    let mut output = vec![0.0; input.len()];
    let parts = output.par_chunks_mut(POSITIONS * channels).enumerate();
    parts.for_each(|(index, output)| convolution.add(input, index * POSITIONS, output));
    output
}

/// The gradient of the input: the convolution of the output's gradient with the kernel turned by 180
/// degrees.
pub(crate) fn input_gradient(shape: [usize; 3], weight: &[f32], gradient: &[f32]) -> Vec<f32> {
    let kernels = weight.chunks_exact(TAPS);
    let turned: Vec<f32> = kernels
        .flat_map(|kernel| kernel.iter().rev().copied())
        .collect();
    forward(shape, &turned, vec![0.0; shape[2]], gradient)
}

/// The gradients of the weight, `[channels, 1, 3, 3]`, and of the bias, `[channels]`.
pub(crate) fn parameter_gradients(
    shape: [usize; 3],
    input: &[f32],
    gradient: &[f32],
) -> [Vec<f32>; 2] {
    let [_, width, channels] = shape;
    let line = width * channels;
    let lines = gradient.len() / line;
    let per_task = rows_per_sum(lines * width).div_ceil(width);
    let firsts: Vec<usize> = (0..lines).step_by(per_task).collect();
    // The sums are added in the order of the tasks, whose number does not depend on the threads.
    let sums: Vec<Vec<f32>> = firsts
        .into_par_iter()
        .map(|first| {
            let mut sums = vec![0.0; (TAPS + 1) * channels];
            for index in first..lines.min(first + per_task) {
                let gradient = &gradient[index * line..][..line];
                vectorised(
                    #[inline(always)]
                    |multiply_add| add_line(multiply_add, shape, input, index, gradient, &mut sums),
                );
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; (TAPS + 1) * channels];
    for sums in &sums {
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    let bias = total.split_off(TAPS * channels);
    let weight = (0..channels).flat_map(|channel| {
        let total = &total;
        (0..TAPS).map(move |tap| total[tap * channels + channel])
    });
    [weight.collect(), bias]
}

/// Adds the products of a line's gradients and of the inputs around it, `[tap][channel]`, and the sum of
/// the gradients.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
fn add_line(
    multiply_add: MultiplyAdd,
    [height, width, channels]: [usize; 3],
    input: &[f32],
    index: usize,
    gradient: &[f32],
    sums: &mut [f32],
) {
    let row = index % height;
    let (sums, biases) = sums.split_at_mut(TAPS * channels);
    for gradient in gradient.chunks_exact(channels) {
        for (bias, gradient) in biases.iter_mut().zip(gradient) {
            *bias += gradient;
        }
    }
    for (tap, sums) in sums.chunks_exact_mut(channels).enumerate() {
        let (y, x) = (tap / 3, tap % 3);
        // The line and the columns of the inputs under this tap that are inside the image.
        if (row + y).wrapping_sub(1) >= height {
            continue;
        }
        let input = &input[(index + y - 1) * width * channels..][..width * channels];
        let columns = usize::from(x == 0)..width - usize::from(x == 2);
        for column in columns {
            let input = &input[(column + x - 1) * channels..][..channels];
            let gradient = &gradient[column * channels..][..channels];
            for ((sum, input), gradient) in sums.iter_mut().zip(input).zip(gradient) {
                *sum = multiply_add.of(*input, *gradient, *sum);
            }
        }
    }
}

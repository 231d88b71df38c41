//! A 3x3 convolution of each channel by itself, channels last.

use multiversion::multiversion;
use rayon::prelude::*;

use super::elementwise::{add, add_scaled};

/// Taps of the kernel in each direction.
const SIDE: usize = 3;

/// `x + conv(x)`; `weight` is `[channels, 1, 3, 3]`.
pub(super) fn add_depthwise(
    input: &[f32],
    [_, height, width, channels]: [usize; 4],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let mut taps = vec![0.0; weight.len()];
    for (channel, kernel) in weight.chunks_exact(SIDE * SIDE).enumerate() {
        for (tap, weight) in kernel.iter().enumerate() {
            taps[tap * channels + channel] = *weight;
        }
    }
    // The residual is the middle tap of an identity.
    let middle = SIDE * SIDE / 2 * channels;
    for tap in &mut taps[middle..middle + channels] {
        *tap += 1.0;
    }
    let line = width * channels;
    let mut output = vec![0.0; input.len()];
    output
        .par_chunks_exact_mut(line)
        .enumerate()
        .for_each(|(row, output)| {
            let image = &input[row / height * height * line..][..height * line];
            let row = row % height;
            let above = row.checked_sub(1).map(|row| &image[row * line..][..line]);
            let below = (row + 1 < height).then(|| &image[(row + 1) * line..][..line]);
            let lines = [above, Some(&image[row * line..][..line]), below];
            convolve_line(lines, &taps, bias, channels, output);
        });
    output
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn convolve_line(
    lines: [Option<&[f32]>; SIDE],
    taps: &[f32],
    bias: Option<&[f32]>,
    channels: usize,
    output: &mut [f32],
) {
    let width = output.len() / channels;
    for (column, output) in output.chunks_exact_mut(channels).enumerate() {
        for (line, taps) in lines.iter().zip(taps.chunks_exact(SIDE * channels)) {
            let Some(line) = line else { continue };
            for (shift, taps) in taps.chunks_exact(channels).enumerate() {
                let source = column + shift;
                if (1..=width).contains(&source) {
                    add_scaled(output, taps, &line[(source - 1) * channels..][..channels]);
                }
            }
        }
        if let Some(bias) = bias {
            add(output, bias);
        }
    }
}

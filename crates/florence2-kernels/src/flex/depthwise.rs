//! A 3x3 convolution of each channel by itself, channels last.

use rayon::prelude::*;

use super::level::vectorised;
use super::spare;

/// Taps of the kernel in each direction.
const SIDE: usize = 3;

/// Channels whose sums stay in registers.
const LANES: usize = 64;

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
    let mut output = spare::take(input.len());
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

fn convolve_line(
    lines: [Option<&[f32]>; SIDE],
    taps: &[f32],
    bias: Option<&[f32]>,
    channels: usize,
    output: &mut [f32],
) {
    let width = output.len() / channels;
    for (column, output) in output.chunks_exact_mut(channels).enumerate() {
        // The neighbours that are inside the image, each with its taps.
        let mut neighbours = [(&[][..], &[][..]); SIDE * SIDE];
        let mut count = 0;
        for (line, taps) in lines.iter().zip(taps.chunks_exact(SIDE * channels)) {
            let Some(line) = line else { continue };
            for (shift, taps) in taps.chunks_exact(channels).enumerate() {
                let source = column + shift;
                if (1..=width).contains(&source) {
                    neighbours[count] = (&line[(source - 1) * channels..][..channels], taps);
                    count += 1;
                }
            }
        }
        add_up(&neighbours[..count], bias, output);
    }
}

/// `output = sum of values * taps + bias`, per channel.
fn add_up(neighbours: &[(&[f32], &[f32])], bias: Option<&[f32]>, output: &mut [f32]) {
    vectorised(
        #[inline(always)]
        |multiply_add| {
            for (index, output) in output.chunks_mut(LANES).enumerate() {
                let range = index * LANES..index * LANES + output.len();
                let mut sums = [0.0; LANES];
                if let Some(bias) = bias {
                    sums[..output.len()].copy_from_slice(&bias[range.clone()]);
                }
                for (values, taps) in neighbours {
                    let (values, taps) = (&values[range.clone()], &taps[range.clone()]);
                    match (values.first_chunk::<LANES>(), taps.first_chunk::<LANES>()) {
                        (Some(values), Some(taps)) => {
                            for ((sum, value), tap) in sums.iter_mut().zip(values).zip(taps) {
                                *sum = multiply_add.of(*value, *tap, *sum);
                            }
                        }
                        _ => {
                            for ((sum, value), tap) in sums.iter_mut().zip(values).zip(taps) {
                                *sum = multiply_add.of(*value, *tap, *sum);
                            }
                        }
                    }
                }
                output.copy_from_slice(&sums[..output.len()]);
            }
        },
    );
}

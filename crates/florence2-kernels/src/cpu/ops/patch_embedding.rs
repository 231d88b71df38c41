//! The strided convolution at the start of a stage: patches are gathered into rows, then multiplied
//! in one product.

use burn_flex::Flex;
use rayon::prelude::*;

use crate::cpu::buffer_pool;
use crate::cpu::buffer_pool::resize_at_least;
use crate::cpu::gemm::driver::{Part, lhs_format, multiply, rows_per_task};
use crate::cpu::gemm::epilogue::Epilogue;
use crate::cpu::ops::layer_norm::layer_norm;
use crate::cpu::parameters::{Affine, Norm};
use crate::cpu::workspace::with_workspace;
use crate::layer_weights::ConvEmbedWeights;

/// The positions of patches in images.
pub(crate) struct Geometry {
    batch: usize,
    height: usize,
    width: usize,
    in_channels: usize,
    rows: usize,
    columns: usize,
    channels: usize,
    size: usize,
    stride: usize,
    padding: usize,
}

impl Geometry {
    /// Returns `None` for an image that is smaller than a patch.
    pub(crate) fn new(
        [batch, height, width, in_channels]: [usize; 4],
        weights: &ConvEmbedWeights<'_, Flex>,
    ) -> Option<Self> {
        let [channels, _, size, _] = weights.conv.dims();
        let ConvEmbedWeights {
            stride, padding, ..
        } = *weights;
        let fits = height + 2 * padding >= size && width + 2 * padding >= size;
        fits.then(|| Self {
            batch,
            height,
            width,
            in_channels,
            rows: (height + 2 * padding - size) / stride + 1,
            columns: (width + 2 * padding - size) / stride + 1,
            channels,
            size,
            stride,
            padding,
        })
    }

    pub(crate) fn output_shape(&self) -> [usize; 4] {
        [self.batch, self.rows, self.columns, self.channels]
    }

    fn patch_length(&self) -> usize {
        self.in_channels * self.size * self.size
    }

    /// Writes a patch as `[size, size, in_channels]`, the order of the packed weights, with zeros
    /// outside the image.
    fn gather(&self, input: &[f32], position: usize, patch: &mut [f32]) {
        let (image, position) = (
            position / (self.rows * self.columns),
            position % (self.rows * self.columns),
        );
        let (row, column) = (position / self.columns, position % self.columns);
        let mut taps = patch.chunks_exact_mut(self.in_channels);
        for y in 0..self.size {
            let line = inside(row * self.stride + y, self.padding, self.height);
            for (x, tap) in taps.by_ref().take(self.size).enumerate() {
                let cell = inside(column * self.stride + x, self.padding, self.width);
                let Some((line, cell)) = line.zip(cell) else {
                    tap.fill(0.0);
                    continue;
                };
                let from = ((image * self.height + line) * self.width + cell) * self.in_channels;
                tap.copy_from_slice(&input[from..from + self.in_channels]);
            }
        }
    }
}

/// Converts a padded coordinate to one of the image; `None` outside the image.
fn inside(padded: usize, padding: usize, length: usize) -> Option<usize> {
    padded.checked_sub(padding).filter(|at| *at < length)
}

pub(crate) fn patch_embedding(
    input: &[f32],
    geometry: &Geometry,
    conv: &Affine<'_>,
    norm: &Norm,
    prenorm: bool,
) -> Vec<f32> {
    if prenorm {
        let in_channels = geometry.in_channels;
        let mut normed = buffer_pool::take(input.len());
        let per_task = rows_per_task(input.len() / in_channels) * in_channels;
        normed
            .par_chunks_mut(per_task)
            .zip(input.par_chunks(per_task))
            .for_each(|(normed, input)| layer_norm(input, norm, normed));
        let output = convolve(&normed, geometry, conv, None);
        buffer_pool::give(normed);
        return output;
    }
    convolve(input, geometry, conv, Some(norm))
}

fn convolve(
    input: &[f32],
    geometry: &Geometry,
    conv: &Affine<'_>,
    norm: Option<&Norm>,
) -> Vec<f32> {
    let (channels, length) = (geometry.channels, geometry.patch_length());
    let positions = geometry.batch * geometry.rows * geometry.columns;
    let per_task = rows_per_task(positions);
    let mut output = buffer_pool::take(positions * channels);
    output
        .par_chunks_mut(per_task * channels)
        .enumerate()
        .for_each(|(task, output)| {
            with_workspace(|workspace| {
                let rows = workspace.rows.fill(
                    lhs_format(conv.weight.format, geometry.rows * geometry.columns),
                    output.len() / channels,
                    length,
                    |index, patch| geometry.gather(input, task * per_task + index, patch),
                );
                let epilogue = Epilogue::with_bias(conv.bias());
                let part = Part::whole(conv.weight);
                let Some(norm) = norm else {
                    multiply(rows, conv.weight, &part, output, channels, epilogue);
                    return;
                };
                let convolved = resize_at_least(&mut workspace.outer, output.len());
                multiply(rows, conv.weight, &part, convolved, channels, epilogue);
                layer_norm(convolved, norm, output);
            });
        });
    output
}

//! The strided convolution that opens a stage: patches gathered into rows, then one product.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn_flex::Flex;
use rayon::prelude::*;

use super::elementwise::layer_norm;
use super::parameters::Norm;
use super::product::{Matrix, add_product, rows_per_task};

/// Where patches lie.
pub(super) struct Geometry {
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

/// `[channels, in_channels, size, size]` and `[channels]`.
pub(super) struct Kernel<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
}

impl Geometry {
    /// None for a convolution that is no patch embedding.
    pub(super) fn new(
        [batch, height, width, in_channels]: [usize; 4],
        conv: &Conv2d<Flex>,
    ) -> Option<Self> {
        let padding = match &conv.padding {
            PaddingConfig2d::Explicit(top, left, bottom, right)
                if [left, bottom, right].iter().all(|side| *side == top) =>
            {
                *top
            }
            PaddingConfig2d::Valid => 0,
            _ => return None,
        };
        let ([size, other_size], [stride, other_stride]) = (conv.kernel_size, conv.stride);
        let plain = size == other_size
            && stride == other_stride
            && conv.groups == 1
            && conv.dilation == [1, 1]
            && height + 2 * padding >= size
            && width + 2 * padding >= size;
        plain.then(|| Self {
            batch,
            height,
            width,
            in_channels,
            rows: (height + 2 * padding - size) / stride + 1,
            columns: (width + 2 * padding - size) / stride + 1,
            channels: conv.weight.val().dims()[0],
            size,
            stride,
            padding,
        })
    }

    pub(super) fn output_shape(&self) -> [usize; 4] {
        [self.batch, self.rows, self.columns, self.channels]
    }

    fn patch_length(&self) -> usize {
        self.in_channels * self.size * self.size
    }

    /// Writes a patch as `[in_channels, size, size]`; what lies outside stays zero.
    fn gather(&self, input: &[f32], position: usize, patch: &mut [f32]) {
        let (image, position) = (
            position / (self.rows * self.columns),
            position % (self.rows * self.columns),
        );
        let (row, column) = (position / self.columns, position % self.columns);
        let taps = self.size * self.size;
        for y in 0..self.size {
            let Some(line) = inside(row * self.stride + y, self.padding, self.height) else {
                continue;
            };
            for x in 0..self.size {
                let Some(cell) = inside(column * self.stride + x, self.padding, self.width) else {
                    continue;
                };
                let from = ((image * self.height + line) * self.width + cell) * self.in_channels;
                let pixel = &input[from..from + self.in_channels];
                let tap = y * self.size + x;
                for (target, value) in patch[tap..].iter_mut().step_by(taps).zip(pixel) {
                    *target = *value;
                }
            }
        }
    }
}

/// A padded coordinate as one of the image; none outside.
fn inside(padded: usize, padding: usize, length: usize) -> Option<usize> {
    padded.checked_sub(padding).filter(|at| *at < length)
}

pub(super) fn patch_embedding(
    input: &[f32],
    geometry: &Geometry,
    kernel: &Kernel<'_>,
    norm: &Norm,
    prenorm: bool,
) -> Vec<f32> {
    if prenorm {
        let mut normed = vec![0.0; input.len()];
        let per_task = rows_per_task(input.len() / geometry.in_channels) * geometry.in_channels;
        normed
            .par_chunks_mut(per_task)
            .zip(input.par_chunks(per_task))
            .for_each(|(normed, input)| layer_norm(input, norm, normed));
        return convolve(&normed, geometry, kernel, None);
    }
    convolve(input, geometry, kernel, Some(norm))
}

fn convolve(
    input: &[f32],
    geometry: &Geometry,
    kernel: &Kernel<'_>,
    norm: Option<&Norm>,
) -> Vec<f32> {
    let (channels, length) = (geometry.channels, geometry.patch_length());
    let positions = geometry.batch * geometry.rows * geometry.columns;
    let per_task = rows_per_task(positions);
    let mut output = vec![0.0; positions * channels];
    output
        .par_chunks_mut(per_task * channels)
        .enumerate()
        .for_each(|(task, output)| {
            let count = output.len() / channels;
            let mut patches = vec![0.0; count * length];
            for (index, patch) in patches.chunks_exact_mut(length).enumerate() {
                geometry.gather(input, task * per_task + index, patch);
            }
            if let Some(bias) = kernel.bias {
                for output in output.chunks_exact_mut(channels) {
                    output.copy_from_slice(bias);
                }
            }
            let weight = Matrix::new(kernel.weight, length).transposed();
            add_product(output, Matrix::new(&patches, length), weight);
            if let Some(norm) = norm {
                let convolved = output.to_vec();
                layer_norm(&convolved, norm, output);
            }
        });
    output
}

//! Attention between the channels of a group.
//!
//! The attention weights of a group are small, `[dim / groups, dim / groups]`, and equal for every
//! position. They are multiplied into the projection, so that the values pass through one product.

use rayon::prelude::*;

use crate::cpu::buffer_pool;
use crate::cpu::gemm::driver::{
    Part, heads_together, lhs_format, multiply, plain, qkv_of, rows_per_sum,
};
use crate::cpu::gemm::epilogue::Epilogue;
use crate::cpu::gemm::format::{Format, LhsFormat, PANEL};
use crate::cpu::gemm::kernel::{Lhs, Rhs, kernel};
use crate::cpu::gemm::lhs::{EncodedRows, encode, row_stride};
use crate::cpu::gemm::pack::PackedMatrix;
use crate::cpu::ops::attention::head_format;
use crate::cpu::ops::depthwise::Depthwise;
use crate::cpu::ops::layer_norm::layer_norm;
use crate::cpu::ops::reduce::add;
use crate::cpu::ops::softmax::softmax;
use crate::cpu::parameters::{Affine, Norm};
use crate::cpu::workspace::with_workspace;

/// The layer's parameters.
pub(crate) struct Layer<'a> {
    pub(crate) conv: &'a Depthwise,
    pub(crate) norm: &'a Norm,
    pub(crate) qkv: &'a Affine<'a>,
    /// Of dtype f32 in every model: it is multiplied by the attention weights of each image.
    pub(crate) proj: &'a Affine<'a>,
    pub(crate) num_groups: usize,
}

/// `output = x + proj(attention(qkv(norm(x))))`, where `x = input + conv(input)`.
pub(crate) fn add_channel_attention(
    input: &[f32],
    output: &mut [f32],
    [_, height, width, channels]: [usize; 4],
    layer: &Layer<'_>,
) {
    let tokens = height * width;
    for (index, image) in output.chunks_exact_mut(tokens * channels).enumerate() {
        layer.write_image(input, index * tokens, image, channels);
    }
}

impl Layer<'_> {
    /// Computes one image. `first` is its first position, counted over all images.
    fn write_image(&self, input: &[f32], first: usize, image: &mut [f32], channels: usize) {
        let tokens = image.len() / channels;
        let per_task = rows_per_sum(tokens);
        let qkv_format = lhs_format(self.qkv.weight.format, tokens);
        let format = head_format(self.qkv.weight.format);
        let value_format = lhs_format(format, tokens);
        // Values that share a scale are not all available at once, so they are stored as f32 first.
        let kept_format = match value_format.values_per_scale() {
            Some(_) => LhsFormat::F32,
            None => value_format,
        };
        let stride = row_stride(kept_format.words(channels));
        let mut values = buffer_pool::take(tokens * stride);
        let words: &mut [u32] = bytemuck::cast_slice_mut(&mut values);
        let scores: Vec<Vec<f32>> = image
            .par_chunks_mut(per_task * channels)
            .zip(words.par_chunks_mut(per_task * stride))
            .enumerate()
            .map(|(task, (rows, values))| {
                self.conv.add(input, first + task * per_task, rows);
                with_workspace(|workspace| {
                    let normed = workspace.rows.fill(
                        qkv_format,
                        rows.len() / channels,
                        channels,
                        |index, normed| {
                            layer_norm(&rows[index * channels..][..channels], self.norm, normed);
                        },
                    );
                    self.scores_and_values(
                        normed,
                        (values, stride),
                        kept_format,
                        &mut workspace.inner,
                    )
                })
            })
            .collect();
        // The order makes the sum the same for any number of threads.
        let mut total = vec![0.0; scores[0].len()];
        for scores in &scores {
            add(&mut total, scores);
        }
        let group_dim = channels / self.num_groups;
        // Scaled by the number of positions, which are the features here.
        for row in total.chunks_exact_mut(group_dim) {
            softmax(row, (tokens as f32).powf(-0.5));
        }
        let weight = self.weigh_projection(&total, channels, format, value_format);
        let words: &[u32] = bytemuck::cast_slice(&values);
        image
            .par_chunks_mut(per_task * channels)
            .zip(words.par_chunks(per_task * stride))
            .for_each(|(rows, values)| {
                with_workspace(|workspace| {
                    let values = match kept_format == value_format {
                        true => EncodedRows::from_words(
                            value_format,
                            values,
                            rows.len() / channels,
                            stride,
                        ),
                        false => {
                            let values = bytemuck::cast_slice(values);
                            workspace
                                .rows
                                .encode(value_format, values, channels, stride)
                        }
                    };
                    let epilogue = Epilogue {
                        accumulate: true,
                        ..Epilogue::with_bias(self.proj.bias())
                    };
                    let part = Part::whole(&weight);
                    multiply(values, &weight, &part, rows, channels, epilogue);
                });
            });
        buffer_pool::give(values);
    }

    /// Writes the values of the rows, and returns their part of `q^T k` per group.
    fn scores_and_values(
        &self,
        normed: EncodedRows<'_>,
        (values, values_stride): (&mut [u32], usize),
        format: LhsFormat,
        inner: &mut Vec<f32>,
    ) -> Vec<f32> {
        let channels = self.qkv.weight.inputs;
        let group_dim = channels / self.num_groups;
        let mut scores = vec![0.0; channels * group_dim];
        for columns in heads_together(channels, group_dim) {
            let width = columns.len();
            let (qkv, stride) = qkv_of(normed, self.qkv, &columns, inner);
            let first = format.words(columns.start);
            for (values, qkv) in values
                .chunks_exact_mut(values_stride)
                .zip(qkv.chunks_exact(stride))
            {
                encode(format, &qkv[2 * width..3 * width], &mut values[first..]);
            }
            let scores = &mut scores[columns.start * group_dim..columns.end * group_dim];
            write_scores(qkv, stride, normed.rows, [width, group_dim], scores);
        }
        scores
    }

    /// `attention^T * proj` per group: `[channels, channels]`, to be multiplied by rows of format
    /// `rows`.
    fn weigh_projection(
        &self,
        attention: &[f32],
        channels: usize,
        format: Format,
        rows: LhsFormat,
    ) -> PackedMatrix {
        let group_dim = channels / self.num_groups;
        let proj = self.proj.weight;
        // INVARIANT: an f32 weight is stored in a format that there is a kernel for.
        let kernel = kernel(proj.format, LhsFormat::F32).expect("a kernel for the format");
        PackedMatrix::from_panels([proj.outputs, channels], format, rows, |panel, weighed| {
            let groups = weighed.chunks_exact_mut(group_dim * PANEL);
            let attention = attention.chunks_exact(group_dim * group_dim);
            for (group, (weighed, attention)) in groups.zip(attention).enumerate() {
                let attention = Lhs {
                    words: bytemuck::cast_slice(attention),
                    m: group_dim,
                    row_stride: 1,
                    k_stride: group_dim,
                };
                let inputs = group * group_dim..(group + 1) * group_dim;
                let proj = proj.panel(panel, inputs);
                let epilogue = Epilogue::default();
                kernel.multiply(group_dim, attention, proj, weighed, PANEL, epilogue);
            }
        })
    }
}

/// Computes `q^T k` of each group from rows `[q, k, v]`, in which each of the three is `width`
/// wide.
fn write_scores(
    qkv: &[f32],
    stride: usize,
    rows: usize,
    [width, group_dim]: [usize; 2],
    scores: &mut [f32],
) {
    let words: &[u32] = bytemuck::cast_slice(qkv);
    for (group, scores) in scores.chunks_exact_mut(group_dim * group_dim).enumerate() {
        // The rows lie below each other, and values and a gap follow the keys of a row, so whole
        // vectors can be read.
        let q = Lhs {
            words: &words[group * group_dim..],
            m: group_dim,
            row_stride: 1,
            k_stride: stride,
        };
        for column in (0..group_dim).step_by(PANEL) {
            let k = Rhs {
                words: &words[width + group * group_dim + column..],
                n: PANEL.min(group_dim - column),
                k_stride: stride,
                column_max: None,
                next: &[],
            };
            let scores = &mut scores[column..];
            plain(q, k, rows, scores, group_dim, Epilogue::default());
        }
    }
}

//! Attention between the channels of a group.
//!
//! A group's weights are small, `[dim / groups, dim / groups]`, and multiply every position alike:
//! they are multiplied into the projection, so that the values go through one product.

use rayon::prelude::*;

use super::elementwise::{add, layer_norm, softmax};
use super::packed_matrix::PackedMatrix;
use super::parameters::{Affine, Norm};
use super::product::{Epilogue, Part, affine, multiply, plain, rows_per_task, sized};
use super::rows::{Rows, row_step};
use super::tile::{Finish, Format, Left, PANEL, Right, kernel};

/// The layer's parameters.
pub(super) struct Layer<'a> {
    pub(super) norm: &'a Norm,
    pub(super) qkv: &'a Affine<'a>,
    /// Of f32: it becomes a part of another weight with each image.
    pub(super) proj: &'a Affine<'a>,
    pub(super) num_groups: usize,
}

/// Buffers that are kept from task to task.
#[derive(Default)]
struct Scratch {
    normed: Vec<f32>,
    rows: Rows,
    qkv: Vec<f32>,
}

/// `x + proj(attention(qkv(norm(x))))`, in place.
pub(super) fn add_channel_attention(x: &mut [f32], shape: [usize; 4], layer: &Layer<'_>) {
    let [_, height, width, channels] = shape;
    for image in x.chunks_exact_mut(height * width * channels) {
        layer.add_to_image(image, channels);
    }
}

impl Layer<'_> {
    fn add_to_image(&self, image: &mut [f32], channels: usize) {
        let tokens = image.len() / channels;
        let per_task = rows_per_task(tokens) * channels;
        let mut values = vec![0.0; image.len()];
        let scores: Vec<Vec<f32>> = image
            .par_chunks(per_task)
            .zip(values.par_chunks_mut(per_task))
            .map_init(Scratch::default, |scratch, (rows, values)| {
                self.scores_and_values(rows, values, channels, scratch)
            })
            .collect();
        // In order: the sum is the same for any number of threads.
        let mut total = vec![0.0; scores[0].len()];
        for scores in &scores {
            add(&mut total, scores);
        }
        let group_dim = channels / self.num_groups;
        // Scaled by the number of positions: they are the features here.
        softmax(&mut total, group_dim, (tokens as f32).powf(-0.5));
        let weight = self.weigh_projection(&total, channels);
        let weight = match self.qkv.weight.format == Format::F32 || kernel(Format::Bf16).is_none() {
            true => weight,
            false => weight.to_bf16(),
        };
        image
            .par_chunks_mut(per_task)
            .zip(values.par_chunks(per_task))
            .for_each_init(Rows::default, |encoded, (rows, values)| {
                let values = encoded.encode(weight.format, values, channels, channels);
                let epilogue = Epilogue {
                    add: true,
                    bias: self.proj.bias(),
                };
                let part = Part::whole(&weight);
                multiply(values, &weight, &part, rows, channels, epilogue);
            });
    }

    /// Writes the rows' values, and gives their part of `q^T k` per group.
    fn scores_and_values(
        &self,
        rows: &[f32],
        values: &mut [f32],
        channels: usize,
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        let count = rows.len() / channels;
        let step = row_step(channels);
        let normed = sized(&mut scratch.normed, count * step);
        layer_norm(rows, self.norm, normed, step);
        let format = self.qkv.weight.row_format();
        let normed = scratch.rows.encode(format, normed, channels, step);
        let qkv = affine(normed, self.qkv, &mut scratch.qkv);
        let step = row_step(3 * channels);
        for (values, qkv) in values
            .chunks_exact_mut(channels)
            .zip(qkv.chunks_exact(step))
        {
            values.copy_from_slice(&qkv[2 * channels..3 * channels]);
        }
        let words: &[u32] = bytemuck::cast_slice(qkv);
        let group_dim = channels / self.num_groups;
        let mut scores = vec![0.0; channels * group_dim];
        for (group, scores) in scores.chunks_exact_mut(group_dim * group_dim).enumerate() {
            // Rows lie under each other, and their values and a gap follow the keys: whole vectors
            // can be read.
            let q = Left {
                words: &words[group * group_dim..],
                rows: group_dim,
                row_step: 1,
                step,
            };
            for column in (0..group_dim).step_by(PANEL) {
                let k = Right {
                    words: &words[channels + group * group_dim + column..],
                    columns: PANEL.min(group_dim - column),
                    step,
                };
                let scores = &mut scores[column..];
                plain(q, k, count, scores, group_dim, Finish::default());
            }
        }
        scores
    }

    /// `attention^T * proj` per group: `[channels, channels]`.
    fn weigh_projection(&self, attention: &[f32], channels: usize) -> PackedMatrix {
        let group_dim = channels / self.num_groups;
        let proj = self.proj.weight;
        let mut weighed = PackedMatrix::zeros(proj.outputs, channels, Format::F32);
        weighed
            .f32_panels_mut()
            .enumerate()
            .for_each(|(panel, weighed)| {
                let groups = weighed.chunks_exact_mut(group_dim * PANEL);
                let attention = attention.chunks_exact(group_dim * group_dim);
                for (group, (weighed, attention)) in groups.zip(attention).enumerate() {
                    let attention = Left {
                        words: bytemuck::cast_slice(attention),
                        rows: group_dim,
                        row_step: 1,
                        step: group_dim,
                    };
                    let inputs = group * group_dim..(group + 1) * group_dim;
                    let proj = proj.panel(panel, inputs);
                    plain(
                        attention,
                        proj,
                        group_dim,
                        weighed,
                        PANEL,
                        Finish::default(),
                    );
                }
            });
        weighed
    }
}

//! Attention between the channels of a group.
//!
//! A group's weights are small, `[dim / groups, dim / groups]`, and multiply every position alike:
//! they are multiplied into the projection, so that the values go through one product.

use rayon::prelude::*;

use super::elementwise::{add, layer_norm, softmax};
use super::parameters::{Affine, Norm};
use super::product::{Matrix, add_product, rows_per_task, set_product};

/// The layer's parameters.
pub(super) struct Layer<'a> {
    pub(super) norm: &'a Norm,
    pub(super) qkv: &'a Affine,
    pub(super) proj: &'a Affine,
    pub(super) num_groups: usize,
}

/// `x + proj(attention(qkv(norm(x))))`.
pub(super) fn add_channel_attention(
    input: &[f32],
    shape: [usize; 4],
    layer: &Layer<'_>,
) -> Vec<f32> {
    let [_, height, width, channels] = shape;
    let mut output = input.to_vec();
    for image in output.chunks_exact_mut(height * width * channels) {
        layer.add_to_image(image, channels);
    }
    output
}

impl Layer<'_> {
    fn add_to_image(&self, image: &mut [f32], channels: usize) {
        let tokens = image.len() / channels;
        let per_task = rows_per_task(tokens) * channels;
        let mut values = vec![0.0; image.len()];
        let scores: Vec<Vec<f32>> = image
            .par_chunks(per_task)
            .zip(values.par_chunks_mut(per_task))
            .map(|(rows, values)| self.scores_and_values(rows, values, channels))
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
        image
            .par_chunks_mut(per_task)
            .zip(values.par_chunks(per_task))
            .for_each(|(rows, values)| {
                if let Some(bias) = self.proj.bias() {
                    for row in rows.chunks_exact_mut(channels) {
                        add(row, bias);
                    }
                }
                let weight = Matrix::new(&weight, channels);
                add_product(rows, Matrix::new(values, channels), weight);
            });
    }

    /// Writes the rows' values, and gives their part of `q^T k` per group.
    fn scores_and_values(&self, rows: &[f32], values: &mut [f32], channels: usize) -> Vec<f32> {
        let mut normed = vec![0.0; rows.len()];
        layer_norm(rows, self.norm, &mut normed);
        let normed = Matrix::new(&normed, channels);
        let weight = Matrix::new(self.qkv.weight(), 3 * channels);
        let mut queries_keys = vec![0.0; normed.rows * 2 * channels];
        set_product(&mut queries_keys, normed, weight.columns(0, 2 * channels));
        set_product(values, normed, weight.columns(2 * channels, channels));
        if let Some(bias) = self.qkv.bias() {
            let (queries_keys_bias, values_bias) = bias.split_at(2 * channels);
            for row in queries_keys.chunks_exact_mut(2 * channels) {
                add(row, queries_keys_bias);
            }
            for row in values.chunks_exact_mut(channels) {
                add(row, values_bias);
            }
        }
        let queries_keys = Matrix::new(&queries_keys, 2 * channels);
        let group_dim = channels / self.num_groups;
        let mut scores = vec![0.0; channels * group_dim];
        for (group, scores) in scores.chunks_exact_mut(group_dim * group_dim).enumerate() {
            let q = queries_keys.columns(group * group_dim, group_dim);
            let k = queries_keys.columns(channels + group * group_dim, group_dim);
            set_product(scores, q.transposed(), k);
        }
        scores
    }

    /// `attention^T * proj` per group: `[channels, channels]`.
    fn weigh_projection(&self, attention: &[f32], channels: usize) -> Vec<f32> {
        let group_dim = channels / self.num_groups;
        let mut weight = vec![0.0; channels * channels];
        weight
            .par_chunks_exact_mut(group_dim * channels)
            .zip(attention.par_chunks_exact(group_dim * group_dim))
            .zip(self.proj.weight().par_chunks_exact(group_dim * channels))
            .for_each(|((weight, attention), proj)| {
                let attention = Matrix::new(attention, group_dim).transposed();
                set_product(weight, attention, Matrix::new(proj, channels));
            });
        weight
    }
}

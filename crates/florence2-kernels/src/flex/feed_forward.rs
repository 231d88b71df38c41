//! Two linear layers with a GELU between, which lives in the cache only.

use rayon::prelude::*;

use super::elementwise::{gelu, layer_norm};
use super::parameters::{Affine, Norm};
use super::product::{FEW_ROWS, add_affine, affine, linear, rows_per_task};

/// `x + fc2(gelu(fc1(norm(x))))`.
pub(super) fn add_feed_forward(input: &[f32], norm: &Norm, fc1: &Affine, fc2: &Affine) -> Vec<f32> {
    let mut output = input.to_vec();
    let per_task = rows_per_task(input.len() / fc1.inputs) * fc1.inputs;
    output.par_chunks_mut(per_task).for_each(|rows| {
        let mut normed = vec![0.0; rows.len()];
        layer_norm(rows, norm, &mut normed);
        let mut hidden = affine(&normed, fc1);
        gelu(&mut hidden);
        add_affine(rows, &hidden, fc2);
    });
    output
}

/// `norm(x + fc2(gelu(fc1(x))))`.
pub(super) fn feed_forward_then_norm(
    input: &[f32],
    fc1: &Affine,
    fc2: &Affine,
    norm: &Norm,
) -> Vec<f32> {
    let count = input.len() / fc1.inputs;
    if count <= FEW_ROWS {
        let mut hidden = linear(input, fc1);
        gelu(&mut hidden);
        let mut sum = linear(&hidden, fc2);
        super::elementwise::add(&mut sum, input);
        let mut output = vec![0.0; input.len()];
        layer_norm(&sum, norm, &mut output);
        return output;
    }
    let mut output = vec![0.0; input.len()];
    let per_task = rows_per_task(count) * fc1.inputs;
    output
        .par_chunks_mut(per_task)
        .zip(input.par_chunks(per_task))
        .for_each(|(output, rows)| {
            let mut hidden = affine(rows, fc1);
            gelu(&mut hidden);
            let mut sum = rows.to_vec();
            add_affine(&mut sum, &hidden, fc2);
            layer_norm(&sum, norm, output);
        });
    output
}

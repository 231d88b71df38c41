//! Attention within windows, from the norm to the residual without copies of the whole image.

use rayon::prelude::*;

use super::attention::attend;
use super::elementwise::layer_norm;
use super::parameters::{Affine, Norm};
use super::product::{Matrix, affine};

/// The layer's parameters.
pub(super) struct Layer<'a> {
    pub(super) norm: &'a Norm,
    pub(super) qkv: &'a Affine,
    pub(super) proj: &'a Affine,
    pub(super) num_heads: usize,
    pub(super) window_size: usize,
}

/// Windows that pass together: the weights are used for all their rows.
const WINDOWS: usize = 2;

/// A window's lines in the output, top to bottom: fewer or shorter at the image's edge.
type WindowLines<'a> = Vec<&'a mut [f32]>;

/// `x + proj(attention(qkv(norm(x))))`.
pub(super) fn add_window_attention(
    input: &[f32],
    [_, height, width, channels]: [usize; 4],
    layer: &Layer<'_>,
) -> Vec<f32> {
    let mut output = input.to_vec();
    let mut windows = split_windows(&mut output, [height, width, channels], layer.window_size);
    windows
        .par_chunks_mut(WINDOWS)
        .for_each(|windows| layer.attend(windows, channels));
    output
}

/// The image's lines cut at the windows' borders, and collected window by window.
fn split_windows(
    image: &mut [f32],
    [height, width, channels]: [usize; 3],
    window: usize,
) -> Vec<WindowLines<'_>> {
    let across = width.div_ceil(window);
    let mut windows: Vec<WindowLines<'_>> = Vec::new();
    for (index, line) in image.chunks_exact_mut(width * channels).enumerate() {
        let row = index % height;
        if row % window == 0 {
            windows.extend((0..across).map(|_| Vec::with_capacity(window)));
        }
        let first = windows.len() - across;
        for (piece, target) in line
            .chunks_mut(window * channels)
            .zip(&mut windows[first..])
        {
            target.push(piece);
        }
    }
    windows
}

impl Layer<'_> {
    fn attend(&self, windows: &mut [WindowLines<'_>], channels: usize) {
        let side = self.window_size;
        let tokens = side * side;
        // Outside the image are zeros after the norm, which take part, as trained.
        let mut normed = vec![0.0; windows.len() * tokens * channels];
        for (window, normed) in windows
            .iter()
            .zip(normed.chunks_exact_mut(tokens * channels))
        {
            for (line, normed) in window.iter().zip(normed.chunks_exact_mut(side * channels)) {
                layer_norm(line, self.norm, &mut normed[..line.len()]);
            }
        }
        let qkv = affine(&normed, self.qkv);
        let attended = &mut normed;
        let head_dim = channels / self.num_heads;
        let scale = (head_dim as f32).powf(-0.5);
        let mut scores = vec![0.0; tokens * tokens];
        let windows_qkv = qkv.chunks_exact(tokens * 3 * channels);
        for (qkv, attended) in windows_qkv.zip(attended.chunks_exact_mut(tokens * channels)) {
            let qkv = Matrix::new(qkv, 3 * channels);
            for first in (0..channels).step_by(head_dim) {
                let [q, k, v] =
                    [0, 1, 2].map(|part| qkv.columns(part * channels + first, head_dim));
                attend(
                    q,
                    k,
                    v,
                    scale,
                    &mut scores,
                    &mut attended[first..],
                    channels,
                );
            }
        }
        let projected = affine(attended, self.proj);
        let projected = projected.chunks_exact(tokens * channels);
        for (window, projected) in windows.iter_mut().zip(projected) {
            for (line, projected) in window
                .iter_mut()
                .zip(projected.chunks_exact(side * channels))
            {
                super::elementwise::add(line, projected);
            }
        }
    }
}

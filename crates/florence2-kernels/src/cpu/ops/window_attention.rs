//! Attention within windows, from the norm to the residual, without copies of the whole image.

use rayon::prelude::*;

use crate::cpu::buffer_pool::resize_at_least;
use crate::cpu::gemm::driver::{affine, heads_together, lhs_format, qkv_of};
use crate::cpu::gemm::lhs::row_stride;
use crate::cpu::ops::attention;
use crate::cpu::ops::attention::Head;
use crate::cpu::ops::depthwise::Depthwise;
use crate::cpu::ops::layer_norm::layer_norm;
use crate::cpu::ops::reduce::add;
use crate::cpu::parameters::{Affine, Norm};
use crate::cpu::workspace::{Workspace, with_workspace};

/// The layer's parameters.
pub(crate) struct Layer<'a> {
    pub(crate) conv: &'a Depthwise,
    pub(crate) norm: &'a Norm,
    pub(crate) qkv: &'a Affine<'a>,
    pub(crate) proj: &'a Affine<'a>,
    pub(crate) num_heads: usize,
    pub(crate) window_size: usize,
}

/// The number of windows that are processed together, so that all their rows share the weights.
const WINDOWS: usize = 2;

/// A line of a window in the output; shorter at the edge of the image.
struct Line<'a> {
    /// Its first position, counted over all images.
    position: usize,
    x: &'a mut [f32],
}

/// The lines of a window, top to bottom; fewer at the edge of the image.
type WindowLines<'a> = Vec<Line<'a>>;

/// `output = x + proj(attention(qkv(norm(x))))`, where `x = input + conv(input)`.
pub(crate) fn add_window_attention(
    input: &[f32],
    output: &mut [f32],
    [_, height, width, channels]: [usize; 4],
    layer: &Layer<'_>,
) {
    let tokens = height * width;
    let mut windows = split_windows(output, [height, width, channels], layer.window_size);
    windows.par_chunks_mut(WINDOWS).for_each(|windows| {
        for line in windows.iter_mut().flatten() {
            layer.conv.add(input, line.position, line.x);
        }
        with_workspace(|workspace| layer.attend(windows, tokens, channels, workspace));
    });
}

/// Cuts the lines of the image at the borders of the windows, and groups them by window.
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
        let pieces = line.chunks_mut(window * channels);
        for (piece, (x, target)) in pieces.zip(&mut windows[first..]).enumerate() {
            let position = index * width + piece * window;
            target.push(Line { position, x });
        }
    }
    windows
}

impl Layer<'_> {
    /// Computes the attention of some windows, in images of `image_tokens` tokens.
    fn attend(
        &self,
        windows: &mut [WindowLines<'_>],
        image_tokens: usize,
        channels: usize,
        workspace: &mut Workspace,
    ) {
        let Workspace {
            rows,
            inner_rows,
            inner,
            outer,
            attention: buffers,
        } = workspace;
        let side = self.window_size;
        let tokens = side * side;
        let count = windows.len() * tokens;
        let format = lhs_format(self.qkv.weight.format, image_tokens);
        let normed = rows.fill(format, count, channels, |index, normed| {
            let line = windows[index / tokens].get(index % tokens / side);
            let cell = line.and_then(|line| line.x.chunks_exact(channels).nth(index % side));
            match cell {
                Some(cell) => layer_norm(cell, self.norm, normed),
                // Positions outside the image are zero after the norm. They take part, as in
                // training.
                None => normed.fill(0.0),
            }
        });
        let stride = row_stride(channels);
        let attended = resize_at_least(outer, count * stride);
        let head_dim = channels / self.num_heads;
        let format = attention::head_format(self.qkv.weight.format);
        for columns in heads_together(channels, head_dim) {
            let (qkv, qkv_stride) = qkv_of(normed, self.qkv, &columns, inner);
            let windows_qkv = qkv.chunks_exact(tokens * qkv_stride);
            for (qkv, attended) in windows_qkv.zip(attended.chunks_exact_mut(tokens * stride)) {
                for first in (0..columns.len()).step_by(head_dim) {
                    let heads = [0, 1, 2].map(|part| Head {
                        values: &qkv[part * columns.len() + first..],
                        rows: tokens,
                        row_stride: qkv_stride,
                    });
                    let attended = &mut attended[columns.start + first..];
                    attention::attention(heads, head_dim, format, buffers, attended, stride);
                }
            }
        }
        let format = lhs_format(self.proj.weight.format, image_tokens);
        let attended = inner_rows.encode(format, attended, channels, stride);
        let projected = affine(attended, self.proj, inner);
        let mut projected = projected.chunks_exact(stride);
        for window in windows {
            let mut rows = projected.by_ref().take(tokens);
            for line in window {
                for (x, projected) in line.x.chunks_exact_mut(channels).zip(rows.by_ref()) {
                    add(x, &projected[..channels]);
                }
                // Skips the part of a line beyond the edge of the image.
                let missing = side - line.x.len() / channels;
                rows.by_ref().take(missing).for_each(drop);
            }
            rows.for_each(drop);
        }
    }
}

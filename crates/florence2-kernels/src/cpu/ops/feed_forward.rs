//! Linear layers between a residual and a norm: one layer, or two with an activation between them,
//! whose hidden values stay in the cache.

use std::ops::Range;

use rayon::prelude::*;

use crate::Activation;
use crate::cpu::buffer_pool::resize_at_least;
use crate::cpu::gemm::driver::{Part, lhs_format, linear, multiply, rows_per_task};
use crate::cpu::gemm::epilogue::Epilogue;
use crate::cpu::gemm::format::{LhsFormat, PANEL};
use crate::cpu::gemm::lhs::{EncodedRows, LhsBuffer, row_stride};
use crate::cpu::ops::activation::activate;
use crate::cpu::ops::depthwise::Depthwise;
use crate::cpu::ops::layer_norm::layer_norm;
use crate::cpu::ops::reduce::add;
use crate::cpu::parameters::{Affine, Norm};
use crate::cpu::workspace::{Workspace, with_workspace};

/// Two linear layers with an activation between them.
pub(crate) struct Layers<'a> {
    pub(crate) fc1: Affine<'a>,
    pub(crate) fc2: Affine<'a>,
    pub(crate) activation: Activation,
}

/// `output = x + fc2(activation(fc1(norm(x))))`, where `x = input + conv(input)`, of images of
/// `tokens` tokens.
pub(crate) fn add_feed_forward(
    input: &[f32],
    tokens: usize,
    output: &mut [f32],
    conv: &Depthwise,
    norm: &Norm,
    layers: &Layers<'_>,
) {
    let Layers { fc1, fc2, .. } = layers;
    let channels = fc1.weight.inputs;
    let per_task = rows_per_task(input.len() / channels);
    let tasks = output.par_chunks_mut(per_task * channels);
    tasks.enumerate().for_each(|(task, x)| {
        with_workspace(|workspace| {
            let Workspace {
                rows,
                inner_rows,
                inner,
                ..
            } = workspace;
            conv.add(input, task * per_task, x);
            let format = lhs_format(fc1.weight.format, tokens);
            let normed = rows.fill(format, x.len() / channels, channels, |index, normed| {
                layer_norm(&x[index * channels..][..channels], norm, normed);
            });
            let format = lhs_format(fc2.weight.format, tokens);
            add_hidden(normed, layers, (x, true), inner, (inner_rows, format));
        });
    });
}

/// `result = fc2(activation(fc1(input)))`, or added to the result if `accumulate` is set, one block
/// of the hidden layer at a time.
fn add_hidden(
    input: EncodedRows<'_>,
    layers: &Layers<'_>,
    (result, accumulate): (&mut [f32], bool),
    hidden: &mut Vec<f32>,
    (hidden_rows, format): (&mut LhsBuffer, LhsFormat),
) {
    let Layers {
        fc1,
        fc2,
        activation,
    } = layers;
    let blocks = fc2.weight.blocks();
    for (block, k) in blocks.enumerate() {
        let first = block * fc2.weight.format.block();
        let columns = fc2.weight.inputs_in(&k);
        let stride = row_stride(columns);
        let hidden = resize_at_least(hidden, input.rows * stride);
        // Each block consists of whole panels.
        let panels = first / PANEL..(first + columns).div_ceil(PANEL);
        let part = Part {
            panels,
            ..Part::whole(fc1.weight)
        };
        let epilogue = Epilogue::with_bias(fc1.bias().map(|bias| &bias[first..]));
        multiply(input, fc1.weight, &part, hidden, stride, epilogue);
        let rows = hidden_rows.change_and_encode(format, hidden, columns, stride, |row| {
            activate(*activation, row);
        });
        let part = Part {
            blocks: block..block + 1,
            ..Part::whole(fc2.weight)
        };
        let epilogue = Epilogue {
            accumulate: accumulate || block > 0,
            ..Epilogue::with_bias(fc2.bias().filter(|_| block == 0))
        };
        multiply(
            rows,
            fc2.weight,
            &part,
            result,
            fc2.weight.outputs,
            epilogue,
        );
    }
}

/// `norm(x + fc2(activation(fc1(x))))` of sequences of `tokens` tokens.
///
/// The sums are added in the same order for any number of rows and threads: the blocks of each
/// product with its bias, then the residual.
pub(crate) fn feed_forward_then_norm(
    input: &[f32],
    tokens: usize,
    layers: &Layers<'_>,
    norm: &Norm,
) -> Vec<f32> {
    let Layers { fc1, fc2, .. } = layers;
    if threads_share_weights(input, norm) {
        let mut hidden = linear(input, tokens, fc1);
        activate(layers.activation, &mut hidden);
        return add_then_norm(linear(&hidden, tokens, fc2), input, norm);
    }
    let channels = fc1.weight.inputs;
    chunks_then_norm(input, norm, |x, _, product, buffers| {
        let format = lhs_format(fc1.weight.format, tokens);
        let x = buffers.rows.encode(format, x, channels, channels);
        let hidden_rows = (buffers.inner_rows, lhs_format(fc2.weight.format, tokens));
        add_hidden(x, layers, (product, false), buffers.inner, hidden_rows);
    })
}

/// `norm(residual + linear(input))` of sequences of `tokens` tokens, with the sums in the order of
/// [`feed_forward_then_norm`].
pub(crate) fn linear_then_norm(
    input: &[f32],
    tokens: usize,
    residual: &[f32],
    layer: &Affine<'_>,
    norm: &Norm,
) -> Vec<f32> {
    if threads_share_weights(residual, norm) {
        return add_then_norm(linear(input, tokens, layer), residual, norm);
    }
    let Affine { weight, .. } = layer;
    let format = lhs_format(weight.format, tokens);
    chunks_then_norm(residual, norm, |_, rows, product, buffers| {
        let input = &input[rows.start * weight.inputs..rows.end * weight.inputs];
        let input = buffers
            .rows
            .encode(format, input, weight.inputs, weight.inputs);
        let epilogue = Epilogue::with_bias(layer.bias());
        let part = Part::whole(weight);
        multiply(input, weight, &part, product, weight.outputs, epilogue);
    })
}

/// Returns whether threads share the weights instead of the rows. Both ways give the same sums.
fn threads_share_weights(rows: &[f32], norm: &Norm) -> bool {
    rows.len() / norm.gamma().len() < rayon::current_num_threads() * 16
}

/// `norm(product + residual)`.
fn add_then_norm(mut product: Vec<f32>, residual: &[f32], norm: &Norm) -> Vec<f32> {
    let mut output = vec![0.0; product.len()];
    add_and_norm(&mut product, residual, norm, &mut output);
    output
}

fn add_and_norm(product: &mut [f32], residual: &[f32], norm: &Norm, output: &mut [f32]) {
    add(product, residual);
    layer_norm(product, norm, output);
}

/// The buffers for the computation of a chunk of rows.
struct Buffers<'a> {
    rows: &'a mut LhsBuffer,
    inner_rows: &'a mut LhsBuffer,
    inner: &'a mut Vec<f32>,
}

/// Computes `norm(residual + product)` in chunks of rows. `write_product` receives the residual of
/// a chunk, the range of its rows, and the buffer of the product.
fn chunks_then_norm(
    residual: &[f32],
    norm: &Norm,
    write_product: impl Fn(&[f32], Range<usize>, &mut [f32], Buffers<'_>) + Sync,
) -> Vec<f32> {
    let channels = norm.gamma().len();
    let count = residual.len() / channels;
    let per_task = rows_per_task(count);
    let mut output = vec![0.0; residual.len()];
    output
        .par_chunks_mut(per_task * channels)
        .zip(residual.par_chunks(per_task * channels))
        .enumerate()
        .for_each(|(task, (output, residual))| {
            with_workspace(|workspace| {
                let Workspace {
                    rows,
                    inner_rows,
                    inner,
                    outer,
                    ..
                } = workspace;
                let product = resize_at_least(outer, residual.len());
                let first = task * per_task;
                let range = first..first + residual.len() / channels;
                let buffers = Buffers {
                    rows,
                    inner_rows,
                    inner,
                };
                write_product(residual, range, product, buffers);
                add_and_norm(product, residual, norm, output);
            });
        });
    output
}

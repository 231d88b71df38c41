//! Two linear layers with a GELU between, which lives in the cache only.

use rayon::prelude::*;

use super::depthwise::Depthwise;
use super::elementwise::{add, gelu, layer_norm};
use super::parameters::{Affine, Norm};
use super::product::{Epilogue, Part, linear, multiply, rows_per_task};
use super::rows::{Rows, RowsRef, row_step, sized};
use super::scratch::{Scratch, with_scratch};
use super::tile::PANEL;

/// `output = x + fc2(gelu(fc1(norm(x))))` of `x = input + conv(input)`.
pub(super) fn add_feed_forward(
    input: &[f32],
    output: &mut [f32],
    conv: &Depthwise,
    norm: &Norm,
    fc1: &Affine<'_>,
    fc2: &Affine<'_>,
) {
    let channels = fc1.weight.inputs;
    let per_task = rows_per_task(input.len() / channels);
    let tasks = output.par_chunks_mut(per_task * channels);
    tasks.enumerate().for_each(|(task, x)| {
        with_scratch(|scratch| {
            let Scratch {
                rows,
                inner_rows,
                inner,
                ..
            } = scratch;
            conv.add(input, task * per_task, x);
            let format = fc1.weight.row_format();
            let normed = rows.fill(format, x.len() / channels, channels, |index, normed| {
                layer_norm(&x[index * channels..][..channels], norm, normed);
            });
            add_hidden(normed, fc1, fc2, x, inner, inner_rows);
        });
    });
}

/// `result += fc2(gelu(fc1(input)))`, a block of the hidden layer at a time.
fn add_hidden(
    input: RowsRef<'_>,
    fc1: &Affine<'_>,
    fc2: &Affine<'_>,
    result: &mut [f32],
    hidden: &mut Vec<f32>,
    hidden_rows: &mut Rows,
) {
    let blocks = fc2.weight.blocks();
    for (block, steps) in blocks.enumerate() {
        let first = block * fc2.weight.format.block();
        let columns = fc2.weight.inputs_of(&steps);
        let step = row_step(columns);
        let hidden = sized(hidden, input.rows * step);
        // Blocks are whole panels.
        let panels = first / PANEL..(first + columns).div_ceil(PANEL);
        let part = Part {
            panels,
            ..Part::whole(fc1.weight)
        };
        let epilogue = Epilogue {
            add: false,
            bias: fc1.bias().map(|bias| &bias[first..]),
        };
        multiply(input, fc1.weight, &part, hidden, step, epilogue);
        let format = fc2.weight.row_format();
        let rows = hidden_rows.change_and_encode(format, hidden, columns, step, gelu);
        let part = Part {
            blocks: block..block + 1,
            ..Part::whole(fc2.weight)
        };
        let epilogue = Epilogue {
            add: true,
            bias: fc2.bias().filter(|_| block == 0),
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

/// `norm(x + fc2(gelu(fc1(x))))`.
pub(super) fn feed_forward_then_norm(
    input: &[f32],
    fc1: &Affine<'_>,
    fc2: &Affine<'_>,
    norm: &Norm,
) -> Vec<f32> {
    let channels = fc1.weight.inputs;
    let count = input.len() / channels;
    let mut output = vec![0.0; input.len()];
    if count < rayon::current_num_threads() * 16 {
        let mut hidden = linear(input, fc1);
        gelu(&mut hidden);
        let mut sum = linear(&hidden, fc2);
        add(&mut sum, input);
        layer_norm(&sum, norm, &mut output);
        return output;
    }
    let per_task = rows_per_task(count).min(count.div_ceil(rayon::current_num_threads()));
    output
        .par_chunks_mut(per_task * channels)
        .zip(input.par_chunks(per_task * channels))
        .for_each(|(output, x)| {
            with_scratch(|scratch| {
                let Scratch {
                    rows,
                    inner_rows,
                    inner,
                    outer,
                    ..
                } = scratch;
                let sum = sized(outer, x.len());
                sum.copy_from_slice(x);
                let format = fc1.weight.row_format();
                let input = rows.encode(format, x, channels, channels);
                add_hidden(input, fc1, fc2, sum, inner, inner_rows);
                layer_norm(sum, norm, output);
            });
        });
    output
}

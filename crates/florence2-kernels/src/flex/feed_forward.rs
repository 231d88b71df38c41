//! Two linear layers with a GELU between, which lives in the cache only.

use rayon::prelude::*;

use super::elementwise::{add, gelu, layer_norm};
use super::parameters::{Affine, Norm};
use super::product::{Epilogue, Part, linear, multiply, rows_per_task, sized};
use super::rows::{Rows, RowsRef, row_step};
use super::tile::PANEL;

/// Buffers that are kept from task to task.
#[derive(Default)]
struct Scratch {
    normed: Vec<f32>,
    normed_rows: Rows,
    hidden: Vec<f32>,
    hidden_rows: Rows,
}

/// `x + fc2(gelu(fc1(norm(x))))`, in place.
pub(super) fn add_feed_forward(x: &mut [f32], norm: &Norm, fc1: &Affine<'_>, fc2: &Affine<'_>) {
    let channels = fc1.weight.inputs;
    let per_task = rows_per_task(x.len() / channels) * channels;
    x.par_chunks_mut(per_task)
        .for_each_init(Scratch::default, |scratch, rows| {
            let Scratch {
                normed,
                normed_rows,
                hidden,
                hidden_rows,
            } = scratch;
            let step = row_step(channels);
            let normed = sized(normed, rows.len() / channels * step);
            layer_norm(rows, norm, normed, step);
            let format = fc1.weight.row_format();
            let input = normed_rows.encode(format, normed, channels, step);
            add_hidden(input, fc1, fc2, rows, hidden, hidden_rows);
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
        gelu(hidden);
        let rows = hidden_rows.encode(fc2.weight.row_format(), hidden, columns, step);
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
        layer_norm(&sum, norm, &mut output, channels);
        return output;
    }
    let per_task = rows_per_task(count).min(count.div_ceil(rayon::current_num_threads()));
    output
        .par_chunks_mut(per_task * channels)
        .zip(input.par_chunks(per_task * channels))
        .for_each_init(Scratch::default, |scratch, (output, rows)| {
            let Scratch {
                normed: sum,
                normed_rows,
                hidden,
                hidden_rows,
            } = scratch;
            let sum = sized(sum, rows.len());
            sum.copy_from_slice(rows);
            let format = fc1.weight.row_format();
            let input = normed_rows.encode(format, rows, channels, channels);
            add_hidden(input, fc1, fc2, sum, hidden, hidden_rows);
            layer_norm(sum, norm, output, channels);
        });
    output
}

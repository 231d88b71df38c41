//! The driver: products of rows and packed weights, divided into blocks of inputs, panels of outputs
//! and tasks of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::epilogue::Epilogue;
use super::format::{Format, LhsFormat, PANEL};
use super::kernel::{Lhs, Rhs, f32_kernel, kernel};
use super::lhs::{EncodedRows, LhsBuffer, row_stride};
use super::pack::PackedMatrix;
use crate::cpu::buffer_pool::resize_at_least;
use crate::cpu::parameters::Affine;
use crate::cpu::simd::simd_level;
use crate::cpu::workspace::with_workspace;

/// Up to this many rows, the time of a product is the time of reading its weights, so threads share
/// the weights instead of the rows.
const FEW_ROWS: usize = 64;

/// The number of rows that pass through an operation together: enough to reuse each weight often,
/// few enough for intermediate values to stay in the cache. Processors with AMX have a larger
/// cache, and multiply faster than weights arrive from more distant memory.
fn chunk_rows() -> usize {
    match simd_level() {
        #[cfg(target_arch = "x86_64")]
        crate::cpu::simd::SimdLevel::Amx => 320,
        _ => 160,
    }
}

/// The format in which this machine multiplies the tokens of an image or a sequence by columns of a
/// format.
///
/// It depends only on whether there is a single token, as in a step of the decoder. It depends
/// neither on the size of the batch nor on the padding that a longer sequence of the batch causes.
pub(crate) fn lhs_format(columns: Format, tokens: usize) -> LhsFormat {
    let multiplied = |rows| kernel(columns, rows).is_some();
    if tokens > 1 && multiplied(LhsFormat::SplitInt8) {
        return LhsFormat::SplitInt8;
    }
    match columns.lhs() {
        rows if multiplied(rows) => rows,
        _ => LhsFormat::F32,
    }
}

/// A part of a weight: some panels of outputs and some blocks of inputs.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) panels: Range<usize>,
    pub(crate) blocks: Range<usize>,
}

impl Part {
    pub(crate) fn whole(weight: &PackedMatrix) -> Self {
        Self {
            panels: 0..weight.panels(),
            blocks: 0..weight.blocks().len(),
        }
    }
}

/// `result (+)= rows * weight^T + bias` for a part of the weight. The rows hold its inputs, and the
/// result and the bias its outputs. Rows of the result are `row_stride` apart.
pub(crate) fn multiply(
    rows: EncodedRows<'_>,
    weight: &PackedMatrix,
    part: &Part,
    result: &mut [f32],
    row_stride: usize,
    epilogue: Epilogue<'_>,
) {
    // INVARIANT: `lhs_format` returns formats that there is a kernel for.
    let kernel = kernel(weight.format, rows.format).expect("a kernel for both formats");
    let mut multiply_block = |(index, k): (usize, Range<usize>), (slot, panel)| {
        let begins = index == part.blocks.start;
        let count = match rows.format {
            LhsFormat::F32 => weight.inputs_in(&k),
            _ => k.len(),
        };
        let column = slot * PANEL;
        let epilogue = Epilogue {
            accumulate: epilogue.accumulate || !begins,
            bias: epilogue.bias.filter(|_| begins).map(|bias| &bias[column..]),
            row_scales: rows.scales(index - part.blocks.start),
            quantised: weight.quantised(panel, index),
        };
        let inputs_before = (index - part.blocks.start) * weight.format.block();
        let lhs = rows.operand(rows.format.words(inputs_before));
        let rhs = weight.panel(panel, k);
        kernel.multiply(count, lhs, rhs, &mut result[column..], row_stride, epilogue);
    };
    let blocks = weight.blocks().enumerate();
    let blocks = blocks.skip(part.blocks.start).take(part.blocks.len());
    let panels = part.panels.clone().enumerate();
    if rows.rows <= FEW_ROWS {
        // In the order of the weight in memory, from which it is read.
        for panel in panels {
            for block in blocks.clone() {
                multiply_block(block, panel);
            }
        }
    } else {
        for block in blocks {
            for panel in panels.clone() {
                multiply_block(block.clone(), panel);
            }
        }
    }
}

/// `rows * weight^T + bias`, rows `row_stride(outputs)` apart in `result`.
pub(crate) fn affine<'a>(
    rows: EncodedRows<'_>,
    linear: &Affine<'_>,
    result: &'a mut Vec<f32>,
) -> &'a mut [f32] {
    let stride = row_stride(linear.weight.outputs);
    let result = resize_at_least(result, rows.rows * stride);
    let epilogue = Epilogue::with_bias(linear.bias());
    let part = Part::whole(linear.weight);
    multiply(rows, linear.weight, &part, result, stride, epilogue);
    result
}

/// Computes q, k and v of the heads in `columns` side by side. Returns them and the distance
/// between rows.
pub(crate) fn qkv_of<'a>(
    rows: EncodedRows<'_>,
    qkv: &Affine<'_>,
    columns: &Range<usize>,
    result: &'a mut Vec<f32>,
) -> (&'a mut [f32], usize) {
    let channels = qkv.weight.outputs / 3;
    let stride = row_stride(3 * columns.len());
    let result = resize_at_least(result, rows.rows * stride);
    // All three in one product, since they need not be whole panels.
    let parts = if columns.len() == channels { 1 } else { 3 };
    let width = 3 * columns.len() / parts;
    for part in 0..parts {
        let first = part * channels + columns.start;
        let panels = first / PANEL..(first + width).div_ceil(PANEL);
        let part_of_weight = Part {
            panels,
            ..Part::whole(qkv.weight)
        };
        let epilogue = Epilogue::with_bias(qkv.bias().map(|bias| &bias[first..]));
        let result = &mut result[part * width..];
        multiply(rows, qkv.weight, &part_of_weight, result, stride, epilogue);
    }
    (result, stride)
}

/// The columns of the heads that [`qkv_of`] computes at a time: the fewest heads that make whole
/// panels, so that operations on them stay in the first-level cache, or all heads.
pub(crate) fn heads_together(
    channels: usize,
    head_dim: usize,
) -> impl Iterator<Item = Range<usize>> {
    let width = (head_dim..channels)
        .step_by(head_dim)
        .find(|width| width.is_multiple_of(PANEL) && channels.is_multiple_of(*width))
        .unwrap_or(channels);
    (0..channels)
        .step_by(width)
        .map(move |first| first..first + width)
}

/// The number of rows per task if the sums of tasks are added up. The number of tasks is a power of
/// two, so that two, four or eight threads finish together. It does not depend on the number of
/// threads, and neither do the sums.
pub(crate) fn rows_per_sum(rows: usize) -> usize {
    let tasks = rows.div_ceil(chunk_rows()).next_power_of_two();
    rows.div_ceil(tasks).max(1)
}

/// The number of rows per task if no sum crosses tasks: [`rows_per_sum`], or fewer so that every
/// thread has a task.
pub(crate) fn rows_per_task(rows: usize) -> usize {
    let shared = rows.div_ceil(rayon::current_num_threads());
    rows_per_sum(rows).min(shared).max(1)
}

/// Linear layers with the same input, any number of sequences of `tokens` tokens. Returns one
/// result per layer.
pub(crate) fn linears(input: &[f32], tokens: usize, linears: &[Affine<'_>]) -> Vec<Vec<f32>> {
    let Some(first) = linears.first() else {
        return Vec::new();
    };
    let inputs = first.weight.inputs;
    match input.len() / inputs {
        0 => vec![Vec::new(); linears.len()],
        1..=FEW_ROWS => few_rows(input, tokens, linears),
        _ => many_rows(input, tokens, linears),
    }
}

/// A linear layer of any number of sequences of `tokens` tokens.
pub(crate) fn linear(input: &[f32], tokens: usize, linear: &Affine<'_>) -> Vec<f32> {
    let mut results = linears(input, tokens, std::slice::from_ref(linear));
    // INVARIANT: there is a result for each linear layer.
    results.pop().expect("one result")
}

/// Each task passes some of the rows through all layers.
fn many_rows(input: &[f32], tokens: usize, linears: &[Affine<'_>]) -> Vec<Vec<f32>> {
    let inputs = linears[0].weight.inputs;
    let count = input.len() / inputs;
    let per_task = rows_per_task(count);
    let mut results: Vec<Vec<f32>> = linears
        .iter()
        .map(|linear| vec![0.0; count * linear.weight.outputs])
        .collect();
    let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
    tasks.resize_with(count.div_ceil(per_task), Vec::new);
    for (linear, result) in linears.iter().zip(&mut results) {
        let parts = result.chunks_mut(per_task * linear.weight.outputs);
        for (task, part) in tasks.iter_mut().zip(parts) {
            task.push(part);
        }
    }
    let rows = input.par_chunks(per_task * inputs);
    tasks.into_par_iter().zip(rows).for_each(|(results, rows)| {
        with_workspace(|workspace| {
            let format = |linear: &Affine<'_>| lhs_format(linear.weight.format, tokens);
            let mut results = results.into_iter();
            for linears in linears.chunk_by(|a, b| format(a) == format(b)) {
                let rows = workspace
                    .rows
                    .encode(format(&linears[0]), rows, inputs, inputs);
                for (linear, result) in linears.iter().zip(&mut results) {
                    let weight = linear.weight;
                    let epilogue = Epilogue::with_bias(linear.bias());
                    let part = Part::whole(weight);
                    multiply(rows, weight, &part, result, weight.outputs, epilogue);
                }
            }
        });
    });
    results
}

/// Each weight is read once for all rows. Threads share its panels.
fn few_rows(input: &[f32], tokens: usize, linears: &[Affine<'_>]) -> Vec<Vec<f32>> {
    let inputs = linears[0].weight.inputs;
    let count = input.len() / inputs;
    let format_of = |linear: &Affine<'_>| lhs_format(linear.weight.format, tokens);
    let mut encoded: Vec<(LhsFormat, LhsBuffer)> = Vec::new();
    for format in linears.iter().map(format_of) {
        if encoded.iter().all(|(other, _)| *other != format) {
            encoded.push((format, LhsBuffer::default()));
        }
    }
    let encoded: Vec<EncodedRows<'_>> = encoded
        .iter_mut()
        .map(|(format, rows)| rows.encode(*format, input, inputs, inputs))
        .collect();
    // INVARIANT: the format of every layer's rows was encoded above.
    let rows_of = |format| {
        let rows = encoded.iter().find(|rows| rows.format == format);
        *rows.expect("rows in every layer's format")
    };
    let panels: usize = linears.iter().map(|linear| linear.weight.panels()).sum();
    // Several tasks per thread, so that threads finish together.
    let per_task = panels.div_ceil(8 * rayon::current_num_threads());
    let mut results: Vec<Vec<f32>> = linears
        .iter()
        .map(|linear| vec![0.0; count * linear.weight.outputs])
        .collect();
    let tasks: Vec<SomePanels<'_>> = linears
        .iter()
        .zip(&mut results)
        .flat_map(|(linear, result)| SomePanels::of(linear, result, per_task))
        .collect();
    tasks.into_par_iter().with_max_len(1).for_each(|task| {
        let rows = rows_of(format_of(task.linear));
        task.multiply(rows);
    });
    results
}

/// Some panels of a linear layer, and their part of each row of the result.
struct SomePanels<'a> {
    linear: &'a Affine<'a>,
    panels: Range<usize>,
    results: Vec<&'a mut [f32]>,
}

impl<'a> SomePanels<'a> {
    /// Divides the panels of a layer into tasks of `per_task` panels.
    fn of(linear: &'a Affine<'a>, result: &'a mut [f32], per_task: usize) -> Vec<Self> {
        let panels = linear.weight.panels();
        let firsts = (0..panels).step_by(per_task);
        let mut tasks: Vec<Self> = firsts
            .map(|first| Self {
                linear,
                panels: first..panels.min(first + per_task),
                results: Vec::new(),
            })
            .collect();
        for row in result.chunks_exact_mut(linear.weight.outputs) {
            for (task, part) in tasks.iter_mut().zip(row.chunks_mut(per_task * PANEL)) {
                task.results.push(part);
            }
        }
        tasks
    }

    fn multiply(mut self, rows: EncodedRows<'_>) {
        let Affine { weight, .. } = self.linear;
        let first = self.panels.start * PANEL;
        let columns = weight.outputs.min(self.panels.end * PANEL) - first;
        let part = Part {
            panels: self.panels,
            ..Part::whole(weight)
        };
        let epilogue = Epilogue::with_bias(self.linear.bias().map(|bias| &bias[first..]));
        if let [result] = &mut self.results[..] {
            return multiply(rows, weight, &part, result, columns, epilogue);
        }
        // The products are written side by side, then copied to their rows while they are in the
        // first-level cache.
        with_workspace(|workspace| {
            let products = resize_at_least(&mut workspace.inner, self.results.len() * columns);
            multiply(rows, weight, &part, products, columns, epilogue);
            for (result, products) in self.results.iter_mut().zip(products.chunks_exact(columns)) {
                result.copy_from_slice(products);
            }
        });
    }
}

/// `result (+)= lhs * rhs` for plain f32. The columns may lie anywhere in wider rows.
pub(crate) fn plain(
    lhs: Lhs<'_>,
    rhs: Rhs<'_>,
    k: usize,
    result: &mut [f32],
    row_stride: usize,
    epilogue: Epilogue<'_>,
) {
    f32_kernel().multiply(k, lhs, rhs, result, row_stride, epilogue);
}

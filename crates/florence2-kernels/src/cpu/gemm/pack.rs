//! A weight packed in the order in which products read it.
//!
//! Outputs are divided into panels of 32. A panel stores, input by input, the words of its outputs
//! side by side, so that a product reads it sequentially. Inputs are divided into blocks. An int8
//! product scales each block separately.
//!
//! f32 weights that f16 represents exactly, as in published checkpoints, are stored as f16.
//! Products are identical, and half as much memory is read.

use std::borrow::Cow;
use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::bf16::{bf16, encode_pairs};
use super::epilogue::Quantised;
use super::format::{Format, LhsFormat, PANEL};
use super::kernel::{Rhs, kernel};
use super::quantise::{QMAX, ZERO_POINT, max_abs, round_to_byte};
use crate::cpu::buffer_pool::resize_at_least;
use crate::cpu::cache_line::{LINE, Line};
use crate::cpu::simd::vectorised;
use crate::cpu::workspace::with_workspace;

/// A packed weight: `[outputs, inputs]`.
#[derive(Debug)]
pub(crate) struct PackedMatrix {
    pub(crate) format: Format,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    /// `[panel][k][32]`, in words; `[panel][k][16]` for f16.
    lines: Box<[Line]>,
    /// int8 only: a scale per output, padded to whole panels.
    scales: Vec<f32>,
    /// int8 only: [`ZERO_POINT`] times the sum of an output's weights in a block, `[panel][block][32]`.
    /// The offset adds it to a product.
    corrections: Vec<i32>,
    /// f32 and f16 only, for rows in split int8: the largest magnitude of an output's
    /// weights in a block, `[panel][block][32]`.
    column_max: Vec<f32>,
}

impl PackedMatrix {
    /// Packs a weight `[outputs, inputs]`.
    pub(crate) fn pack(values: &[f32], inputs: usize, format: Format) -> Self {
        let outputs = values.len() / inputs;
        let format = match format {
            Format::F32 if kernel(Format::F16, LhsFormat::F32).is_some() && are_f16(values) => {
                Format::F16
            }
            // A machine without products of f16 stores the same values as f32.
            Format::F16 if kernel(Format::F16, LhsFormat::F32).is_none() => {
                return Self::pack(&rounded_to_f16(values), inputs, Format::F32);
            }
            format => format,
        };
        let panel_size = PANEL * inputs;
        Self::pack_rows([outputs, inputs], format, |panel| {
            let first = panel * panel_size;
            Cow::Borrowed(&values[first..values.len().min(first + panel_size)])
        })
    }

    /// Packs the transpose, `[inputs, outputs]`, whose values are not quantised.
    pub(crate) fn transpose(&self) -> Self {
        let format = match self.format {
            Format::Int8 => Format::Bf16,
            format => format,
        };
        Self::pack_rows([self.inputs, self.outputs], format, |panel| {
            let first = panel * PANEL;
            Cow::Owned(self.inputs_of_all_outputs(first..self.inputs.min(first + PANEL)))
        })
    }

    /// Packs a weight `[outputs, inputs]` in a format. `rows` returns the up to 32 rows of a panel.
    fn pack_rows<'a>(
        [outputs, inputs]: [usize; 2],
        format: Format,
        rows: impl Fn(usize) -> Cow<'a, [f32]> + Sync,
    ) -> Self {
        let mut packed = Self::zeros(outputs, inputs, format);
        if kernel(format, LhsFormat::SplitInt8).is_some() {
            packed.allocate_column_max();
        }
        let blocks = packed.blocks().count();
        let panel_lines = packed.panel_lines();
        let column_max = packed.column_max.par_chunks_mut(PANEL * blocks);
        column_max.enumerate().for_each(|(panel, column_max)| {
            write_column_max_of_rows(&rows(panel), inputs, format, column_max);
        });
        let panels = packed.lines.par_chunks_mut(panel_lines).enumerate();
        match format {
            Format::F32 => panels.for_each(|(panel, lines)| {
                let lines = bytemuck::cast_slice_mut(lines);
                pack_panel(&rows(panel), inputs, 1, lines, |value| value[0].to_bits());
            }),
            Format::F16 => panels.for_each(|(panel, lines)| {
                let rows = rows(panel);
                let mut halves = vec![f16::ZERO; rows.len()];
                halves.convert_from_f32_slice(&rows);
                let lines = bytemuck::cast_slice_mut(lines);
                pack_panel(&halves, inputs, 1, lines, |value| value[0].to_bits());
            }),
            Format::Bf16 => panels.for_each(|(panel, lines)| {
                let lines = bytemuck::cast_slice_mut(lines);
                pack_panel(&rows(panel), inputs, 2, lines, |pair| {
                    bf16(pair[0]) | pair.get(1).map_or(0, |second| bf16(*second) << 16)
                });
            }),
            Format::Int8 => panels
                .zip(packed.scales.par_chunks_mut(PANEL))
                .zip(packed.corrections.par_chunks_mut(PANEL * blocks))
                .for_each(|(((panel, lines), scales), corrections)| {
                    let words = bytemuck::cast_slice_mut(lines);
                    quantise_panel(&rows(panel), inputs, words, scales);
                    write_corrections(words, corrections);
                }),
        }
        packed
    }

    /// Creates an f32 or bf16 matrix to be multiplied by rows of format `rows`. `write` fills each
    /// panel, `[inputs][32]`.
    pub(crate) fn from_panels(
        [outputs, inputs]: [usize; 2],
        format: Format,
        rows: LhsFormat,
        write: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let mut packed = Self::zeros(outputs, inputs, format);
        if rows == LhsFormat::SplitInt8 {
            packed.allocate_column_max();
        }
        let panel_lines = packed.panel_lines();
        let panels = packed.lines.par_chunks_mut(panel_lines).enumerate();
        panels.for_each(|(panel, lines)| {
            let words: &mut [u32] = bytemuck::cast_slice_mut(lines);
            if format == Format::F32 {
                write(panel, bytemuck::cast_slice_mut(words));
                return;
            }
            with_workspace(|workspace| {
                let values = resize_at_least(&mut workspace.outer, inputs * PANEL);
                values.fill(0.0);
                write(panel, values);
                let pairs = values.chunks(2 * PANEL);
                for (pair, words) in pairs.zip(words.chunks_exact_mut(PANEL)) {
                    let (first, second) = pair.split_at(PANEL);
                    encode_pairs(first, second, words);
                }
            });
        });
        let blocks = packed.blocks().len();
        let column_max = packed.column_max.par_chunks_mut(PANEL * blocks);
        let panels = packed.lines.par_chunks(panel_lines);
        column_max.zip(panels).for_each(|(column_max, lines)| {
            write_column_max_of_panel(bytemuck::cast_slice(lines), format, column_max);
        });
        packed
    }

    fn allocate_column_max(&mut self) {
        self.column_max = vec![0.0; self.panels() * PANEL * self.blocks().len()];
    }

    fn zeros(outputs: usize, inputs: usize, format: Format) -> Self {
        let panels = outputs.div_ceil(PANEL);
        let k = inputs.div_ceil(format.values_per_word());
        let (scales, corrections) = match format {
            Format::Int8 => (
                panels * PANEL,
                panels * PANEL * inputs.div_ceil(format.block()),
            ),
            _ => (0, 0),
        };
        Self {
            format,
            outputs,
            inputs,
            lines: zeroed(panels * k * format.panel_words() / LINE),
            scales: vec![0.0; scales],
            corrections: vec![0; corrections],
            column_max: Vec::new(),
        }
    }

    pub(crate) fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// The number of words of an output.
    fn k(&self) -> usize {
        self.inputs.div_ceil(self.format.values_per_word())
    }

    fn panel_lines(&self) -> usize {
        self.k() * self.format.panel_words() / LINE
    }

    /// The words of a panel in a range of `k`.
    fn words(&self, panel: usize, k: Range<usize>) -> &[u32] {
        let (first, k_stride) = (panel * self.k(), self.format.panel_words());
        let words: &[u32] = bytemuck::cast_slice(&self.lines);
        &words[(first + k.start) * k_stride..(first + k.end) * k_stride]
    }

    /// The range of `k` of each block.
    pub(crate) fn blocks(&self) -> impl ExactSizeIterator<Item = Range<usize>> + Clone + use<> {
        let (k, block) = (
            self.k(),
            self.format.block() / self.format.values_per_word(),
        );
        (0..k.div_ceil(block)).map(move |index| index * block..k.min((index + 1) * block))
    }

    /// The number of inputs in a range of `k`.
    pub(crate) fn inputs_in(&self, k: &Range<usize>) -> usize {
        let values = self.format.values_per_word();
        self.inputs.min(k.end * values) - k.start * values
    }

    /// The number of columns of a panel.
    pub(crate) fn columns(&self, panel: usize) -> usize {
        PANEL.min(self.outputs - panel * PANEL)
    }

    /// A panel in a range of `k`, as a product's right operand.
    pub(crate) fn panel(&self, panel: usize, k: Range<usize>) -> Rhs<'_> {
        Rhs {
            words: self.words(panel, k.clone()),
            n: self.columns(panel),
            k_stride: self.format.panel_words(),
            column_max: self.column_max(panel, &k),
            next: match panel + 1 {
                next if next < self.panels() => self.words(next, k),
                _ => &[],
            },
        }
    }

    /// The largest magnitude of each column in the block that contains `k`.
    fn column_max(&self, panel: usize, k: &Range<usize>) -> Option<&[f32; PANEL]> {
        let block = k.start * self.format.values_per_word() / self.format.block();
        let column_max = self.column_max.as_chunks().0;
        column_max.get(panel * self.blocks().len() + block)
    }

    /// The scales and corrections of the sums over a block; `None` if the format is not int8.
    pub(crate) fn quantised(&self, panel: usize, block: usize) -> Option<Quantised<'_>> {
        let corrections = panel * self.blocks().len() + block;
        Some(Quantised {
            scales: self.scales.as_chunks().0.get(panel)?,
            corrections: self.corrections.as_chunks().0.get(corrections)?,
        })
    }

    /// The weights of one output.
    pub(crate) fn output(&self, output: usize) -> Vec<f32> {
        let (panel, column) = (output / PANEL, output % PANEL);
        let words = self.words(panel, 0..self.k());
        if self.format == Format::F16 {
            let halves: &[u16] = bytemuck::cast_slice(words);
            let halves = halves[column..].iter().step_by(PANEL);
            return halves.map(|half| f16::from_bits(*half).to_f32()).collect();
        }
        let scale = self.scales.get(output).copied().unwrap_or(1.0);
        let values = self.format.values_per_word();
        (0..self.inputs)
            .map(|input| {
                let word = words[input / values * PANEL + column];
                value(word, self.format, input % values) * scale
            })
            .collect()
    }

    /// The weights of some inputs, `[inputs, outputs]`.
    fn inputs_of_all_outputs(&self, inputs: Range<usize>) -> Vec<f32> {
        let mut result = vec![0.0; inputs.len() * self.outputs];
        let per_word = self.format.values_per_word();
        for panel in 0..self.panels() {
            let words = self.words(panel, 0..self.k());
            let halves: &[u16] = bytemuck::cast_slice(words);
            let first = panel * PANEL;
            let rows = inputs.clone().zip(result.chunks_exact_mut(self.outputs));
            for (input, row) in rows {
                for (column, value_of) in row[first..][..self.columns(panel)].iter_mut().enumerate()
                {
                    let place = input / per_word * PANEL + column;
                    let scale = self.scales.get(first + column).copied().unwrap_or(1.0);
                    *value_of = scale
                        * if self.format == Format::F16 {
                            f16::from_bits(halves[place]).to_f32()
                        } else {
                            value(words[place], self.format, input % per_word)
                        };
                }
            }
        }
        result
    }

    /// All weights, `[outputs, inputs]`.
    pub(crate) fn unpack(&self) -> Vec<f32> {
        let outputs = (0..self.outputs).into_par_iter();
        outputs
            .flat_map_iter(|output| self.output(output))
            .collect()
    }
}

/// Zeroed lines from the system. The threads that pack them touch them first.
#[allow(unsafe_code)]
fn zeroed(count: usize) -> Box<[Line]> {
    // SAFETY: zeros are valid lines.
    unsafe { Box::new_zeroed_slice(count).assume_init() }
}

/// The value in a part of a word.
fn value(word: u32, format: Format, part: usize) -> f32 {
    match format {
        Format::F32 => f32::from_bits(word),
        // INVARIANT: f16 has no words of its own, and `output` reads it separately.
        Format::F16 => unreachable!("a word of f16"),
        Format::Bf16 => f32::from_bits((word >> (16 * part)) << 16),
        Format::Int8 => f32::from((word >> (8 * part)) as i8),
    }
}

/// Rounds the values to f16.
fn rounded_to_f16(values: &[f32]) -> Vec<f32> {
    let round = |value: &f32| f16::from_f32(*value).to_f32();
    values.par_iter().map(round).collect()
}

/// Returns whether f16 represents every value exactly.
fn are_f16(values: &[f32]) -> bool {
    /// The number of values that are converted to f16 and back at a time, in the first-level cache.
    const PART: usize = 1 << 10;
    values.par_chunks(PART).all(|values| {
        let (mut halves, mut back) = ([f16::ZERO; PART], [0.0; PART]);
        let (halves, back) = (&mut halves[..values.len()], &mut back[..values.len()]);
        halves.convert_from_f32_slice(values);
        halves.convert_to_f32_slice(back);
        let mut pairs = values.iter().zip(&*back);
        pairs.all(|(value, back)| value.to_bits() == back.to_bits() && value.is_finite())
    })
}

/// Packs up to 32 rows `[inputs]` side by side. `encode` returns a word from its values.
fn pack_panel<Value, Word>(
    rows: &[Value],
    inputs: usize,
    values: usize,
    panel: &mut [[Word; PANEL]],
    encode: impl Fn(&[Value]) -> Word,
) {
    /// The number of words of all rows that are packed at a time, so that source and destination
    /// stay in the cache.
    const PART: usize = 16;
    for (part, panel) in panel.chunks_mut(PART).enumerate() {
        let first = part * PART * values;
        for (column, row) in rows.chunks_exact(inputs).enumerate() {
            let row = &row[first..inputs.min(first + PART * values)];
            for (words, values) in panel.iter_mut().zip(row.chunks(values)) {
                words[column] = encode(values);
            }
        }
    }
}

/// Writes the largest magnitudes of rows `[inputs]` in each block: `[block][32]`.
fn write_column_max_of_rows(rows: &[f32], inputs: usize, format: Format, column_max: &mut [f32]) {
    for (column, row) in rows.chunks_exact(inputs).enumerate() {
        let blocks = row.chunks(format.block()).map(max_abs);
        let column_max = column_max[column..].iter_mut().step_by(PANEL);
        column_max.zip(blocks).for_each(|(into, max)| *into = max);
    }
}

/// Like [`write_column_max_of_rows`], for a panel `[inputs][32]` of f32.
fn write_column_max_of_panel(panel: &[[f32; PANEL]], format: Format, column_max: &mut [f32]) {
    let blocks = panel.chunks(format.block());
    for (rows, column_max) in blocks.zip(column_max.as_chunks_mut::<PANEL>().0) {
        for row in rows {
            for (max, value) in column_max.iter_mut().zip(row) {
                // Without the sign, the bits of floats have the order of their values, NaN above
                // all.
                let bits = max.to_bits().max(value.abs().to_bits());
                *max = f32::from_bits(bits);
            }
        }
    }
}

/// Like [`pack_panel`], with each row divided by its scale.
fn quantise_panel(rows: &[f32], inputs: usize, panel: &mut [[u32; PANEL]], scales: &mut [f32]) {
    let mut quantised = vec![0_u32; panel.len()];
    for (column, (row, scale)) in rows.chunks_exact(inputs).zip(scales).enumerate() {
        let max_abs = max_abs(row);
        // Any scale is valid for a row of zeros.
        *scale = if max_abs > 0.0 { max_abs / QMAX } else { 1.0 };
        let inverse = 1.0 / *scale;
        quantised.fill(0);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut quantised);
        vectorised(
            #[inline(always)]
            |_| {
                for (byte, value) in bytes.iter_mut().zip(row) {
                    *byte = round_to_byte(value * inverse);
                }
            },
        );
        for (words, word) in panel.iter_mut().zip(&quantised) {
            words[column] = *word;
        }
    }
}

/// Writes [`ZERO_POINT`] times the sums over each block.
fn write_corrections(panel: &[[u32; PANEL]], corrections: &mut [i32]) {
    let block = Format::Int8.block() / Format::Int8.values_per_word();
    for (rows, corrections) in panel.chunks(block).zip(corrections.chunks_exact_mut(PANEL)) {
        for words in rows {
            for (correction, word) in corrections.iter_mut().zip(words) {
                let bytes = word.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
                *correction += ZERO_POINT * bytes.iter().sum::<i32>();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transpose_has_the_values_of_the_weight() {
        for [outputs, inputs] in [[70, 45], [32, 64], [1, 3], [5, 1]] {
            let values: Vec<f32> = (0..outputs * inputs)
                .map(|index| (index as f32 * 0.37).sin())
                .collect();
            for format in [Format::F32, Format::F16, Format::Bf16, Format::Int8] {
                let packed = PackedMatrix::pack(&values, inputs, format);
                let transpose = packed.transpose();
                assert_eq!([transpose.outputs, transpose.inputs], [inputs, outputs]);
                let (values, transposed) = (packed.unpack(), transpose.unpack());
                // A transpose of int8 is rounded to bf16.
                let tolerance = if format == Format::Int8 { 0.004 } else { 0.0 };
                for (index, found) in transposed.iter().enumerate() {
                    let expected = values[index % outputs * inputs + index / outputs];
                    let difference = (found - expected).abs();
                    assert!(difference <= tolerance, "{format:?}: {found}, {expected}");
                }
            }
        }
    }
}

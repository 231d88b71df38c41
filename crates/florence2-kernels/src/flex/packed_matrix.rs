//! A weight in the order in which products read it.
//!
//! Outputs are cut into panels of 32. A panel holds, input by input, the words of its outputs side
//! by side, so that a product reads it from front to back. Inputs are cut into blocks, of which an
//! int8 product scales each by itself.

use rayon::prelude::*;

use super::bf16::{bf16, encode_pairs};
use super::rows::sized;
use super::scratch::with_scratch;
use super::tile::{Format, PANEL, Quantised, Right, kernel};
use crate::Precision;

/// A packed weight: `[outputs, inputs]`.
#[derive(Debug)]
pub(crate) struct PackedMatrix {
    pub(super) format: Format,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// `[panel][step][32]`.
    lines: Box<[Line]>,
    /// Of int8: a scale per output, padded to whole panels.
    scales: Vec<f32>,
    /// Of int8: 128 times the sum of an output's weights in a block, `[panel][block][32]`: what the
    /// activations' offset adds to a product.
    corrections: Vec<i32>,
}

/// A step of a panel, on a cache line's border.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; PANEL]);

// SAFETY: a line is its 32 words: no padding, any bits.
#[allow(unsafe_code)]
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl bytemuck::Pod for Line {}

/// The activations' zero as an unsigned byte.
pub(super) const OFFSET: i32 = 128;

/// The largest magnitude of an int8 value.
pub(super) const LARGEST: f32 = 127.0;

impl Precision {
    pub(super) fn format(self) -> Format {
        match self {
            Self::F32 => Format::F32,
            Self::Bf16 => Format::Bf16,
            Self::Int8 => Format::Int8,
        }
    }
}

impl Format {
    /// Inputs of a block: what they and a panel's weights take up stays in the cache.
    pub(super) fn block(self) -> usize {
        match self {
            Self::F32 => 512,
            Self::Bf16 | Self::Int8 => 1024,
        }
    }
}

impl PackedMatrix {
    /// Packs `[outputs, inputs]`.
    pub(super) fn pack(values: &[f32], inputs: usize, precision: Precision) -> Self {
        let outputs = values.len() / inputs;
        let mut packed = Self::zeros(outputs, inputs, precision.format());
        let steps = packed.steps();
        let blocks = packed.blocks().count();
        let format = packed.format;
        let panels = packed.lines.par_chunks_mut(steps);
        let values = values.par_chunks(PANEL * inputs);
        match format {
            Format::F32 | Format::Bf16 => panels.zip(values).for_each(|(lines, rows)| {
                pack_panel(rows, inputs, lines, format);
            }),
            Format::Int8 => panels
                .zip(values)
                .zip(packed.scales.par_chunks_mut(PANEL))
                .zip(packed.corrections.par_chunks_mut(PANEL * blocks))
                .for_each(|(((lines, rows), scales), corrections)| {
                    quantise_panel(rows, inputs, lines, scales);
                    correct(lines, corrections);
                }),
        }
        packed
    }

    /// A matrix of f32 or bf16, whose panels, `[inputs][32]`, `write` gives.
    pub(super) fn from_panels(
        outputs: usize,
        inputs: usize,
        format: Format,
        write: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let mut packed = Self::zeros(outputs, inputs, format);
        let steps = packed.steps();
        let panels = packed.lines.par_chunks_mut(steps).enumerate();
        panels.for_each(|(panel, lines)| {
            let words = words_mut(lines);
            if format == Format::F32 {
                write(panel, bytemuck::cast_slice_mut(words));
                return;
            }
            with_scratch(|scratch| {
                let values = sized(&mut scratch.outer, inputs * PANEL);
                values.fill(0.0);
                write(panel, values);
                let pairs = values.chunks(2 * PANEL);
                for (pair, words) in pairs.zip(words.chunks_exact_mut(PANEL)) {
                    let (first, second) = pair.split_at(PANEL);
                    encode_pairs(first, second, words);
                }
            });
        });
        packed
    }

    fn zeros(outputs: usize, inputs: usize, format: Format) -> Self {
        let panels = outputs.div_ceil(PANEL);
        let steps = inputs.div_ceil(format.values());
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
            lines: zeroed(panels * steps),
            scales: vec![0.0; scales],
            corrections: vec![0; corrections],
        }
    }

    /// The format in which this machine multiplies by this weight.
    pub(super) fn row_format(&self) -> Format {
        match kernel(self.format) {
            Some(_) => self.format,
            None => Format::F32,
        }
    }

    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    fn steps(&self) -> usize {
        self.inputs.div_ceil(self.format.values())
    }

    /// The steps of each block.
    pub(super) fn blocks(&self) -> impl ExactSizeIterator<Item = std::ops::Range<usize>> + use<> {
        let (steps, block) = (self.steps(), self.format.block() / self.format.values());
        (0..steps.div_ceil(block)).map(move |index| index * block..steps.min((index + 1) * block))
    }

    /// How many inputs a block's steps hold.
    pub(super) fn inputs_of(&self, steps: &std::ops::Range<usize>) -> usize {
        let values = self.format.values();
        self.inputs.min(steps.end * values) - steps.start * values
    }

    /// Columns of a panel.
    pub(super) fn columns(&self, panel: usize) -> usize {
        PANEL.min(self.outputs - panel * PANEL)
    }

    /// Steps of a panel.
    pub(super) fn panel(&self, panel: usize, steps: std::ops::Range<usize>) -> Right<'_> {
        let first = panel * self.steps();
        Right {
            words: words(&self.lines[first + steps.start..first + steps.end]),
            columns: self.columns(panel),
            step: PANEL,
        }
    }

    /// What the sums over a block stand for, of int8.
    pub(super) fn quantised(&self, panel: usize, block: usize) -> Option<Quantised<'_>> {
        let corrections = panel * self.blocks().len() + block;
        Some(Quantised {
            scales: self.scales.as_chunks().0.get(panel)?,
            corrections: self.corrections.as_chunks().0.get(corrections)?,
        })
    }

    /// Steps of a panel widened to f32, `[step * values][32]`: for machines that do not multiply
    /// the format.
    pub(super) fn widen(&self, panel: usize, steps: std::ops::Range<usize>, into: &mut Vec<f32>) {
        let values = self.format.values();
        into.clear();
        into.resize(steps.len() * values * PANEL, 0.0);
        let first = panel * self.steps();
        let lines = &self.lines[first + steps.start..first + steps.end];
        let scales = self.scales.as_chunks::<PANEL>().0.get(panel);
        for (line, into) in lines.iter().zip(into.chunks_exact_mut(values * PANEL)) {
            for (part, into) in into.chunks_exact_mut(PANEL).enumerate() {
                widen_line(line, self.format, part, scales, into);
            }
        }
    }

    /// The inputs of one output.
    pub(super) fn output(&self, output: usize) -> Vec<f32> {
        let (panel, column) = (output / PANEL, output % PANEL);
        let steps = self.steps();
        let lines = &self.lines[panel * steps..(panel + 1) * steps];
        let scale = self.scales.get(output).copied().unwrap_or(1.0);
        let values = self.format.values();
        (0..self.inputs)
            .map(|input| {
                value(lines[input / values].0[column], self.format, input % values) * scale
            })
            .collect()
    }

    /// `[outputs, inputs]`.
    pub(super) fn unpack(&self) -> Vec<f32> {
        let outputs = (0..self.outputs).into_par_iter();
        outputs
            .flat_map_iter(|output| self.output(output))
            .collect()
    }
}

/// Lines of zeros as the system gives them, which are first touched by the threads that pack them.
#[allow(unsafe_code)]
fn zeroed(count: usize) -> Box<[Line]> {
    // SAFETY: zeros are valid lines.
    unsafe { Box::new_zeroed_slice(count).assume_init() }
}

/// The value in a part of a word.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be vectorised with its caller"
)]
fn value(word: u32, format: Format, part: usize) -> f32 {
    match format {
        Format::F32 => f32::from_bits(word),
        Format::Bf16 => f32::from_bits((word >> (16 * part)) << 16),
        Format::Int8 => f32::from((word >> (8 * part)) as i8),
    }
}

fn widen_line(
    line: &Line,
    format: Format,
    part: usize,
    scales: Option<&[f32; PANEL]>,
    into: &mut [f32],
) {
    super::level::vectorised(
        #[inline(always)]
        |_| match (format, scales) {
            (Format::Int8, Some(scales)) => {
                for ((into, word), scale) in into.iter_mut().zip(line.0).zip(scales) {
                    *into = value(word, Format::Int8, part) * scale;
                }
            }
            _ => {
                for (into, word) in into.iter_mut().zip(line.0) {
                    *into = value(word, format, part);
                }
            }
        },
    );
}

fn words(lines: &[Line]) -> &[u32] {
    // A line is its 32 words.
    bytemuck::cast_slice(lines)
}

fn words_mut(lines: &mut [Line]) -> &mut [u32] {
    bytemuck::cast_slice_mut(lines)
}

/// The nearest integer, of up to 8 bits in either sign, as a byte.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be vectorised with its caller"
)]
pub(super) fn nearest(value: f32) -> u8 {
    /// Adding it leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    (value + ROUND).to_bits() as u8
}

/// Words of up to 32 rows `[inputs]` side by side.
fn pack_panel(rows: &[f32], inputs: usize, lines: &mut [Line], format: Format) {
    let values = format.values();
    // A few steps of all rows at a time, so that both sides stay in the cache.
    const STEPS: usize = 16;
    for (part, lines) in lines.chunks_mut(STEPS).enumerate() {
        let first = part * STEPS * values;
        for (column, row) in rows.chunks_exact(inputs).enumerate() {
            let row = &row[first..inputs.min(first + STEPS * values)];
            match format {
                Format::Bf16 => {
                    for (line, pair) in lines.iter_mut().zip(row.chunks(2)) {
                        let second = pair.get(1).map_or(0, |value| bf16(*value));
                        line.0[column] = bf16(pair[0]) | second << 16;
                    }
                }
                _ => {
                    for (line, value) in lines.iter_mut().zip(row) {
                        line.0[column] = value.to_bits();
                    }
                }
            }
        }
    }
}

/// As [`pack_panel`], each row divided by its scale.
fn quantise_panel(rows: &[f32], inputs: usize, lines: &mut [Line], scales: &mut [f32]) {
    let mut quantised = vec![0_u32; lines.len()];
    for (column, (row, scale)) in rows.chunks_exact(inputs).zip(scales).enumerate() {
        let largest = super::rows::magnitude(row);
        // A row of zeros has any scale.
        *scale = if largest > 0.0 {
            largest / LARGEST
        } else {
            1.0
        };
        let inverse = 1.0 / *scale;
        quantised.fill(0);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut quantised);
        super::level::vectorised(
            #[inline(always)]
            |_| {
                for (byte, value) in bytes.iter_mut().zip(row) {
                    *byte = nearest(value * inverse);
                }
            },
        );
        for (line, word) in lines.iter_mut().zip(&quantised) {
            line.0[column] = *word;
        }
    }
}

/// 128 times the sums over each block.
fn correct(lines: &[Line], corrections: &mut [i32]) {
    let block = Format::Int8.block() / Format::Int8.values();
    for (lines, corrections) in lines.chunks(block).zip(corrections.chunks_exact_mut(PANEL)) {
        for line in lines {
            for (correction, word) in corrections.iter_mut().zip(line.0) {
                let bytes = word.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
                *correction += OFFSET * bytes.iter().sum::<i32>();
            }
        }
    }
}

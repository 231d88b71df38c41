//! A weight packed in the order in which products read it.
//!
//! Outputs are divided into panels of 32. A panel stores, input by input, the words of its outputs
//! side by side, so that a product reads it sequentially. Inputs are divided into blocks. An int8
//! product scales each block separately.
//!
//! f32 weights that f16 represents exactly, as in published checkpoints, are stored as f16.
//! Products are identical, and half as much memory is read.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use crate::Precision;
use crate::cpu::cache_line::{LINE, Line};
use crate::cpu::gemm::bf16::{bf16, encode_pairs};
use crate::cpu::gemm::kernel::{Format, PANEL, Quantised, Right, RowFormat, kernel};
use crate::cpu::gemm::lhs::sized;
use crate::cpu::workspace::with_scratch;

/// A packed weight: `[outputs, inputs]`.
#[derive(Debug)]
pub(crate) struct PackedMatrix {
    pub(crate) format: Format,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    /// `[panel][step]`: the words of each step.
    lines: Box<[Line]>,
    /// int8 only: a scale per output, padded to whole panels.
    scales: Vec<f32>,
    /// int8 only: [`OFFSET`] times the sum of an output's weights in a block, `[panel][block][32]`.
    /// The offset adds it to a product.
    corrections: Vec<i32>,
    /// f32 and f16 only, if rows are multiplied in digits: the largest magnitude of an output's
    /// weights in a block, `[panel][block][32]`.
    largest: Vec<f32>,
}

/// The zero point of int8 activations: x86's dot products take unsigned bytes, ARM's signed ones.
pub(crate) const OFFSET: i32 = if cfg!(target_arch = "aarch64") {
    0
} else {
    128
};

/// The largest magnitude of an int8 value.
pub(crate) const LARGEST: f32 = 127.0;

impl Precision {
    pub(crate) fn format(self) -> Format {
        match self {
            Self::F32 => Format::F32,
            Self::F16 => Format::F16,
            Self::Bf16 => Format::Bf16,
            Self::Int8 => Format::Int8,
        }
    }
}

impl Format {
    /// The number of inputs of a block. The inputs and the panel's weights for them stay in the
    /// cache. f16 has the block of f32, so that sums are the same.
    pub(crate) fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 512,
            Self::Bf16 | Self::Int8 => 1024,
        }
    }

    /// The number of words of a step of a panel.
    fn step(self) -> usize {
        match self {
            Self::F16 => PANEL / 2,
            Self::F32 | Self::Bf16 | Self::Int8 => PANEL,
        }
    }
}

impl PackedMatrix {
    /// Packs a weight `[outputs, inputs]`.
    pub(crate) fn pack(values: &[f32], inputs: usize, precision: Precision) -> Self {
        let outputs = values.len() / inputs;
        let format = match precision.format() {
            Format::F32 if kernel(Format::F16, RowFormat::F32).is_some() && are_f16(values) => {
                Format::F16
            }
            // A machine without products of f16 stores the same values as f32.
            Format::F16 if kernel(Format::F16, RowFormat::F32).is_none() => {
                return Self::pack(&rounded_to_f16(values), inputs, Precision::F32);
            }
            format => format,
        };
        let mut packed = Self::zeros(outputs, inputs, format);
        if kernel(format, RowFormat::Digits).is_some() {
            packed.make_room_for_largest();
        }
        let blocks = packed.blocks().count();
        let panel_lines = packed.panel_lines();
        let panels = packed.lines.par_chunks_mut(panel_lines);
        let values = values.par_chunks(PANEL * inputs);
        let largest = packed.largest.par_chunks_mut(PANEL * blocks);
        largest.zip(values.clone()).for_each(|(largest, rows)| {
            largest_of_rows(rows, inputs, format, largest);
        });
        match format {
            Format::F32 => panels.zip(values).for_each(|(lines, rows)| {
                pack_panel(rows, inputs, 1, bytemuck::cast_slice_mut(lines), |value| {
                    value[0].to_bits()
                });
            }),
            Format::F16 => panels.zip(values).for_each(|(lines, rows)| {
                let mut halves = vec![f16::ZERO; rows.len()];
                halves.convert_from_f32_slice(rows);
                pack_panel(
                    &halves,
                    inputs,
                    1,
                    bytemuck::cast_slice_mut(lines),
                    |value| value[0].to_bits(),
                );
            }),
            Format::Bf16 => panels.zip(values).for_each(|(lines, rows)| {
                pack_panel(rows, inputs, 2, bytemuck::cast_slice_mut(lines), |pair| {
                    bf16(pair[0]) | pair.get(1).map_or(0, |second| bf16(*second) << 16)
                });
            }),
            Format::Int8 => panels
                .zip(values)
                .zip(packed.scales.par_chunks_mut(PANEL))
                .zip(packed.corrections.par_chunks_mut(PANEL * blocks))
                .for_each(|(((lines, rows), scales), corrections)| {
                    let steps = bytemuck::cast_slice_mut(lines);
                    quantise_panel(rows, inputs, steps, scales);
                    correct(steps, corrections);
                }),
        }
        packed
    }

    /// Creates an f32 or bf16 matrix to be multiplied by rows of format `rows`. `write` fills each
    /// panel, `[inputs][32]`.
    pub(crate) fn from_panels(
        [outputs, inputs]: [usize; 2],
        format: Format,
        rows: RowFormat,
        write: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let mut packed = Self::zeros(outputs, inputs, format);
        if rows == RowFormat::Digits {
            packed.make_room_for_largest();
        }
        let panel_lines = packed.panel_lines();
        let panels = packed.lines.par_chunks_mut(panel_lines).enumerate();
        panels.for_each(|(panel, lines)| {
            let words: &mut [u32] = bytemuck::cast_slice_mut(lines);
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
        let blocks = packed.blocks().len();
        let largest = packed.largest.par_chunks_mut(PANEL * blocks);
        let panels = packed.lines.par_chunks(panel_lines);
        largest.zip(panels).for_each(|(largest, lines)| {
            largest_of_steps(bytemuck::cast_slice(lines), format, largest);
        });
        packed
    }

    fn make_room_for_largest(&mut self) {
        self.largest = vec![0.0; self.panels() * PANEL * self.blocks().len()];
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
            lines: zeroed(panels * steps * format.step() / LINE),
            scales: vec![0.0; scales],
            corrections: vec![0; corrections],
            largest: Vec::new(),
        }
    }

    pub(crate) fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    fn steps(&self) -> usize {
        self.inputs.div_ceil(self.format.values())
    }

    fn panel_lines(&self) -> usize {
        self.steps() * self.format.step() / LINE
    }

    /// The words of a range of steps of a panel.
    fn words(&self, panel: usize, steps: std::ops::Range<usize>) -> &[u32] {
        let (first, step) = (panel * self.steps(), self.format.step());
        let words: &[u32] = bytemuck::cast_slice(&self.lines);
        &words[(first + steps.start) * step..(first + steps.end) * step]
    }

    /// The range of steps of each block.
    pub(crate) fn blocks(
        &self,
    ) -> impl ExactSizeIterator<Item = std::ops::Range<usize>> + Clone + use<> {
        let (steps, block) = (self.steps(), self.format.block() / self.format.values());
        (0..steps.div_ceil(block)).map(move |index| index * block..steps.min((index + 1) * block))
    }

    /// The number of inputs in a range of steps.
    pub(crate) fn inputs_of(&self, steps: &std::ops::Range<usize>) -> usize {
        let values = self.format.values();
        self.inputs.min(steps.end * values) - steps.start * values
    }

    /// The number of columns of a panel.
    pub(crate) fn columns(&self, panel: usize) -> usize {
        PANEL.min(self.outputs - panel * PANEL)
    }

    /// A range of steps of a panel, as a product's right operand.
    pub(crate) fn panel(&self, panel: usize, steps: std::ops::Range<usize>) -> Right<'_> {
        Right {
            words: self.words(panel, steps.clone()),
            columns: self.columns(panel),
            step: self.format.step(),
            largest: self.largest(panel, &steps),
            next: match panel + 1 {
                next if next < self.panels() => self.words(next, steps),
                _ => &[],
            },
        }
    }

    /// The largest magnitude of each column in the block of the steps.
    fn largest(&self, panel: usize, steps: &std::ops::Range<usize>) -> Option<&[f32; PANEL]> {
        let block = steps.start * self.format.values() / self.format.block();
        let largest = self.largest.as_chunks().0;
        largest.get(panel * self.blocks().len() + block)
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
        let words = self.words(panel, 0..self.steps());
        if self.format == Format::F16 {
            let halves: &[u16] = bytemuck::cast_slice(words);
            let halves = halves[column..].iter().step_by(PANEL);
            return halves.map(|half| f16::from_bits(*half).to_f32()).collect();
        }
        let scale = self.scales.get(output).copied().unwrap_or(1.0);
        let values = self.format.values();
        (0..self.inputs)
            .map(|input| {
                let word = words[input / values * PANEL + column];
                value(word, self.format, input % values) * scale
            })
            .collect()
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

/// Rounds to the nearest integer, of up to 8 bits with or without sign, and returns it as a byte.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be vectorised with its caller"
)]
pub(crate) fn nearest(value: f32) -> u8 {
    /// Adding this constant leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    (value + ROUND).to_bits() as u8
}

/// Packs up to 32 rows `[inputs]` side by side. `encode` returns the word of a step from its
/// values.
fn pack_panel<Value, Word>(
    rows: &[Value],
    inputs: usize,
    values: usize,
    steps: &mut [[Word; PANEL]],
    encode: impl Fn(&[Value]) -> Word,
) {
    // A few steps of all rows at a time, so that source and destination stay in the cache.
    const STEPS: usize = 16;
    for (part, steps) in steps.chunks_mut(STEPS).enumerate() {
        let first = part * STEPS * values;
        for (column, row) in rows.chunks_exact(inputs).enumerate() {
            let row = &row[first..inputs.min(first + STEPS * values)];
            for (words, values) in steps.iter_mut().zip(row.chunks(values)) {
                words[column] = encode(values);
            }
        }
    }
}

/// The largest magnitude of rows `[inputs]` in each block: `[block][32]`.
fn largest_of_rows(rows: &[f32], inputs: usize, format: Format, largest: &mut [f32]) {
    for (column, row) in rows.chunks_exact(inputs).enumerate() {
        let blocks = row
            .chunks(format.block())
            .map(crate::cpu::gemm::lhs::magnitude);
        let largest = largest[column..].iter_mut().step_by(PANEL);
        largest
            .zip(blocks)
            .for_each(|(into, largest)| *into = largest);
    }
}

/// Like [`largest_of_rows`], for steps `[inputs][32]` of f32.
fn largest_of_steps(steps: &[[f32; PANEL]], format: Format, largest: &mut [f32]) {
    let blocks = steps.chunks(format.block());
    for (steps, largest) in blocks.zip(largest.as_chunks_mut::<PANEL>().0) {
        for step in steps {
            for (largest, value) in largest.iter_mut().zip(step) {
                // Without the sign, the bits of floats have the order of their values, NaN above
                // all.
                let bits = largest.to_bits().max(value.abs().to_bits());
                *largest = f32::from_bits(bits);
            }
        }
    }
}

/// Like [`pack_panel`], with each row divided by its scale.
fn quantise_panel(rows: &[f32], inputs: usize, steps: &mut [[u32; PANEL]], scales: &mut [f32]) {
    let mut quantised = vec![0_u32; steps.len()];
    for (column, (row, scale)) in rows.chunks_exact(inputs).zip(scales).enumerate() {
        let largest = crate::cpu::gemm::lhs::magnitude(row);
        // Any scale is valid for a row of zeros.
        *scale = if largest > 0.0 {
            largest / LARGEST
        } else {
            1.0
        };
        let inverse = 1.0 / *scale;
        quantised.fill(0);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut quantised);
        crate::cpu::simd::vectorised(
            #[inline(always)]
            |_| {
                for (byte, value) in bytes.iter_mut().zip(row) {
                    *byte = nearest(value * inverse);
                }
            },
        );
        for (words, word) in steps.iter_mut().zip(&quantised) {
            words[column] = *word;
        }
    }
}

/// Writes [`OFFSET`] times the sums over each block.
fn correct(steps: &[[u32; PANEL]], corrections: &mut [i32]) {
    let block = Format::Int8.block() / Format::Int8.values();
    for (steps, corrections) in steps.chunks(block).zip(corrections.chunks_exact_mut(PANEL)) {
        for words in steps {
            for (correction, word) in corrections.iter_mut().zip(words) {
                let bytes = word.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
                *correction += OFFSET * bytes.iter().sum::<i32>();
            }
        }
    }
}

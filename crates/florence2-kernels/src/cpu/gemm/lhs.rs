//! Activations encoded as the words that a product reads.

use crate::cpu::cache_line::{LINE, Line};
use crate::cpu::gemm::bf16;
use crate::cpu::gemm::kernel::{Left, RowFormat, encode_digits};
use crate::cpu::gemm::pack::{LARGEST, OFFSET, nearest};
use crate::cpu::simd::vectorised;

/// The number of words between the end of a row and the next row. Without a gap, rows whose length
/// is a power of two would map to the same few sets of the cache.
const GAP: usize = LINE;

/// The number of words after which lines map to the same set of the first-level cache, which may
/// have as few as eight ways.
const CACHE_WAY: usize = 1024;

/// The distance between rows of `length` words, in words.
pub(crate) fn row_step(length: usize) -> usize {
    length.next_multiple_of(GAP) + GAP
}

/// Rows in a format, in buffers that are reused.
#[derive(Default)]
pub(crate) struct Rows {
    lines: Vec<Line>,
    /// `[block][row]`, if the format has scales.
    scales: Vec<f32>,
    /// A row before it is encoded.
    values: Vec<f32>,
    rows: usize,
    row_step: usize,
}

/// The borrowed rows of a product.
#[derive(Clone, Copy)]
pub(crate) struct RowsRef<'a> {
    pub(crate) format: RowFormat,
    words: &'a [u32],
    scales: &'a [f32],
    pub(crate) rows: usize,
    row_step: usize,
}

impl<'a> RowsRef<'a> {
    /// Creates rows of words in a format, `row_step` words apart.
    pub(crate) fn words(format: RowFormat, words: &'a [u32], rows: usize, row_step: usize) -> Self {
        Self {
            format,
            words,
            scales: &[],
            rows,
            row_step,
        }
    }

    /// The words of each row from word `first` on, as a product's left operand.
    pub(crate) fn steps(&self, first: usize) -> Left<'a> {
        Left {
            words: &self.words[first..],
            rows: self.rows,
            row_step: self.row_step,
            step: 1,
        }
    }

    /// The words from the start of a row on.
    pub(crate) fn row(&self, index: usize) -> &'a [u32] {
        &self.words[index * self.row_step..]
    }

    /// The scales of the rows in a block, if the format has scales.
    pub(crate) fn scales(&self, block: usize) -> Option<&'a [f32]> {
        let scales = self.scales.get(block * self.rows..)?;
        (!scales.is_empty()).then_some(scales)
    }
}

impl Rows {
    /// Encodes rows of `inputs` values, which `write` computes, in a format.
    pub(crate) fn fill(
        &mut self,
        format: RowFormat,
        rows: usize,
        inputs: usize,
        mut write: impl FnMut(usize, &mut [f32]),
    ) -> RowsRef<'_> {
        self.reserve(format, rows, inputs);
        if format == RowFormat::F32 {
            let values: &mut [f32] = bytemuck::cast_slice_mut(&mut self.lines);
            let values = values.chunks_exact_mut(self.row_step).take(rows);
            for (index, row) in values.enumerate() {
                write(index, &mut row[..inputs]);
            }
        } else {
            // A row is encoded while it is in the first-level cache.
            let mut values = std::mem::take(&mut self.values);
            let row = sized(&mut values, inputs);
            for index in 0..rows {
                write(index, row);
                self.encode_row(format, index, row);
            }
            self.values = values;
        }
        self.borrow(format)
    }

    /// Applies `change` to the rows of `inputs` values that begin every `row_step` values, and
    /// encodes them in a format.
    ///
    /// f32 rows are not copied.
    pub(crate) fn change_and_encode<'a>(
        &'a mut self,
        format: RowFormat,
        values: &'a mut [f32],
        inputs: usize,
        row_step: usize,
        change: impl Fn(&mut [f32]),
    ) -> RowsRef<'a> {
        let rows = values.len().div_ceil(row_step);
        if format == RowFormat::F32 {
            for row in values.chunks_mut(row_step) {
                change(&mut row[..inputs]);
            }
            return RowsRef::words(format, bytemuck::cast_slice(values), rows, row_step);
        }
        self.reserve(format, rows, inputs);
        for (index, row) in values.chunks_mut(row_step).enumerate() {
            change(&mut row[..inputs]);
            self.encode_row(format, index, &row[..inputs]);
        }
        self.borrow(format)
    }

    /// Encodes the rows of `inputs` values that begin every `row_step` values in a format.
    ///
    /// f32 rows are not copied, unless all of them begin in the same set of the first-level cache.
    pub(crate) fn encode<'a>(
        &'a mut self,
        format: RowFormat,
        values: &'a [f32],
        inputs: usize,
        row_step: usize,
    ) -> RowsRef<'a> {
        let rows = values.len().div_ceil(row_step);
        if format == RowFormat::F32 && !row_step.is_multiple_of(CACHE_WAY) {
            return RowsRef::words(format, bytemuck::cast_slice(values), rows, row_step);
        }
        self.reserve(format, rows, inputs);
        for (index, row) in values.chunks(row_step).enumerate() {
            self.encode_row(format, index, &row[..inputs]);
        }
        self.borrow(format)
    }

    fn reserve(&mut self, format: RowFormat, rows: usize, inputs: usize) {
        self.rows = rows;
        self.row_step = row_step(format.words(inputs));
        sized(&mut self.lines, rows * self.row_step / LINE);
        self.scales.clear();
        if let Some(block) = format.values_per_scale() {
            self.scales.resize(inputs.div_ceil(block) * rows, 0.0);
        }
    }

    fn encode_row(&mut self, format: RowFormat, index: usize, row: &[f32]) {
        let words: &mut [u32] = bytemuck::cast_slice_mut(&mut self.lines);
        let words = &mut words[index * self.row_step..][..format.words(row.len())];
        let Some(block) = format.values_per_scale() else {
            return encode(format, row, words);
        };
        let blocks = row.chunks(block).zip(words.chunks_mut(format.words(block)));
        for (block, (row, words)) in blocks.enumerate() {
            self.scales[block * self.rows + index] = match format {
                RowFormat::Digits => encode_digits(row, magnitude(row), words),
                _ => encode_int8(row, words),
            };
        }
    }

    fn borrow(&self, format: RowFormat) -> RowsRef<'_> {
        RowsRef {
            format,
            words: bytemuck::cast_slice(&self.lines[..self.rows * self.row_step / LINE]),
            scales: &self.scales,
            rows: self.rows,
            row_step: self.row_step,
        }
    }
}

/// The first `length` values of a buffer that is reused; it grows if it is shorter.
pub(crate) fn sized<T: Clone + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        // The old values need not be moved.
        buffer.clear();
        buffer.resize(length, T::default());
    }
    &mut buffer[..length]
}

/// Encodes values in a format without scales.
pub(crate) fn encode(format: RowFormat, row: &[f32], words: &mut [u32]) {
    match format {
        RowFormat::F32 => words[..row.len()].copy_from_slice(bytemuck::cast_slice(row)),
        _ => bf16::encode_row(row, words),
    }
}

/// Writes a row divided by its scale, and returns the scale. The scale of a row with values that
/// are not finite is not finite either, so that they are not lost.
fn encode_int8(row: &[f32], words: &mut [u32]) -> f32 {
    let largest = magnitude(row);
    let scale = largest / LARGEST;
    let inverse = if largest > 0.0 {
        LARGEST / largest
    } else {
        0.0
    };
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
    let (used, unused) = bytes.split_at_mut(row.len());
    vectorised(
        #[inline(always)]
        |multiply_add| {
            for (byte, value) in used.iter_mut().zip(row) {
                *byte = nearest(multiply_add.of(*value, inverse, OFFSET as f32));
            }
        },
    );
    // The weights beyond the row are zeros, so any defined value is valid here.
    unused.fill(OFFSET as u8);
    scale
}

/// The largest absolute value; NaN if any value is NaN.
pub(crate) fn magnitude(row: &[f32]) -> f32 {
    vectorised(
        #[inline(always)]
        |_| {
            // Without the sign, the bits of floats have the order of their values, NaN above all.
            let bits = row.iter().map(|value| value.to_bits() & (u32::MAX >> 1));
            f32::from_bits(bits.fold(0, u32::max))
        },
    )
}

//! The left operand of a product: activations, encoded as the words that a kernel reads.

use super::bf16;
use super::format::LhsFormat;
use super::kernel::Lhs;
use super::quantise::{QMAX, ZERO_POINT, max_abs, round_to_byte};
use super::split_int8;
use crate::cpu::buffer_pool::resize_at_least;
use crate::cpu::cache_line::{LINE, Line};
use crate::cpu::simd::vectorised;

/// The number of words between the end of a row and the next row. Without a gap, rows whose length
/// is a power of two would map to the same few sets of the cache.
const GAP: usize = LINE;

/// The number of words after which lines map to the same set of the first-level cache, which may
/// have as few as eight ways.
const CACHE_WAY: usize = 1024;

/// The distance between rows of `length` words, in words.
pub(crate) fn row_stride(length: usize) -> usize {
    length.next_multiple_of(GAP) + GAP
}

/// Rows that are encoded in a format, in buffers that are reused.
#[derive(Default)]
pub(crate) struct LhsBuffer {
    lines: Vec<Line>,
    /// `[block][row]`, if the format has scales.
    scales: Vec<f32>,
    /// A row before it is encoded.
    values: Vec<f32>,
    rows: usize,
    row_stride: usize,
}

/// The encoded rows of a product.
#[derive(Clone, Copy)]
pub(crate) struct EncodedRows<'a> {
    pub(crate) format: LhsFormat,
    words: &'a [u32],
    scales: &'a [f32],
    pub(crate) rows: usize,
    row_stride: usize,
}

impl<'a> EncodedRows<'a> {
    /// Creates rows of words in a format, `row_stride` words apart.
    pub(crate) fn from_words(
        format: LhsFormat,
        words: &'a [u32],
        rows: usize,
        row_stride: usize,
    ) -> Self {
        Self {
            format,
            words,
            scales: &[],
            rows,
            row_stride,
        }
    }

    /// The words of each row from word `first` on, as a product's left operand.
    pub(crate) fn operand(&self, first: usize) -> Lhs<'a> {
        Lhs {
            words: &self.words[first..],
            m: self.rows,
            row_stride: self.row_stride,
            k_stride: 1,
        }
    }

    /// The words from the start of a row on.
    pub(crate) fn row(&self, index: usize) -> &'a [u32] {
        &self.words[index * self.row_stride..]
    }

    /// The scales of the rows in a block, if the format has scales.
    pub(crate) fn scales(&self, block: usize) -> Option<&'a [f32]> {
        let scales = self.scales.get(block * self.rows..)?;
        (!scales.is_empty()).then_some(scales)
    }
}

impl LhsBuffer {
    /// Encodes rows of `inputs` values, which `write` computes, in a format.
    pub(crate) fn fill(
        &mut self,
        format: LhsFormat,
        rows: usize,
        inputs: usize,
        mut write: impl FnMut(usize, &mut [f32]),
    ) -> EncodedRows<'_> {
        self.reserve(format, rows, inputs);
        if format == LhsFormat::F32 {
            let values: &mut [f32] = bytemuck::cast_slice_mut(&mut self.lines);
            let values = values.chunks_exact_mut(self.row_stride).take(rows);
            for (index, row) in values.enumerate() {
                write(index, &mut row[..inputs]);
            }
        } else {
            // A row is encoded while it is in the first-level cache.
            let mut values = std::mem::take(&mut self.values);
            let row = resize_at_least(&mut values, inputs);
            for index in 0..rows {
                write(index, row);
                self.encode_row(format, index, row);
            }
            self.values = values;
        }
        self.borrow(format)
    }

    /// Applies `change` to the rows of `inputs` values that begin every `row_stride` values, and
    /// encodes them in a format.
    ///
    /// f32 rows are not copied.
    pub(crate) fn change_and_encode<'a>(
        &'a mut self,
        format: LhsFormat,
        values: &'a mut [f32],
        inputs: usize,
        row_stride: usize,
        change: impl Fn(&mut [f32]),
    ) -> EncodedRows<'a> {
        let rows = values.len().div_ceil(row_stride);
        if format == LhsFormat::F32 {
            for row in values.chunks_mut(row_stride) {
                change(&mut row[..inputs]);
            }
            return EncodedRows::from_words(format, bytemuck::cast_slice(values), rows, row_stride);
        }
        self.reserve(format, rows, inputs);
        for (index, row) in values.chunks_mut(row_stride).enumerate() {
            change(&mut row[..inputs]);
            self.encode_row(format, index, &row[..inputs]);
        }
        self.borrow(format)
    }

    /// Encodes the rows of `inputs` values that begin every `row_stride` values in a format.
    ///
    /// f32 rows are not copied, unless all of them begin in the same set of the first-level cache.
    pub(crate) fn encode<'a>(
        &'a mut self,
        format: LhsFormat,
        values: &'a [f32],
        inputs: usize,
        row_stride: usize,
    ) -> EncodedRows<'a> {
        let rows = values.len().div_ceil(row_stride);
        if format == LhsFormat::F32 && !row_stride.is_multiple_of(CACHE_WAY) {
            return EncodedRows::from_words(format, bytemuck::cast_slice(values), rows, row_stride);
        }
        self.reserve(format, rows, inputs);
        for (index, row) in values.chunks(row_stride).enumerate() {
            self.encode_row(format, index, &row[..inputs]);
        }
        self.borrow(format)
    }

    fn reserve(&mut self, format: LhsFormat, rows: usize, inputs: usize) {
        self.rows = rows;
        self.row_stride = row_stride(format.words(inputs));
        resize_at_least(&mut self.lines, rows * self.row_stride / LINE);
        self.scales.clear();
        if let Some(block) = format.values_per_scale() {
            self.scales.resize(inputs.div_ceil(block) * rows, 0.0);
        }
    }

    fn encode_row(&mut self, format: LhsFormat, index: usize, row: &[f32]) {
        let words: &mut [u32] = bytemuck::cast_slice_mut(&mut self.lines);
        let words = &mut words[index * self.row_stride..][..format.words(row.len())];
        let Some(block) = format.values_per_scale() else {
            return encode(format, row, words);
        };
        let blocks = row.chunks(block).zip(words.chunks_mut(format.words(block)));
        for (block, (row, words)) in blocks.enumerate() {
            self.scales[block * self.rows + index] = match format {
                LhsFormat::SplitInt8 => split_int8::encode_row(row, max_abs(row), words),
                _ => encode_int8(row, words),
            };
        }
    }

    fn borrow(&self, format: LhsFormat) -> EncodedRows<'_> {
        EncodedRows {
            format,
            words: bytemuck::cast_slice(&self.lines[..self.rows * self.row_stride / LINE]),
            scales: &self.scales,
            rows: self.rows,
            row_stride: self.row_stride,
        }
    }
}

/// Encodes values in a format without scales.
pub(crate) fn encode(format: LhsFormat, row: &[f32], words: &mut [u32]) {
    match format {
        LhsFormat::F32 => words[..row.len()].copy_from_slice(bytemuck::cast_slice(row)),
        _ => bf16::encode_row(row, words),
    }
}

/// Writes a row divided by its scale, and returns the scale. The scale of a row with values that
/// are not finite is not finite either, so that they are not lost.
fn encode_int8(row: &[f32], words: &mut [u32]) -> f32 {
    let max_abs = max_abs(row);
    let scale = max_abs / QMAX;
    let inverse = if max_abs > 0.0 { QMAX / max_abs } else { 0.0 };
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
    let (used, unused) = bytes.split_at_mut(row.len());
    vectorised(
        #[inline(always)]
        |multiply_add| {
            for (byte, value) in used.iter_mut().zip(row) {
                *byte = round_to_byte(multiply_add.of(*value, inverse, ZERO_POINT as f32));
            }
        },
    );
    // The weights beyond the row are zeros, so any defined value is valid here.
    unused.fill(ZERO_POINT as u8);
    scale
}

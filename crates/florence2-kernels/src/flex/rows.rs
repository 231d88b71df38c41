//! Activations as words that a product reads.

use super::level::vectorised;
use super::packed_matrix::{LARGEST, OFFSET, bf16};
use super::tile::{Format, Left};

/// Words between the ends of a row and the next: rows whose length is a power of two would all
/// fall into the same few lines of the cache.
const GAP: usize = 16;

/// Words from a row to the next, of rows of `length` words.
pub(super) fn row_step(length: usize) -> usize {
    length.next_multiple_of(GAP) + GAP
}

/// Rows in a format, kept from use to use.
#[derive(Default)]
pub(super) struct Rows {
    words: Vec<u32>,
    /// Of int8: `[block][row]`.
    scales: Vec<f32>,
    rows: usize,
    row_step: usize,
}

/// Rows to be multiplied, borrowed.
#[derive(Clone, Copy)]
pub(super) struct RowsRef<'a> {
    pub(super) format: Format,
    words: &'a [u32],
    scales: &'a [f32],
    pub(super) rows: usize,
    row_step: usize,
}

impl<'a> RowsRef<'a> {
    /// f32 as it lies.
    pub(super) fn f32(values: &'a [f32], rows: usize, row_step: usize) -> Self {
        Self {
            format: Format::F32,
            words: bytemuck::cast_slice(values),
            scales: &[],
            rows,
            row_step,
        }
    }

    /// The words of a block's steps.
    pub(super) fn steps(&self, first: usize) -> Left<'a> {
        Left {
            words: &self.words[first..],
            rows: self.rows,
            row_step: self.row_step,
            step: 1,
        }
    }

    /// Factors of the rows in a block, of int8.
    pub(super) fn scales(&self, block: usize) -> Option<&'a [f32]> {
        let scales = self.scales.get(block * self.rows..)?;
        (!scales.is_empty()).then_some(scales)
    }
}

impl Rows {
    /// The rows of `inputs` values that begin every `row_step` values, in a format.
    ///
    /// f32 is not copied.
    pub(super) fn encode<'a>(
        &'a mut self,
        format: Format,
        values: &'a [f32],
        inputs: usize,
        row_step: usize,
    ) -> RowsRef<'a> {
        let rows = values.len().div_ceil(row_step);
        if format == Format::F32 {
            return RowsRef::f32(values, rows, row_step);
        }
        let steps = inputs.div_ceil(format.values());
        self.rows = rows;
        self.row_step = self::row_step(steps);
        let length = rows * self.row_step;
        if self.words.len() < length {
            self.words.resize(length, 0);
        }
        let words = self.words[..length].chunks_exact_mut(self.row_step);
        let rows = values.chunks(row_step).map(|row| &row[..inputs]);
        if format == Format::Bf16 {
            for (row, words) in rows.zip(words) {
                encode_bf16(row, &mut words[..steps]);
            }
        } else {
            let blocks = inputs.div_ceil(format.block());
            self.scales.clear();
            self.scales.resize(blocks * self.rows, 0.0);
            for (index, (row, words)) in rows.zip(words).enumerate() {
                let words = words.chunks_mut(format.block() / format.values());
                for (block, (row, words)) in row.chunks(format.block()).zip(words).enumerate() {
                    self.scales[block * self.rows + index] = encode_int8(row, words);
                }
            }
        }
        RowsRef {
            format,
            words: &self.words[..length],
            scales: &self.scales,
            rows: self.rows,
            row_step: self.row_step,
        }
    }
}

fn encode_bf16(row: &[f32], words: &mut [u32]) {
    vectorised(
        #[inline(always)]
        || {
            let halves: &mut [u16] = bytemuck::cast_slice_mut(&mut *words);
            for (half, value) in halves.iter_mut().zip(row) {
                *half = bf16(*value) as u16;
            }
        },
    );
    // A pair's second half, where there is none.
    if row.len() % 2 == 1
        && let Some(word) = words.get_mut(row.len() / 2)
    {
        *word &= 0xffff;
    }
}

/// Writes a row divided by its scale, and gives the scale. A row with values that are not finite
/// has a scale that is none either, so that they are not lost.
fn encode_int8(row: &[f32], words: &mut [u32]) -> f32 {
    let largest = vectorised(
        #[inline(always)]
        || {
            const LANES: usize = 32;
            let mut largest = [0.0_f32; LANES];
            let mut sums = [0.0_f32; LANES];
            let chunks = row.chunks_exact(LANES);
            let tail = chunks.remainder();
            for chunk in chunks {
                for ((largest, sum), value) in largest.iter_mut().zip(&mut sums).zip(chunk) {
                    let value = value.abs();
                    *largest = if value > *largest { value } else { *largest };
                    *sum += value;
                }
            }
            let all = largest.iter().chain(tail);
            let largest = all.fold(0.0_f32, |largest, value| largest.max(value.abs()));
            // A sum keeps a NaN, which a comparison loses.
            let sum = sums.iter().chain(tail).sum::<f32>();
            if sum.is_nan() { f32::NAN } else { largest }
        },
    );
    let scale = largest / LARGEST;
    let inverse = if largest > 0.0 {
        LARGEST / largest
    } else {
        0.0
    };
    vectorised(
        #[inline(always)]
        || {
            /// Adding it leaves the nearest integer in the lowest bits.
            const ROUND: f32 = 12_582_912.0;
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut *words);
            for (byte, value) in bytes.iter_mut().zip(row) {
                let rounded = value * inverse + (ROUND + OFFSET as f32);
                *byte = rounded.to_bits() as u8;
            }
        },
    );
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
    // The weights beyond the row are zeros: what stands here does not matter, but is defined.
    bytes[row.len()..].fill(OFFSET as u8);
    scale
}

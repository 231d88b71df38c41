//! `softmax(q k^T * scale) v` of a window.
//!
//! Scores are stored with the keys as rows and 32 queries as columns. The softmax processes 32
//! queries at once, and the next product reads its result without a transposition.

use std::ops::Range;

use crate::cpu::buffer_pool::resize_at_least;
use crate::cpu::gemm::bf16::encode_pairs;
use crate::cpu::gemm::epilogue::Epilogue;
use crate::cpu::gemm::format::{Format, LhsFormat, PANEL};
use crate::cpu::gemm::kernel::{Lhs, Rhs, kernel};
use crate::cpu::gemm::lhs::{EncodedRows, LhsBuffer};
use crate::cpu::ops::softmax::exp_columns;
use crate::cpu::workspace::AttentionBuffers;

/// The rows of a head within wider rows. `values` begins with the first value of the first row.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) row_stride: usize,
}

impl<'a> Head<'a> {
    fn row(&self, index: usize, head_dim: usize) -> &'a [f32] {
        &self.values[index * self.row_stride..][..head_dim]
    }

    fn encode<'b>(
        &self,
        head_dim: usize,
        format: Format,
        rows: &'b mut LhsBuffer,
    ) -> EncodedRows<'b>
    where
        'a: 'b,
    {
        let length = (self.rows - 1) * self.row_stride + head_dim;
        rows.encode(
            format.lhs(),
            &self.values[..length],
            head_dim,
            self.row_stride,
        )
    }
}

/// The format of the products within a head whose q, k and v come from weights of a format. Each
/// head is read for a few hundred rows at most, so quantising it to int8 would cost more than it
/// saves.
pub(crate) fn head_format(weights: Format) -> Format {
    match weights {
        Format::Bf16 | Format::Int8 if kernel(Format::Bf16, LhsFormat::Bf16).is_some() => {
            Format::Bf16
        }
        _ => Format::F32,
    }
}

/// The attention of one head, in f32 or bf16. Row `r` of the result begins at `r * row_stride`.
pub(crate) fn attention(
    [q, k, v]: [Head<'_>; 3],
    head_dim: usize,
    format: Format,
    buffers: &mut AttentionBuffers,
    result: &mut [f32],
    row_stride: usize,
) {
    let AttentionBuffers {
        query_rows,
        key_rows,
        queries,
        scores,
        weights,
        values,
    } = buffers;
    // INVARIANT: `head_format` returns bf16 only if there is a kernel for it.
    let kernel = kernel(format, format.lhs()).expect("a kernel for the format");
    let scale = (head_dim as f32).powf(-0.5);
    let (values, values_stride) = encode_values(v, head_dim, format, values);
    let q = q.encode(head_dim, format, query_rows);
    let k = k.encode(head_dim, format, key_rows);
    let (k_words, value_words) = (
        head_dim.div_ceil(format.values_per_word()),
        k.rows.div_ceil(format.values_per_word()),
    );
    for first in (0..q.rows).step_by(PANEL) {
        let count = PANEL.min(q.rows - first);
        let width = if count <= PANEL / 2 { PANEL / 2 } else { PANEL };
        let queries = resize_at_least(queries, k_words * width);
        transpose(&q, first..first + count, k_words, queries, width);
        let scores = resize_at_least(scores, k.rows * width);
        let rhs = Rhs {
            words: queries,
            n: width,
            k_stride: width,
            column_max: None,
            next: &[],
        };
        kernel.multiply(
            k_words,
            k.operand(0),
            rhs,
            scores,
            width,
            Epilogue::default(),
        );
        let mut inverses = [0.0; PANEL];
        match width == PANEL {
            true => exp_columns::<PANEL>(scores, scale, &mut inverses),
            false => exp_columns::<{ PANEL / 2 }>(scores, scale, &mut inverses),
        }
        let words = match format {
            Format::F32 => bytemuck::cast_slice(scores),
            _ => {
                let words = resize_at_least(weights, value_words * width);
                for (rows, words) in scores.chunks(2 * width).zip(words.chunks_exact_mut(width)) {
                    let (first, second) = rows.split_at(width);
                    encode_pairs(first, second, words);
                }
                &*words
            }
        };
        let weights = Lhs {
            words,
            m: count,
            row_stride: 1,
            k_stride: width,
        };
        for column in (0..head_dim).step_by(PANEL) {
            let rhs = Rhs {
                words: &values[column..],
                n: PANEL.min(head_dim - column),
                k_stride: values_stride,
                column_max: None,
                next: &[],
            };
            let epilogue = Epilogue {
                row_scales: Some(&inverses),
                ..Epilogue::default()
            };
            let result = &mut result[first * row_stride + column..];
            kernel.multiply(value_words, weights, rhs, result, row_stride, epilogue);
        }
    }
}

/// The rows of a head as the words of a product's columns, padded to whole vectors, and
/// their stride in words. f32 rows that already have this layout are not copied.
fn encode_values<'a>(
    head: Head<'a>,
    head_dim: usize,
    format: Format,
    copy: &'a mut Vec<u32>,
) -> (&'a [u32], usize) {
    if format == Format::F32 && head_dim.is_multiple_of(PANEL / 2) {
        return (bytemuck::cast_slice(head.values), head.row_stride);
    }
    let stride = head_dim.next_multiple_of(PANEL);
    let copy = resize_at_least(copy, head.rows.div_ceil(format.values_per_word()) * stride);
    for (index, words) in copy.chunks_exact_mut(stride).enumerate() {
        let (words, beyond) = words.split_at_mut(head_dim);
        beyond.fill(0);
        match format {
            Format::F32 => words.copy_from_slice(bytemuck::cast_slice(head.row(index, head_dim))),
            _ => {
                let second = 2 * index + 1;
                let second = match second < head.rows {
                    true => head.row(second, head_dim),
                    false => &[],
                };
                encode_pairs(head.row(2 * index, head_dim), second, words);
            }
        }
    }
    (copy, stride)
}

/// Writes rows as the columns of a matrix that is `width` wide. Columns without a row are zero.
fn transpose(
    rows: &EncodedRows<'_>,
    range: Range<usize>,
    k_words: usize,
    result: &mut [u32],
    width: usize,
) {
    let count = range.len();
    for (column, index) in range.enumerate() {
        let row = &rows.row(index)[..k_words];
        for (result, word) in result[column..].iter_mut().step_by(width).zip(row) {
            *result = *word;
        }
    }
    for row in result.chunks_exact_mut(width) {
        row[count..].fill(0);
    }
}

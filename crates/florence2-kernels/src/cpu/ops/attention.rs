//! `softmax(q k^T * scale) v` of a window.
//!
//! Scores are stored with the keys as rows and 32 queries as columns. The softmax processes 32
//! queries at once, and the next product reads its result without a transposition.

use std::ops::Range;

use crate::cpu::gemm::bf16::encode_pairs;
use crate::cpu::gemm::kernel::{Finish, Format, Left, PANEL, Right, RowFormat, kernel};
use crate::cpu::gemm::lhs::{Rows, RowsRef, sized};
use crate::cpu::ops::elementwise::exp_columns;

/// The rows of a head within wider rows. `values` begins with the first value of the first row.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) row_step: usize,
}

impl<'a> Head<'a> {
    fn row(&self, index: usize, head_dim: usize) -> &'a [f32] {
        &self.values[index * self.row_step..][..head_dim]
    }

    fn encode<'b>(&self, head_dim: usize, format: Format, rows: &'b mut Rows) -> RowsRef<'b>
    where
        'a: 'b,
    {
        let length = (self.rows - 1) * self.row_step + head_dim;
        rows.encode(
            format.rows(),
            &self.values[..length],
            head_dim,
            self.row_step,
        )
    }
}

/// Buffers that are reused from head to head.
#[derive(Default)]
pub(crate) struct Scratch {
    query_rows: Rows,
    key_rows: Rows,
    queries: Vec<u32>,
    scores: Vec<f32>,
    weights: Vec<u32>,
    values: Vec<u32>,
}

/// The format of the products within a head whose q, k and v come from weights of a format. Each
/// head is read for a few hundred rows at most, so quantising it to int8 would cost more than it
/// saves.
pub(crate) fn head_format(weights: Format) -> Format {
    match weights {
        Format::Bf16 | Format::Int8 if kernel(Format::Bf16, RowFormat::Bf16).is_some() => {
            Format::Bf16
        }
        _ => Format::F32,
    }
}

/// The attention of one head, in f32 or bf16. Row `r` of the result begins at `r * row_step`.
pub(crate) fn attend(
    [q, k, v]: [Head<'_>; 3],
    head_dim: usize,
    format: Format,
    scratch: &mut Scratch,
    result: &mut [f32],
    row_step: usize,
) {
    let Scratch {
        query_rows,
        key_rows,
        queries,
        scores,
        weights,
        values,
    } = scratch;
    // INVARIANT: `head_format` returns bf16 only if there are tiles of it.
    let kernel = kernel(format, format.rows()).expect("tiles of the format");
    let scale = (head_dim as f32).powf(-0.5);
    let (values, values_step) = steps_of_values(v, head_dim, format, values);
    let q = q.encode(head_dim, format, query_rows);
    let k = k.encode(head_dim, format, key_rows);
    let (steps, value_steps) = (
        head_dim.div_ceil(format.values()),
        k.rows.div_ceil(format.values()),
    );
    for first in (0..q.rows).step_by(PANEL) {
        let count = PANEL.min(q.rows - first);
        let width = if count <= PANEL / 2 { PANEL / 2 } else { PANEL };
        let queries = sized(queries, steps * width);
        transpose(&q, first..first + count, steps, queries, width);
        let scores = sized(scores, k.rows * width);
        let right = Right {
            words: queries,
            columns: width,
            step: width,
            largest: None,
            next: &[],
        };
        kernel.multiply(steps, k.steps(0), right, scores, width, Finish::default());
        let mut inverses = [0.0; PANEL];
        match width == PANEL {
            true => exp_columns::<PANEL>(scores, scale, &mut inverses),
            false => exp_columns::<{ PANEL / 2 }>(scores, scale, &mut inverses),
        }
        let words = match format {
            Format::F32 => bytemuck::cast_slice(scores),
            _ => {
                let words = sized(weights, value_steps * width);
                for (rows, words) in scores.chunks(2 * width).zip(words.chunks_exact_mut(width)) {
                    let (first, second) = rows.split_at(width);
                    encode_pairs(first, second, words);
                }
                &*words
            }
        };
        let weights = Left {
            words,
            rows: count,
            row_step: 1,
            step: width,
        };
        for column in (0..head_dim).step_by(PANEL) {
            let right = Right {
                words: &values[column..],
                columns: PANEL.min(head_dim - column),
                step: values_step,
                largest: None,
                next: &[],
            };
            let finish = Finish {
                row_scales: Some(&inverses),
                ..Finish::default()
            };
            let result = &mut result[first * row_step + column..];
            kernel.multiply(value_steps, weights, right, result, row_step, finish);
        }
    }
}

/// The rows of a head as the words of a product's columns, padded to whole vectors, and the
/// distance between steps in words. f32 rows that already have this layout are not copied.
fn steps_of_values<'a>(
    head: Head<'a>,
    head_dim: usize,
    format: Format,
    copy: &'a mut Vec<u32>,
) -> (&'a [u32], usize) {
    if format == Format::F32 && head_dim.is_multiple_of(PANEL / 2) {
        return (bytemuck::cast_slice(head.values), head.row_step);
    }
    let step = head_dim.next_multiple_of(PANEL);
    let copy = sized(copy, head.rows.div_ceil(format.values()) * step);
    for (index, words) in copy.chunks_exact_mut(step).enumerate() {
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
    (copy, step)
}

/// Writes rows as the columns of a matrix that is `width` wide. Columns without a row are zero.
fn transpose(
    rows: &RowsRef<'_>,
    range: Range<usize>,
    steps: usize,
    result: &mut [u32],
    width: usize,
) {
    let count = range.len();
    for (column, index) in range.enumerate() {
        let row = &rows.row(index)[..steps];
        for (result, word) in result[column..].iter_mut().step_by(width).zip(row) {
            *result = *word;
        }
    }
    for row in result.chunks_exact_mut(width) {
        row[count..].fill(0);
    }
}

//! `softmax(q k^T * scale) v`.
//!
//! Scores are computed with the keys down and 32 queries across, so that all that a softmax does is
//! done for 32 queries at once, and so that what it leaves can be multiplied as it lies.

use rayon::prelude::*;

use super::elementwise::exp_columns;
use super::product::{plain, sized};
use super::tile::{Finish, Left, PANEL, Right};

/// Rows of a head within wider ones: the first value is the first row's.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    pub(super) row_step: usize,
}

/// Buffers that are kept from head to head.
#[derive(Default)]
pub(super) struct Scratch {
    queries: Vec<f32>,
    scores: Vec<f32>,
    values: Vec<f32>,
}

/// One head: row `r` of the result begins at `r * row_step`. Keys that are `masked` are not seen.
pub(super) fn attend(
    [q, k, v]: [Head<'_>; 3],
    head_dim: usize,
    masked: Option<&[bool]>,
    scratch: &mut Scratch,
    result: &mut [f32],
    row_step: usize,
) {
    let Scratch {
        queries,
        scores,
        values,
    } = scratch;
    let scale = (head_dim as f32).powf(-0.5);
    let v = whole_vectors(v, head_dim, values);
    for first in (0..q.rows).step_by(PANEL) {
        let count = PANEL.min(q.rows - first);
        let width = if count <= PANEL / 2 { PANEL / 2 } else { PANEL };
        let queries = sized(queries, head_dim * width);
        let rows = q.values[first * q.row_step..].chunks(q.row_step);
        transpose(rows.take(count), head_dim, scale, queries, width);
        let scores = sized(scores, k.rows * width);
        let right = Right {
            words: bytemuck::cast_slice(queries),
            columns: width,
            step: width,
        };
        plain(left(k), right, head_dim, scores, width, Finish::default());
        for (row, masked) in scores
            .chunks_exact_mut(width)
            .zip(masked.unwrap_or_default())
        {
            if *masked {
                row.fill(f32::NEG_INFINITY);
            }
        }
        let mut inverses = [0.0; PANEL];
        match width == PANEL {
            true => exp_columns::<PANEL>(scores, &mut inverses),
            false => exp_columns::<{ PANEL / 2 }>(scores, &mut inverses),
        }
        let weights = Left {
            words: bytemuck::cast_slice(scores),
            rows: count,
            row_step: 1,
            step: width,
        };
        for column in (0..head_dim).step_by(PANEL) {
            let right = Right {
                words: bytemuck::cast_slice(&v.values[column..]),
                columns: PANEL.min(head_dim - column),
                step: v.row_step,
            };
            let finish = Finish {
                row_scales: Some(&inverses),
                ..Finish::default()
            };
            let result = &mut result[first * row_step + column..];
            plain(weights, right, k.rows, result, row_step, finish);
        }
    }
}

fn left(head: Head<'_>) -> Left<'_> {
    Left {
        words: bytemuck::cast_slice(head.values),
        rows: head.rows,
        row_step: head.row_step,
        step: 1,
    }
}

/// The head itself, or a copy of it whose rows are whole vectors long.
fn whole_vectors<'a>(head: Head<'a>, head_dim: usize, copy: &'a mut Vec<f32>) -> Head<'a> {
    if head_dim.is_multiple_of(PANEL / 2) {
        return head;
    }
    let row_step = head_dim.next_multiple_of(PANEL);
    let copy = sized(copy, head.rows * row_step);
    let rows = head.values.chunks(head.row_step);
    for (copy, row) in copy.chunks_exact_mut(row_step).zip(rows) {
        copy[..head_dim].copy_from_slice(&row[..head_dim]);
        copy[head_dim..].fill(0.0);
    }
    Head {
        values: copy,
        row_step,
        ..head
    }
}

/// Rows as columns of a matrix `width` wide, times `scale`; zeros where there are no more rows.
fn transpose<'a>(
    rows: impl Iterator<Item = &'a [f32]>,
    length: usize,
    scale: f32,
    result: &mut [f32],
    width: usize,
) {
    let mut count = 0;
    for (column, row) in rows.enumerate() {
        for (result, value) in result[column..]
            .iter_mut()
            .step_by(width)
            .zip(&row[..length])
        {
            *result = value * scale;
        }
        count = column + 1;
    }
    for row in result.chunks_exact_mut(width) {
        row[count..].fill(0.0);
    }
}

/// All heads: `q` and the result `[batch, queries, dim]`, `k` and `v`
/// `[batch, heads, keys, dim / heads]`, `masked` `[batch or 1, keys]`.
pub(super) fn attention(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    [batch, queries, dim]: [usize; 3],
    heads: usize,
    masked: Option<&[bool]>,
) -> Vec<f32> {
    let head_dim = dim / heads;
    let keys = k.len() / (batch * dim);
    // Enough tasks for all threads, of whole panels of queries.
    let parts = queries.div_ceil(4 * PANEL).max(1);
    let per_part = queries.div_ceil(parts).next_multiple_of(PANEL);
    let parts = queries.div_ceil(per_part);
    let head_length = keys * head_dim;
    let attended: Vec<Vec<f32>> = (0..batch * heads * parts)
        .into_par_iter()
        .map_init(Scratch::default, |scratch, task| {
            let (head, part) = (task / parts, task % parts);
            let (entry, column) = (head / heads, head % heads * head_dim);
            let first = part * per_part;
            let count = per_part.min(queries - first);
            let q = Head {
                values: &q[(entry * queries + first) * dim + column..],
                rows: count,
                row_step: dim,
            };
            let [k, v] = [k, v].map(|values| Head {
                values: &values[head * head_length..][..head_length],
                rows: keys,
                row_step: head_dim,
            });
            let masked = masked.map(|masked| &masked[entry * keys % masked.len()..][..keys]);
            let mut result = vec![0.0; count * head_dim];
            attend([q, k, v], head_dim, masked, scratch, &mut result, head_dim);
            result
        })
        .collect();
    let mut output = vec![0.0; q.len()];
    for (task, part) in attended.iter().enumerate() {
        let (head, first) = (task / parts, task % parts * per_part);
        let (entry, column) = (head / heads, head % heads * head_dim);
        for (index, row) in part.chunks_exact(head_dim).enumerate() {
            let at = (entry * queries + first + index) * dim + column;
            output[at..at + head_dim].copy_from_slice(row);
        }
    }
    output
}

/// `[batch, tokens, dim]` to `[batch, heads, tokens, dim / heads]`.
pub(super) fn split_heads(rows: &[f32], tokens: usize, dim: usize, heads: usize) -> Vec<f32> {
    let head_dim = dim / heads;
    let mut split = vec![0.0; rows.len()];
    let head_of = |(index, head): (usize, &mut [f32])| {
        let (entry, column) = (index / heads, index % heads * head_dim);
        let entry = rows[entry * tokens * dim..].chunks_exact(dim);
        for (head, row) in head.chunks_exact_mut(head_dim).zip(entry) {
            head.copy_from_slice(&row[column..column + head_dim]);
        }
    };
    // Threads are worth waking for whole images, not for a decoder's step.
    const WORTH: usize = 1 << 15;
    if split.len() < WORTH {
        split
            .chunks_mut(tokens * head_dim)
            .enumerate()
            .for_each(head_of);
    } else {
        split
            .par_chunks_mut(tokens * head_dim)
            .enumerate()
            .for_each(head_of);
    }
    split
}

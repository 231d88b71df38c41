//! `softmax(q k^T * scale) v`.

use rayon::prelude::*;

use super::elementwise::softmax;
use super::product::{Matrix, set_columns, set_product};

/// Queries that pass together: their scores stay in the cache.
const QUERIES: usize = 128;

/// One head: `result`'s first value is the head's first of a row, rows are `columns` apart.
/// `scores` has room for queries times keys.
pub(super) fn attend(
    q: Matrix<'_>,
    k: Matrix<'_>,
    v: Matrix<'_>,
    scale: f32,
    scores: &mut [f32],
    result: &mut [f32],
    columns: usize,
) {
    let scores = &mut scores[..q.rows * k.rows];
    set_product(scores, q, k.transposed());
    softmax(scores, k.rows, scale);
    set_columns(result, columns, Matrix::new(scores, k.rows), v);
}

/// All heads: `q` and the result `[batch, queries, dim]`, `k` and `v`
/// `[batch, heads, keys, dim / heads]`.
pub(super) fn attention(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    [batch, queries, dim]: [usize; 3],
    heads: usize,
) -> Vec<f32> {
    let head_dim = dim / heads;
    let keys = k.len() / (batch * dim);
    let scale = (head_dim as f32).powf(-0.5);
    let parts = queries.div_ceil(QUERIES);
    let head_length = keys * head_dim;
    let attended: Vec<Vec<f32>> = (0..batch * heads * parts)
        .into_par_iter()
        .map(|task| {
            let (head, part) = (task / parts, task % parts);
            let (entry, column) = (head / heads, head % heads * head_dim);
            let first = part * QUERIES;
            let count = QUERIES.min(queries - first);
            let rows = &q[(entry * queries + first) * dim..][..count * dim];
            let q = Matrix::new(rows, dim).columns(column, head_dim);
            let [k, v] = [k, v]
                .map(|values| Matrix::new(&values[head * head_length..][..head_length], head_dim));
            let mut scores = vec![0.0; count * keys];
            let mut result = vec![0.0; count * head_dim];
            attend(q, k, v, scale, &mut scores, &mut result, head_dim);
            result
        })
        .collect();
    let mut output = vec![0.0; q.len()];
    for (task, part) in attended.iter().enumerate() {
        let (head, first) = (task / parts, task % parts * QUERIES);
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
    split
        .par_chunks_mut(tokens * head_dim)
        .enumerate()
        .for_each(|(index, head)| {
            let (entry, column) = (index / heads, index % heads * head_dim);
            let entry = rows[entry * tokens * dim..].chunks_exact(dim);
            for (head, row) in head.chunks_exact_mut(head_dim).zip(entry) {
                head.copy_from_slice(&row[column..column + head_dim]);
            }
        });
    split
}

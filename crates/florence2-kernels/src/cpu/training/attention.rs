//! `softmax(q k^T * scale) v` of one head, with dropout of the attention weights, and its gradients.
//!
//! Queries pass through in chunks, so that the attention weights of all queries are never stored.

use super::super::gemm::driver::plain;
use super::super::gemm::epilogue::Epilogue;
use super::super::gemm::format::PANEL;
use super::super::gemm::kernel::{Lhs, Rhs};
use super::super::ops::reduce::dot;
use super::super::ops::softmax::softmax;
use super::super::simd::vectorised;
use crate::DropoutMask;

/// The number of queries of a chunk.
const CHUNK: usize = 64;

/// Which keys a query does not attend to: `[queries or 1, keys]`.
#[derive(Clone, Copy)]
pub(crate) struct Mask<'a> {
    pub(crate) is_masked: &'a [bool],
    /// True if there is one row for all queries.
    pub(crate) is_shared: bool,
}

/// The attention of one head.
pub(crate) struct Head<'a> {
    /// `[queries, head_dim]`.
    pub(crate) q: &'a [f32],
    /// `[keys, head_dim]`.
    pub(crate) k: &'a [f32],
    /// `[keys, head_dim]`.
    pub(crate) v: &'a [f32],
    pub(crate) head_dim: usize,
    pub(crate) scale: f32,
    pub(crate) mask: Option<Mask<'a>>,
    /// The dropout of the attention weights, and the place of the head's first one.
    pub(crate) dropout: Option<(DropoutMask, usize)>,
}

/// Rows that are padded to whole panels, as products read their right operand.
struct Padded {
    values: Vec<f32>,
    stride: usize,
}

impl Padded {
    /// Copies rows of `columns` values.
    fn rows(values: &[f32], columns: usize) -> Self {
        let stride = columns.next_multiple_of(PANEL);
        let mut padded = vec![0.0; values.len() / columns * stride];
        for (to, from) in padded
            .chunks_exact_mut(stride)
            .zip(values.chunks_exact(columns))
        {
            to[..columns].copy_from_slice(from);
        }
        Self {
            values: padded,
            stride,
        }
    }

    /// Copies the transpose of rows of `columns` values.
    fn transpose(values: &[f32], columns: usize) -> Self {
        let rows = values.len() / columns;
        let stride = rows.next_multiple_of(PANEL);
        let mut padded = vec![0.0; columns * stride];
        for (index, row) in values.chunks_exact(columns).enumerate() {
            for (to, from) in padded[index..].iter_mut().step_by(stride).zip(row) {
                *to = *from;
            }
        }
        Self {
            values: padded,
            stride,
        }
    }
}

/// `result (+)= lhs * rhs`: `[rows, k]` and `[k, columns]`, with `k` the second stride of `lhs`.
fn multiply(
    lhs: (&[f32], usize, [usize; 2]),
    k: usize,
    (rhs, first_row): (&Padded, usize),
    columns: usize,
    (result, row_stride): (&mut [f32], usize),
    accumulate: bool,
) {
    let (values, m, [row_stride_of_lhs, k_stride]) = lhs;
    let rhs_values = &rhs.values[first_row * rhs.stride..];
    for column in (0..columns).step_by(PANEL) {
        let lhs = Lhs {
            words: bytemuck::cast_slice(values),
            m,
            row_stride: row_stride_of_lhs,
            k_stride,
        };
        let rhs = Rhs {
            words: bytemuck::cast_slice(&rhs_values[column..]),
            n: PANEL.min(columns - column),
            k_stride: rhs.stride,
            column_max: None,
            next: &[],
        };
        let epilogue = Epilogue {
            accumulate,
            ..Epilogue::default()
        };
        plain(lhs, rhs, k, &mut result[column..], row_stride, epilogue);
    }
}

impl Head<'_> {
    fn queries(&self) -> usize {
        self.q.len() / self.head_dim
    }

    fn keys(&self) -> usize {
        self.k.len() / self.head_dim
    }

    /// The first query of each chunk, and its number of queries.
    fn chunks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let queries = self.queries();
        (0..queries)
            .step_by(CHUNK)
            .map(move |first| (first, CHUNK.min(queries - first)))
    }

    /// `softmax(q k^T * scale)` of a chunk, rows of `keys` values.
    fn weights(&self, transposed_k: &Padded, (first, count): (usize, usize), weights: &mut [f32]) {
        let (dim, keys) = (self.head_dim, self.keys());
        let q = &self.q[first * dim..(first + count) * dim];
        let (lhs, rhs) = ((q, count, [dim, 1]), (transposed_k, 0));
        multiply(lhs, dim, rhs, keys, (weights, keys), false);
        let weights = &mut weights[..count * keys];
        // Equivalent to -inf, but the result of a fully masked row is still a number.
        self.fill_masked(first, weights, f32::MIN);
        for row in weights.chunks_exact_mut(keys) {
            softmax(row, self.scale);
        }
    }

    /// Sets the values of masked keys in rows of `keys` values, those of the queries from `first` on.
    fn fill_masked(&self, first: usize, rows: &mut [f32], value: f32) {
        let keys = self.keys();
        let Some(mask) = &self.mask else {
            return;
        };
        for (index, row) in rows.chunks_exact_mut(keys).enumerate() {
            let query = if mask.is_shared { 0 } else { first + index };
            let is_masked = &mask.is_masked[query * keys..][..keys];
            for (x, is_masked) in row.iter_mut().zip(is_masked) {
                *x = if *is_masked { value } else { *x };
            }
        }
    }

    /// The factors of dropout of a chunk's weights.
    fn factors(&self, (first, _): (usize, usize), factors: &mut [f32]) -> bool {
        let Some((mask, place)) = &self.dropout else {
            return false;
        };
        mask.fill(place + first * self.keys(), factors);
        true
    }

    /// Writes the output, `[queries, head_dim]`.
    pub(crate) fn forward(&self, output: &mut [f32]) {
        let (dim, keys) = (self.head_dim, self.keys());
        let transposed_k = Padded::transpose(self.k, dim);
        let v = Padded::rows(self.v, dim);
        let mut weights = vec![0.0; CHUNK * keys];
        let mut factors = vec![0.0; CHUNK * keys];
        for chunk in self.chunks() {
            let (first, count) = chunk;
            self.weights(&transposed_k, chunk, &mut weights);
            if self.factors(chunk, &mut factors[..count * keys]) {
                multiply_values(&mut weights[..count * keys], &factors);
            }
            let lhs = (&weights[..], count, [keys, 1]);
            multiply(
                lhs,
                keys,
                (&v, 0),
                dim,
                (&mut output[first * dim..], dim),
                false,
            );
        }
    }

    /// Writes the gradients of q, k and v for that of the output, `[queries, head_dim]`. Those of k
    /// and v are zero before.
    pub(crate) fn backward(&self, gradient: &[f32], [dq, dk, dv]: [&mut [f32]; 3]) {
        let (dim, keys) = (self.head_dim, self.keys());
        let (k, transposed_k) = (Padded::rows(self.k, dim), Padded::transpose(self.k, dim));
        let transposed_v = Padded::transpose(self.v, dim);
        let (q, padded_gradient) = (Padded::rows(self.q, dim), Padded::rows(gradient, dim));
        let [mut weights, mut factors, mut scores] = [(); 3].map(|()| vec![0.0; CHUNK * keys]);
        for chunk in self.chunks() {
            let (first, count) = chunk;
            let size = count * keys;
            self.weights(&transposed_k, chunk, &mut weights);
            // The gradient of the weights, after dropout.
            let rows = &gradient[first * dim..(first + count) * dim];
            let lhs = (rows, count, [dim, 1]);
            multiply(
                lhs,
                dim,
                (&transposed_v, 0),
                keys,
                (&mut scores, keys),
                false,
            );
            let is_dropped = self.factors(chunk, &mut factors[..size]);
            if is_dropped {
                multiply_values(&mut scores[..size], &factors);
                multiply_values(&mut factors[..size], &weights);
            }
            let dropped = if is_dropped { &factors } else { &weights };
            let rhs = (&padded_gradient, first);
            multiply((dropped, keys, [1, keys]), count, rhs, dim, (dv, dim), true);
            softmax_gradient(&weights[..size], &mut scores[..size], keys, self.scale);
            self.fill_masked(first, &mut scores[..size], 0.0);
            let lhs = (&scores[..], count, [keys, 1]);
            multiply(
                lhs,
                keys,
                (&k, 0),
                dim,
                (&mut dq[first * dim..], dim),
                false,
            );
            let lhs = (&scores[..], keys, [1, keys]);
            multiply(lhs, count, (&q, first), dim, (dk, dim), true);
        }
    }
}

/// `values *= factors`.
fn multiply_values(values: &mut [f32], factors: &[f32]) {
    vectorised(
        #[inline(always)]
        |_| {
            for (value, factor) in values.iter_mut().zip(factors) {
                *value *= factor;
            }
        },
    );
}

/// Replaces the gradients of weights, rows of `keys` values, by those of the scores:
/// `weight * (gradient - sum(weight * gradient)) * scale`.
fn softmax_gradient(weights: &[f32], gradients: &mut [f32], keys: usize, scale: f32) {
    vectorised(
        #[inline(always)]
        |multiply_add| {
            let rows = weights.chunks_exact(keys);
            for (weights, gradients) in rows.zip(gradients.chunks_exact_mut(keys)) {
                let sum = dot(multiply_add, weights, gradients);
                for (gradient, weight) in gradients.iter_mut().zip(weights) {
                    *gradient = weight * (*gradient - sum) * scale;
                }
            }
        },
    );
}

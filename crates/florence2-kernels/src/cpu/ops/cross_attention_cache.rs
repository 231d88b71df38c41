//! Attention to a fixed set of tokens. Their keys and values are packed once, as weights are, so
//! that scores and weighted sums are ordinary products, of one row or of hundreds.

use std::sync::Arc;

use burn::tensor::{Bool, Tensor};
use burn_flex::Flex;
use rayon::prelude::*;

use crate::cpu::buffer_pool::resize_at_least;
use crate::cpu::gemm::driver::{Part, multiply};
use crate::cpu::gemm::epilogue::Epilogue;
use crate::cpu::gemm::format::{Format, PANEL};
use crate::cpu::gemm::lhs::row_stride;
use crate::cpu::gemm::pack::PackedMatrix;
use crate::cpu::ops::attention::head_format;
use crate::cpu::ops::softmax::softmax;
use crate::cpu::workspace::{Workspace, with_workspace};
use crate::{Dtype, SelectRows};

/// The number of queries of a head that are processed together, so that their scores stay in the
/// cache.
const QUERIES: usize = 128;

/// The keys and values of a fixed set of tokens: of the encoder's output in a decoder layer, or of
/// all tokens in an encoder layer.
#[derive(Debug, Clone)]
pub struct CrossAttentionCache {
    dim: usize,
    num_heads: usize,
    entries: Vec<Arc<Entry>>,
}

/// The tokens of a batch entry.
#[derive(Debug)]
struct Entry {
    heads: Vec<Head>,
    /// The mask of the tokens, if any is masked. The padding at the end is not packed, so that the
    /// attention to an entry is the same as outside a batch.
    masked: Option<Vec<bool>>,
}

#[derive(Debug)]
struct Head {
    /// `[tokens, head_dim]`: the product of queries and keys gives the scores.
    keys: PackedMatrix,
    /// `[head_dim, tokens]`: the product of the weights and these values gives the weighted sums.
    values: PackedMatrix,
}

impl Head {
    /// Packs the columns from `first` on of tokens `[tokens, dim]`.
    fn new(
        [keys, values]: [&[f32]; 2],
        dim: usize,
        first: usize,
        head_dim: usize,
        format: Format,
    ) -> Self {
        let tokens = keys.len() / dim;
        let keys =
            PackedMatrix::from_panels([tokens, head_dim], format, format.lhs(), |panel, into| {
                let rows = keys.chunks_exact(dim).skip(panel * PANEL).take(PANEL);
                for (column, row) in rows.enumerate() {
                    let row = &row[first..first + head_dim];
                    for (into, key) in into[column..].iter_mut().step_by(PANEL).zip(row) {
                        *into = *key;
                    }
                }
            });
        let values =
            PackedMatrix::from_panels([head_dim, tokens], format, format.lhs(), |panel, into| {
                let columns = panel * PANEL..head_dim.min((panel + 1) * PANEL);
                let rows = values.chunks_exact(dim).map(|row| &row[first..]);
                for (into, row) in into.chunks_exact_mut(PANEL).zip(rows) {
                    into[..columns.len()].copy_from_slice(&row[columns.clone()]);
                }
            });
        Self { keys, values }
    }

    /// Computes the attention of a head's queries, which begin every `dim` values: `[queries,
    /// head_dim]`.
    fn attend(&self, queries: &[f32], dim: usize, masked: Option<&[bool]>) -> Vec<f32> {
        let head_dim = self.values.outputs;
        let scale = (head_dim as f32).powf(-0.5);
        let mut result = vec![0.0; queries.len().div_ceil(dim) * head_dim];
        with_workspace(|workspace| {
            let Workspace {
                rows,
                inner_rows,
                inner,
                ..
            } = workspace;
            let format = self.keys.format.lhs();
            let rows = rows.encode(format, queries, head_dim, dim);
            let (tokens, stride) = (self.keys.outputs, row_stride(self.keys.outputs));
            let scores = resize_at_least(inner, rows.rows * stride);
            let whole = Part::whole(&self.keys);
            multiply(
                rows,
                &self.keys,
                &whole,
                scores,
                stride,
                Epilogue::default(),
            );
            let weigh = |row: &mut [f32]| {
                for (score, masked) in row.iter_mut().zip(masked.unwrap_or_default()) {
                    if *masked {
                        // Equivalent to -inf, but if all tokens are masked, the result is still a
                        // number.
                        *score = f32::MIN;
                    }
                }
                softmax(row, scale);
            };
            let weights = inner_rows.change_and_encode(format, scores, tokens, stride, weigh);
            let whole = Part::whole(&self.values);
            let epilogue = Epilogue::default();
            multiply(
                weights,
                &self.values,
                &whole,
                &mut result,
                head_dim,
                epilogue,
            );
        });
        result
    }
}

impl CrossAttentionCache {
    /// Packs projected tokens in a dtype.
    ///
    /// # Shapes
    /// - `keys`, `values`: `[batch, tokens, dim]`, heads side by side in `dim`
    /// - `key_padding_mask`: `[batch or 1, 1, 1, tokens]`, true where a token must not be attended
    ///   to
    pub fn new(
        [keys, values]: [&[f32]; 2],
        [batch, tokens, dim]: [usize; 3],
        num_heads: usize,
        key_padding_mask: Option<&Tensor<Flex, 4, Bool>>,
        dtype: Dtype,
    ) -> Self {
        let head_dim = dim / num_heads;
        let format = head_format(dtype.format());
        let mask: Option<Vec<bool>> = key_padding_mask.map(|mask| mask.to_data().iter().collect());
        let masks: Vec<Option<Vec<bool>>> = (0..batch)
            .map(|entry| {
                let mask = mask.as_ref()?;
                let mask = &mask[entry * tokens % mask.len()..][..tokens];
                Some(without_padding(mask).to_vec())
            })
            .collect();
        let mut heads: Vec<Head> = (0..batch * num_heads)
            .into_par_iter()
            .map(|index| {
                let (entry, first) = (index / num_heads, index % num_heads * head_dim);
                let kept = masks[entry].as_ref().map_or(tokens, Vec::len);
                let tokens = entry * tokens * dim..(entry * tokens + kept) * dim;
                let tokens = [&keys[tokens.clone()], &values[tokens]];
                Head::new(tokens, dim, first, head_dim, format)
            })
            .collect();
        let entries = masks.into_iter().map(|masked| {
            Arc::new(Entry {
                heads: heads.drain(..num_heads).collect(),
                masked,
            })
        });
        Self {
            dim,
            num_heads,
            entries: entries.collect(),
        }
    }

    /// Computes `softmax(q k^T / sqrt(head_dim)) v` for each head.
    ///
    /// There may be fewer entries than rows of queries. In this case, consecutive rows (the beams
    /// of one image) share an entry, which is read once for all of them.
    ///
    /// Shapes: `[rows, tokens, dim]` in and out.
    pub fn attention(&self, queries: &[f32]) -> Vec<f32> {
        let dim = self.dim;
        let head_dim = dim / self.num_heads;
        // The number of queries of an entry, over all of its rows.
        let count = queries.len() / dim / self.entries.len();
        let parts = count.div_ceil(QUERIES);
        let per_part = count.div_ceil(parts);
        let place = |task: usize| {
            let (head, part) = (task / parts, task % parts);
            let (entry, head) = (head / self.num_heads, head % self.num_heads);
            let first = part * per_part;
            let at = (entry * count + first) * dim + head * head_dim;
            (entry, head, at, per_part.min(count - first))
        };
        let tasks = 0..self.entries.len() * self.num_heads * parts;
        let attended: Vec<Vec<f32>> = tasks
            .into_par_iter()
            .map(|task| {
                let (entry, head, at, count) = place(task);
                let entry = &self.entries[entry];
                let queries = &queries[at..at + (count - 1) * dim + head_dim];
                entry.heads[head].attend(queries, dim, entry.masked.as_deref())
            })
            .collect();
        let mut output = vec![0.0; queries.len()];
        for (task, attended) in attended.iter().enumerate() {
            let (_, _, at, _) = place(task);
            let rows = attended.chunks_exact(head_dim);
            for (row, output) in rows.zip(output[at..].chunks_mut(dim)) {
                output[..head_dim].copy_from_slice(row);
            }
        }
        output
    }
}

impl SelectRows for CrossAttentionCache {
    fn select(&mut self, rows: &[usize]) {
        let kept = rows.iter().map(|row| self.entries[*row].clone());
        self.entries = kept.collect();
    }
}

/// The mask of an entry up to its last unmasked token; the whole mask if all tokens are masked.
fn without_padding(masked: &[bool]) -> &[bool] {
    let last = masked.iter().rposition(|masked| !masked);
    &masked[..last.map_or(masked.len(), |last| last + 1)]
}

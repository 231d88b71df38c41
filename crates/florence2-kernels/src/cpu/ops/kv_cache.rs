//! Attention to a growing sequence: the KV cache of the decoder. New tokens are appended to one
//! buffer, and a row is a list of slots in it. Reordering beams permutes lists of slots and copies
//! neither keys nor values.

use rayon::prelude::*;

use crate::SelectRows;
use crate::cpu::buffer_pool::resize_at_least;
use crate::cpu::gemm::prefetch::prefetch;
use crate::cpu::ops::reduce::dot;
use crate::cpu::ops::softmax::softmax;
use crate::cpu::simd::vectorised;
use crate::cpu::workspace::with_workspace;

/// The minimum number of multiplications that threads share. It is small because the threads of a
/// step are spinning.
const MIN_PARALLEL: usize = 1 << 14;

/// The prefetch distance of keys, in slots. Between two steps, the weights pass through the
/// caches, and a slot is too short for the processor to detect the position of the next one.
/// Values are prefetched while the scores are computed. Both prefetches together reduced the time
/// of this attention by a third.
const SLOTS_AHEAD: usize = 3;

/// The keys and values of the tokens decoded so far in a decoder layer.
#[derive(Debug, Clone, Default)]
pub struct SelfAttentionCache {
    /// `[slots, dim]`.
    keys: Vec<f32>,
    /// `[slots, dim]`.
    values: Vec<f32>,
    /// The slots of each row's tokens.
    rows: Vec<Vec<usize>>,
}

impl SelfAttentionCache {
    /// Appends the keys and values of tokens `[rows, tokens, dim]`.
    pub fn append(&mut self, keys: &[f32], values: &[f32], [rows, tokens, dim]: [usize; 3]) {
        let mut slot = self.keys.len() / dim;
        self.rows.resize_with(rows, Vec::new);
        for row in &mut self.rows {
            row.extend(slot..slot + tokens);
            slot += tokens;
        }
        self.keys.extend_from_slice(keys);
        self.values.extend_from_slice(values);
    }

    /// Computes the attention of the last `tokens` tokens of each row to themselves and to all
    /// tokens before them.
    ///
    /// Shapes: `[rows, tokens, dim]` in and out.
    pub fn attention(
        &self,
        queries: &[f32],
        [rows, tokens, dim]: [usize; 3],
        num_heads: usize,
    ) -> Vec<f32> {
        let (head_dim, parts) = (dim / num_heads, parts_of_heads(rows * tokens, num_heads));
        let columns = dim / parts;
        let mut output = vec![0.0; queries.len()];
        let attend = |(index, (output, queries)): (usize, (&mut [f32], &[f32]))| {
            let (token, column) = (index / parts, index % parts * columns);
            let row = &self.rows[token / tokens];
            // A token attends to itself and those before it.
            let visible = row.len() - tokens + token % tokens + 1;
            self.attend_heads(queries, column, &row[..visible], dim, head_dim, output);
        };
        let slots: usize = self.rows.iter().map(Vec::len).sum();
        if slots * tokens * dim < MIN_PARALLEL {
            let tasks = output.chunks_mut(columns).zip(queries.chunks(columns));
            tasks.enumerate().for_each(attend);
        } else {
            let queries = queries.par_chunks(columns);
            let tasks = output.par_chunks_mut(columns).zip(queries);
            tasks.enumerate().for_each(attend);
        }
        output
    }

    /// Computes the attention of a token's queries of some heads, whose columns begin at `column`,
    /// to the tokens at `slots`. It processes one slot after the other, in the order of memory.
    fn attend_heads(
        &self,
        queries: &[f32],
        column: usize,
        slots: &[usize],
        dim: usize,
        head_dim: usize,
        output: &mut [f32],
    ) {
        let columns = |slot: usize| slot * dim + column..slot * dim + column + queries.len();
        let [keys, values] = [&self.keys, &self.values].map(|all| move |slot| &all[columns(slot)]);
        with_workspace(|workspace| {
            // `[heads, slots]`.
            let weights =
                resize_at_least(&mut workspace.inner, queries.len() / head_dim * slots.len());
            vectorised(
                #[inline(always)]
                |multiply_add| {
                    for (index, slot) in slots.iter().enumerate() {
                        if let Some(slot) = slots.get(index + SLOTS_AHEAD) {
                            prefetch(bytemuck::cast_slice(keys(*slot)));
                        }
                        prefetch(bytemuck::cast_slice(values(*slot)));
                        let keys = keys(*slot).chunks_exact(head_dim);
                        let heads = queries.chunks_exact(head_dim).zip(keys);
                        let weights = weights[index..].iter_mut().step_by(slots.len());
                        for ((query, key), weight) in heads.zip(weights) {
                            *weight = dot(multiply_add, query, key);
                        }
                    }
                },
            );
            let scale = (head_dim as f32).powf(-0.5);
            for weights in weights.chunks_exact_mut(slots.len()) {
                softmax(weights, scale);
            }
            vectorised(
                #[inline(always)]
                |multiply_add| {
                    for (index, slot) in slots.iter().enumerate() {
                        let values = values(*slot).chunks_exact(head_dim);
                        let heads = output.chunks_exact_mut(head_dim).zip(values);
                        let weights = weights[index..].iter().step_by(slots.len());
                        for ((output, values), weight) in heads.zip(weights) {
                            for (output, value) in output.iter_mut().zip(values) {
                                *output = multiply_add.of(*weight, *value, *output);
                            }
                        }
                    }
                },
            );
        });
    }
}

impl SelectRows for SelfAttentionCache {
    fn select(&mut self, rows: &[usize]) {
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
    }
}

/// The number of parts into which the heads of `tokens` tokens are divided: the fewest that give
/// each thread the same number of parts. With fewer parts, each reads more of a slot at a time.
fn parts_of_heads(tokens: usize, num_heads: usize) -> usize {
    let threads = rayon::current_num_threads();
    let is_even = |parts: &usize| {
        num_heads.is_multiple_of(*parts) && (tokens * parts).is_multiple_of(threads)
    };
    (1..num_heads).find(is_even).unwrap_or(num_heads)
}

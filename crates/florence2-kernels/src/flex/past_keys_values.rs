//! Attention to a sequence that grows: what comes is written behind what is there, and a row is a
//! list of places, so that beams take their parents' past along without its being moved.

use burn::tensor::Tensor;
use burn_flex::Flex;
use rayon::prelude::*;

use super::elementwise::{LANES, softmax};
use super::keys_values::f32_values;
use super::level::vectorised;
use super::{slice, tensor};

/// Multiplications that are worth sharing: a step's threads are awake.
const WORTH: usize = 1 << 15;

/// See [`crate::PastKeysValues`].
#[derive(Debug, Clone, Default)]
pub struct PastKeysValues {
    /// `[places, dim]`.
    keys: Vec<f32>,
    /// `[places, dim]`.
    values: Vec<f32>,
    /// Of each row, the places of its tokens.
    rows: Vec<Vec<usize>>,
}

impl crate::PastKeysValues<Flex> for PastKeysValues {
    fn attend(
        &mut self,
        queries: Tensor<Flex, 3>,
        keys: Tensor<Flex, 3>,
        values: Tensor<Flex, 3>,
        num_heads: usize,
    ) -> Tensor<Flex, 3> {
        let (shape, dtype) = (queries.dims(), queries.dtype());
        let [_, tokens, dim] = shape;
        let (queries, keys, values) = (f32_values(queries), f32_values(keys), f32_values(values));
        self.append(slice(&keys), slice(&values), shape);
        let head_dim = dim / num_heads;
        let queries = slice(&queries);
        let mut output = vec![0.0; queries.len()];
        let attend = |(index, (output, query)): (usize, (&mut [f32], &[f32]))| {
            let (token, column) = (index / num_heads, index % num_heads * head_dim);
            let row = &self.rows[token / tokens];
            // A token sees itself and those before it.
            let seen = row.len() - tokens + token % tokens + 1;
            self.attend_head(query, column, &row[..seen], dim, output);
        };
        let places: usize = self.rows.iter().map(Vec::len).sum();
        if places * tokens * dim < WORTH {
            let heads = output.chunks_mut(head_dim).zip(queries.chunks(head_dim));
            heads.enumerate().for_each(attend);
        } else {
            let queries = queries.par_chunks(head_dim);
            let heads = output.par_chunks_mut(head_dim).zip(queries);
            heads.enumerate().for_each(attend);
        }
        tensor(output, shape).cast(dtype)
    }

    fn select(&mut self, rows: &[usize]) {
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
    }
}

impl PastKeysValues {
    /// Appends tokens `[rows, tokens, dim]`.
    fn append(&mut self, keys: &[f32], values: &[f32], [rows, tokens, dim]: [usize; 3]) {
        let mut place = self.keys.len() / dim;
        self.rows.resize_with(rows, Vec::new);
        for row in &mut self.rows {
            row.extend(place..place + tokens);
            place += tokens;
        }
        self.keys.extend_from_slice(keys);
        self.values.extend_from_slice(values);
    }

    /// Attends from a head's query, whose columns begin at `column`, to the tokens at `places`.
    fn attend_head(
        &self,
        query: &[f32],
        column: usize,
        places: &[usize],
        dim: usize,
        output: &mut [f32],
    ) {
        let head_dim = query.len();
        let head = |place: usize| place * dim + column..place * dim + column + head_dim;
        let mut weights = vec![0.0; places.len()];
        vectorised(
            #[inline(always)]
            |multiply_add| {
                for (weight, place) in weights.iter_mut().zip(places) {
                    let key = &self.keys[head(*place)];
                    let (queries, queries_tail) = query.as_chunks::<LANES>();
                    let (keys, keys_tail) = key.as_chunks::<LANES>();
                    let mut sums = [0.0; LANES];
                    for (query, key) in queries.iter().zip(keys) {
                        for ((sum, q), k) in sums.iter_mut().zip(query).zip(key) {
                            *sum = multiply_add.of(*q, *k, *sum);
                        }
                    }
                    let tail = queries_tail.iter().zip(keys_tail).map(|(q, k)| q * k);
                    *weight = sums.iter().sum::<f32>() + tail.sum::<f32>();
                }
            },
        );
        softmax(&mut weights, (head_dim as f32).powf(-0.5));
        vectorised(
            #[inline(always)]
            |multiply_add| {
                for (weight, place) in weights.iter().zip(places) {
                    for (output, value) in output.iter_mut().zip(&self.values[head(*place)]) {
                        *output = multiply_add.of(*weight, *value, *output);
                    }
                }
            },
        );
    }
}

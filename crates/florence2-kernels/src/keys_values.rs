//! The keys and values of attention: [`KeysValues`] for a fixed set of tokens, [`PastKeysValues`]
//! for a growing sequence (the KV cache). Each backend has its own representation of both.

use std::fmt::Debug;

use burn::tensor::{Bool, Tensor};

use crate::{Backend, Precision};

/// Keys and values of a fixed set of tokens. They are computed once and read by any number of
/// queries.
pub trait KeysValues<B: Backend>: Clone + Debug + Send + Sync {
    /// Stores projected tokens, in a precision if the backend has a choice.
    ///
    /// # Shapes
    /// - `keys`, `values`: `[batch, tokens, dim]`, heads side by side in `dim`
    /// - `masked`: `[batch or 1, 1, 1, tokens]`, true where a token must not be attended to
    fn new(
        keys: Tensor<B, 3>,
        values: Tensor<B, 3>,
        num_heads: usize,
        masked: Option<Tensor<B, 4, Bool>>,
        precision: Precision,
    ) -> Self;

    /// Computes `softmax(q k^T / sqrt(head_dim)) v` for each head.
    ///
    /// There may be fewer entries than rows of queries. In this case, consecutive rows (the beams
    /// of one image) share an entry, which is read once for all of them.
    ///
    /// # Shapes
    /// - `queries` and output: `[groups * batch, tokens, dim]`
    fn attend(&self, queries: Tensor<B, 3>) -> Tensor<B, 3>;

    /// Keeps the given batch entries, in the given order.
    fn select(&mut self, entries: &[usize]);
}

/// Keys and values of sequences that grow together, token by token: the KV cache.
pub trait PastKeysValues<B: Backend>: Clone + Debug + Default + Send + Sync {
    /// Appends tokens, and computes the attention of each to itself and to all tokens before it.
    ///
    /// # Shapes
    /// - `queries`, `keys`, `values` and output: `[rows, tokens, dim]`, heads side by side in `dim`
    fn attend(
        &mut self,
        queries: Tensor<B, 3>,
        keys: Tensor<B, 3>,
        values: Tensor<B, 3>,
        num_heads: usize,
    ) -> Tensor<B, 3>;

    /// Keeps the given rows, in the given order. A beam that continues inherits the tokens of its
    /// parent.
    fn select(&mut self, rows: &[usize]);
}

//! The caches of the decoder: HF `EncoderDecoderCache`.

use florence2_kernels::{Backend, KeysValues, PastKeysValues};

/// Self-attention keys and values of the tokens decoded so far, per layer.
#[derive(Debug, Clone)]
pub struct KvCache<B: Backend> {
    pub(super) layers: Vec<B::PastKeysValues>,
    pub(super) tokens: usize,
    pub(super) rows: usize,
}

/// Cross-attention keys and values of the encoder's output, per layer. They are computed once and
/// read by every step and every beam.
#[derive(Debug, Clone)]
pub struct CrossAttentionCache<B: Backend> {
    pub(super) layers: Vec<B::KeysValues>,
}

impl<B: Backend> Default for KvCache<B> {
    fn default() -> Self {
        Self {
            layers: Vec::new(),
            tokens: 0,
            rows: 0,
        }
    }
}

impl<B: Backend> KvCache<B> {
    /// The number of tokens per sequence so far.
    pub fn len(&self) -> usize {
        self.tokens
    }

    /// Returns whether no token has been decoded yet.
    pub fn is_empty(&self) -> bool {
        self.tokens == 0
    }

    /// Keeps the given rows, in the given order. A beam that continues inherits the tokens of its
    /// parent.
    pub fn select(&mut self, rows: &[usize]) {
        let unchanged =
            rows.len() == self.rows && rows.iter().enumerate().all(|(index, row)| index == *row);
        if unchanged {
            return;
        }
        for layer in &mut self.layers {
            layer.select(rows);
        }
        self.rows = rows.len();
    }
}

impl<B: Backend> CrossAttentionCache<B> {
    /// Keeps the given batch entries, which drops those whose sequences have ended.
    pub fn select(&mut self, entries: &[usize]) {
        for layer in &mut self.layers {
            layer.select(entries);
        }
    }
}

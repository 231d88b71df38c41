//! The caches of the decoder: HF `EncoderDecoderCache`.

use burn::tensor::{Bool, Int, Tensor};
use florence2_kernels::{Backend, SelectRows};

/// Self-attention keys and values of the tokens decoded so far, per layer.
#[derive(Debug, Clone)]
pub struct KvCache<B: Backend> {
    pub(super) layers: Vec<SelfAttentionCache<B>>,
    pub(super) tokens: usize,
    pub(super) rows: usize,
}

/// Cross-attention keys and values of the encoder's output, per layer. They are computed once and
/// read by every step and every beam.
#[derive(Debug, Clone)]
pub struct CrossAttentionCache<B: Backend> {
    pub(super) layers: Vec<CrossAttention<B>>,
}

/// The keys and values of the tokens decoded so far in one layer. They are read only together with
/// the [`CrossAttention`] with which they were written.
#[derive(Debug, Clone)]
pub struct SelfAttentionCache<B: Backend> {
    /// `[rows, heads, tokens, head_dim]` each; `None` before the first token, or if the backend
    /// fuses the layer.
    keys_values: Option<[Tensor<B, 4>; 2]>,
    /// The backend's cache, if it fuses the layer.
    pub(super) fused: B::SelfAttentionCache,
}

/// The keys and values of the encoder's output in one decoder layer.
#[derive(Debug, Clone)]
pub enum CrossAttention<B: Backend> {
    /// In tensors.
    Plain(KeysValues<B>),
    /// In the format of a backend that fuses the layer.
    Fused(B::CrossAttentionCache),
}

/// The keys and values of a fixed set of tokens.
#[derive(Debug, Clone)]
pub struct KeysValues<B: Backend> {
    /// `[batch, heads, tokens, head_dim]`.
    pub keys: Tensor<B, 4>,
    /// `[batch, heads, tokens, head_dim]`.
    pub values: Tensor<B, 4>,
    /// `[batch or 1, 1, 1, tokens]`, true where a token is padding; `None` if nothing is padded.
    pub key_padding_mask: Option<Tensor<B, 4, Bool>>,
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
            match layer {
                CrossAttention::Plain(keys_values) => keys_values.select(entries),
                CrossAttention::Fused(fused) => fused.select(entries),
            }
        }
    }
}

impl<B: Backend> Default for SelfAttentionCache<B> {
    fn default() -> Self {
        Self {
            keys_values: None,
            fused: B::SelfAttentionCache::default(),
        }
    }
}

impl<B: Backend> SelfAttentionCache<B> {
    /// Appends keys and values, and returns all of them.
    ///
    /// Shapes: `[rows, heads, tokens, head_dim]` to `[rows, heads, past + tokens, head_dim]`.
    pub(super) fn append(&mut self, keys: Tensor<B, 4>, values: Tensor<B, 4>) -> [Tensor<B, 4>; 2] {
        let all = match self.keys_values.take() {
            None => [keys, values],
            Some([past_keys, past_values]) => [
                Tensor::cat(vec![past_keys, keys], 2),
                Tensor::cat(vec![past_values, values], 2),
            ],
        };
        self.keys_values = Some(all.clone());
        all
    }

    fn select(&mut self, rows: &[usize]) {
        match self.keys_values.take() {
            Some(keys_values) => {
                let rows = indices(rows, &keys_values[0].device());
                self.keys_values = Some(keys_values.map(|tensor| tensor.select(0, rows.clone())));
            }
            None => self.fused.select(rows),
        }
    }
}

impl<B: Backend> KeysValues<B> {
    fn select(&mut self, entries: &[usize]) {
        let entries = indices(entries, &self.keys.device());
        self.keys = self.keys.clone().select(0, entries.clone());
        self.values = self.values.clone().select(0, entries.clone());
        if let Some(mask) = self.key_padding_mask.take() {
            self.key_padding_mask = Some(match mask.dims()[0] {
                1 => mask,
                _ => mask.select(0, entries),
            });
        }
    }
}

fn indices<B: Backend>(indices: &[usize], device: &B::Device) -> Tensor<B, 1, Int> {
    let indices: Vec<i32> = indices.iter().map(|&index| index as i32).collect();
    Tensor::from_ints(indices.as_slice(), device)
}

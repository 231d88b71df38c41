//! What the decoder remembers between steps.

use burn::tensor::{Bool, Int, Tensor};
use florence2_kernels::Backend;

/// Keys and values of one attention, each `[batch, heads, tokens, head_dim]`.
#[derive(Debug, Clone)]
pub struct LayerKeysValues<B: Backend> {
    /// The keys.
    pub keys: Tensor<B, 4>,
    /// The values.
    pub values: Tensor<B, 4>,
}

/// Self-attention keys and values of the tokens decoded so far, per layer.
#[derive(Debug, Clone)]
pub struct KvCache<B: Backend> {
    layers: Vec<LayerKeysValues<B>>,
}

/// Cross-attention keys and values of the encoder's output, per layer; made once, read by every
/// step and every beam.
#[derive(Debug, Clone)]
pub struct CrossAttentionCache<B: Backend> {
    /// Per decoder layer: `[batch, heads, encoder tokens, head_dim]`.
    pub layers: Vec<LayerKeysValues<B>>,
    /// `[batch, 1, 1, encoder tokens]`, true where a token is padding.
    pub masked: Option<Tensor<B, 4, Bool>>,
}

impl<B: Backend> Default for KvCache<B> {
    fn default() -> Self {
        Self { layers: Vec::new() }
    }
}

impl<B: Backend> KvCache<B> {
    /// Tokens per sequence so far.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.keys.dims()[2])
    }

    /// Whether nothing has been decoded yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a layer's new keys and values and gives all of them.
    pub(super) fn append(&mut self, layer: usize, new: LayerKeysValues<B>) -> &LayerKeysValues<B> {
        match self.layers.get_mut(layer) {
            None => self.layers.push(new),
            Some(past) => {
                past.keys = Tensor::cat(vec![past.keys.clone(), new.keys], 2);
                past.values = Tensor::cat(vec![past.values.clone(), new.values], 2);
            }
        }
        &self.layers[layer]
    }

    /// Keeps the given rows, in the given order: beams that go on take their parent's past along.
    pub fn select(&mut self, rows: &[usize]) {
        let Some(first) = self.layers.first() else {
            return;
        };
        let unchanged = rows.len() == first.keys.dims()[0]
            && rows.iter().enumerate().all(|(index, row)| index == *row);
        if unchanged {
            return;
        }
        let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
        let rows = Tensor::<B, 1, Int>::from_ints(rows.as_slice(), &first.keys.device());
        for layer in &mut self.layers {
            layer.keys = layer.keys.clone().select(0, rows.clone());
            layer.values = layer.values.clone().select(0, rows.clone());
        }
    }
}

impl<B: Backend> CrossAttentionCache<B> {
    /// Keeps the given batch entries: sequences that are done leave.
    pub fn select(&mut self, entries: &[usize]) {
        let entries: Vec<i32> = entries.iter().map(|&entry| entry as i32).collect();
        let Some(first) = self.layers.first() else {
            return;
        };
        let entries = Tensor::<B, 1, Int>::from_ints(entries.as_slice(), &first.keys.device());
        for layer in &mut self.layers {
            layer.keys = layer.keys.clone().select(0, entries.clone());
            layer.values = layer.values.clone().select(0, entries.clone());
        }
        self.masked = self.masked.take().map(|masked| masked.select(0, entries));
    }
}

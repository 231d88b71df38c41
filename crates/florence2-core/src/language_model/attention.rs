//! Multi-head attention: HF `BartAttention`.

use burn::module::Module;
use burn::tensor::{Bool, Tensor};
use florence2_kernels::layer_weights::AttentionWeights;
use florence2_kernels::{Backend, Dtype};

use super::kv_cache::{KeysValues, SelfAttentionCache};
use crate::dropout::{Dropout, Seeds};
use crate::layers::{Linear, merge_heads, scaled_dot_product_attention, split_heads};

/// The projections and heads of one attention.
#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    /// The key projection, from `d_model` to `d_model`.
    pub k_proj: Linear<B>,
    /// The value projection, from `d_model` to `d_model`.
    pub v_proj: Linear<B>,
    /// The query projection, from `d_model` to `d_model`.
    pub q_proj: Linear<B>,
    /// The output projection, from `d_model` to `d_model`.
    pub out_proj: Linear<B>,
    num_heads: usize,
    #[module(skip)]
    dropout: Dropout,
}

impl<B: Backend> Attention<B> {
    /// Creates the module with lazily initialised parameters.
    ///
    /// `dropout` is the probability with which an attention weight is dropped in training.
    pub fn new(
        d_model: usize,
        num_heads: usize,
        dropout: f64,
        dtype: Dtype,
        device: &B::Device,
    ) -> Self {
        let linear = || Linear::new(d_model, d_model, true, dtype, device);
        Self {
            k_proj: linear(),
            v_proj: linear(),
            q_proj: linear(),
            out_proj: linear(),
            num_heads,
            dropout: Dropout::new(dropout),
        }
    }

    /// The linear layers, by name.
    pub(super) fn linears_mut(&mut self) -> [(&'static str, &mut Linear<B>); 4] {
        [
            ("k_proj", &mut self.k_proj),
            ("v_proj", &mut self.v_proj),
            ("q_proj", &mut self.q_proj),
            ("out_proj", &mut self.out_proj),
        ]
    }

    /// Takes the seeds of the next forward pass.
    pub(super) fn take_seeds(&mut self, seeds: &mut Seeds) {
        self.dropout.take_seeds(seeds);
    }

    /// Self-attention of the encoder: all tokens attend to each other.
    ///
    /// # Shapes
    /// - `x` and output: `[batch, tokens, d_model]`
    /// - `key_padding_mask`: `[batch, 1, 1, tokens]`, true where a token is padding
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        key_padding_mask: Option<Tensor<B, 4, Bool>>,
    ) -> Tensor<B, 3> {
        let keys_values = self.keys_values(x.clone(), key_padding_mask);
        self.forward_cross(x, &keys_values)
    }

    /// Self-attention of the decoder: each token attends to the tokens in `past`, to itself and to
    /// the tokens before it. Appends the tokens to `past`.
    ///
    /// Shapes: `[rows, tokens, d_model]` in and out.
    pub fn forward_causal(
        &self,
        x: Tensor<B, 3>,
        past: &mut SelfAttentionCache<B>,
    ) -> Tensor<B, 3> {
        let tokens = x.dims()[1];
        let [q, k, v] = [&self.q_proj, &self.k_proj, &self.v_proj]
            .map(|projection| split_heads(projection.forward(x.clone()), self.num_heads));
        let [k, v] = past.append(k, v);
        let mask = causal_mask(k.dims()[2] - tokens, tokens, &x.device());
        let attention = scaled_dot_product_attention(q, k, v, mask, self.scale(), &self.dropout);
        self.out_proj.forward(merge_heads(attention))
    }

    /// Attention to given keys and values, such as those of the encoder's output. Beams of one
    /// image share them.
    ///
    /// Shapes: `[beams * batch, tokens, d_model]` in and out, for keys and values of `batch`
    /// entries.
    pub fn forward_cross(&self, x: Tensor<B, 3>, keys_values: &KeysValues<B>) -> Tensor<B, 3> {
        let [rows, tokens, dim] = x.dims();
        let KeysValues {
            keys,
            values,
            key_padding_mask,
        } = keys_values.clone();
        let batch = keys.dims()[0];
        let queries = self
            .q_proj
            .forward(x)
            .reshape([batch, rows / batch * tokens, dim]);
        let q = split_heads(queries, self.num_heads);
        let attention = scaled_dot_product_attention(
            q,
            keys,
            values,
            key_padding_mask,
            self.scale(),
            &self.dropout,
        );
        self.out_proj
            .forward(merge_heads(attention).reshape([rows, tokens, dim]))
    }

    /// The keys and values of tokens.
    ///
    /// # Shapes
    /// - `x`: `[batch, tokens, d_model]`
    /// - `key_padding_mask`: `[batch, 1, 1, tokens]`, true where a token is padding
    pub fn keys_values(
        &self,
        x: Tensor<B, 3>,
        key_padding_mask: Option<Tensor<B, 4, Bool>>,
    ) -> KeysValues<B> {
        let [keys, values] = [&self.k_proj, &self.v_proj]
            .map(|projection| split_heads(projection.forward(x.clone()), self.num_heads));
        KeysValues {
            keys,
            values,
            key_padding_mask,
        }
    }

    /// `1 / sqrt(head_dim)`.
    fn scale(&self) -> f64 {
        let [d_model, _] = self.q_proj.weight.dims();
        ((d_model / self.num_heads) as f64).powf(-0.5)
    }

    /// The parameters, for the backend's fused operations.
    pub(super) fn weights(&self) -> AttentionWeights<'_, B> {
        AttentionWeights {
            k_proj: self.k_proj.weights(),
            v_proj: self.v_proj.weights(),
            q_proj: self.q_proj.weights(),
            out_proj: self.out_proj.weights(),
            num_heads: self.num_heads,
        }
    }
}

/// True where a token would attend to a later one. `None` for a single token, which attends to all
/// tokens before it.
///
/// Output: `[1, 1, tokens, past + tokens]`.
fn causal_mask<B: Backend>(
    past: usize,
    tokens: usize,
    device: &B::Device,
) -> Option<Tensor<B, 4, Bool>> {
    (tokens > 1).then(|| {
        Tensor::<B, 2, Bool>::tril_mask([tokens, past + tokens], past as i64, device)
            .unsqueeze::<4>()
    })
}

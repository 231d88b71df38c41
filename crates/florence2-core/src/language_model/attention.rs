//! Multi-head attention: HF `BartAttention`.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Bool, Tensor};
use florence2_kernels::Backend;

use super::{LayerKeysValues, linear};

/// Projections and heads of one attention.
#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    /// `[d_model, d_model]`.
    pub k_proj: Linear<B>,
    /// `[d_model, d_model]`.
    pub v_proj: Linear<B>,
    /// `[d_model, d_model]`.
    pub q_proj: Linear<B>,
    /// `[d_model, d_model]`.
    pub out_proj: Linear<B>,
    num_heads: usize,
}

impl<B: Backend> Attention<B> {
    /// The module with lazily initialised parameters.
    pub fn new(d_model: usize, num_heads: usize, device: &B::Device) -> Self {
        Self {
            k_proj: linear(d_model, d_model, device),
            v_proj: linear(d_model, d_model, device),
            q_proj: linear(d_model, d_model, device),
            out_proj: linear(d_model, d_model, device),
            num_heads,
        }
    }

    /// Keys and values of `hidden_states` `[batch, tokens, d_model]`.
    pub fn keys_values(&self, hidden_states: Tensor<B, 3>) -> LayerKeysValues<B> {
        LayerKeysValues {
            keys: B::split_heads(
                B::apply_linear(hidden_states.clone(), &self.k_proj),
                self.num_heads,
            ),
            values: B::split_heads(B::apply_linear(hidden_states, &self.v_proj), self.num_heads),
        }
    }

    /// Attends from `hidden_states` to given keys and values.
    ///
    /// The keys may have fewer batch entries than the queries: then consecutive queries (the beams
    /// of one image) share an entry, which is read once for all of them.
    ///
    /// # Shapes
    /// - `hidden_states`: `[groups * batch, tokens, d_model]`
    /// - `keys_values`: `[batch, heads, keys, head_dim]`
    /// - `masked`: `[batch or 1, 1, tokens or 1, keys]`, true where a key must not be seen
    /// - output: as `hidden_states`
    pub fn forward(
        &self,
        hidden_states: Tensor<B, 3>,
        keys_values: &LayerKeysValues<B>,
        masked: Option<Tensor<B, 4, Bool>>,
    ) -> Tensor<B, 3> {
        let [rows, tokens, d_model] = hidden_states.dims();
        let batch = keys_values.keys.dims()[0];
        let queries = B::apply_linear(hidden_states, &self.q_proj);
        let attention = B::multi_head_attention(
            queries.reshape([batch, rows / batch * tokens, d_model]),
            keys_values.keys.clone(),
            keys_values.values.clone(),
            masked,
        );
        B::apply_linear(attention.reshape([rows, tokens, d_model]), &self.out_proj)
    }
}

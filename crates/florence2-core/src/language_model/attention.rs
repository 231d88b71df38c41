//! Multi-head attention: HF `BartAttention`.

use burn::module::Module;
use burn::tensor::{Bool, Tensor};
use florence2_kernels::{Backend, Linear, Precision};

use super::LayerKeysValues;

/// Projections and heads of one attention.
#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    /// From `d_model` to `d_model`.
    pub k_proj: Linear<B>,
    /// From `d_model` to `d_model`.
    pub v_proj: Linear<B>,
    /// From `d_model` to `d_model`.
    pub q_proj: Linear<B>,
    /// From `d_model` to `d_model`.
    pub out_proj: Linear<B>,
    num_heads: usize,
}

impl<B: Backend> Attention<B> {
    /// The module with lazily initialised parameters.
    pub fn new(d_model: usize, num_heads: usize, precision: Precision, device: &B::Device) -> Self {
        let linear = || Linear::new(d_model, d_model, true, precision, device);
        Self {
            k_proj: linear(),
            v_proj: linear(),
            q_proj: linear(),
            out_proj: linear(),
            num_heads,
        }
    }

    /// Keys and values of `hidden_states` `[batch, tokens, d_model]`.
    pub fn keys_values(&self, hidden_states: Tensor<B, 3>) -> LayerKeysValues<B> {
        let [keys, values] = B::apply_linears(hidden_states, [&self.k_proj, &self.v_proj]);
        self.split_keys_values(keys, values)
    }

    /// Queries, keys and values of the same `hidden_states` `[batch, tokens, d_model]`: the queries
    /// of the same shape.
    pub fn queries_keys_values(
        &self,
        hidden_states: Tensor<B, 3>,
    ) -> (Tensor<B, 3>, LayerKeysValues<B>) {
        let linears = [&self.q_proj, &self.k_proj, &self.v_proj];
        let [queries, keys, values] = B::apply_linears(hidden_states, linears);
        (queries, self.split_keys_values(keys, values))
    }

    /// Queries of `hidden_states`, of the same shape.
    pub fn queries(&self, hidden_states: Tensor<B, 3>) -> Tensor<B, 3> {
        B::apply_linear(hidden_states, &self.q_proj)
    }

    fn split_keys_values(&self, keys: Tensor<B, 3>, values: Tensor<B, 3>) -> LayerKeysValues<B> {
        LayerKeysValues {
            keys: B::split_heads(keys, self.num_heads),
            values: B::split_heads(values, self.num_heads),
        }
    }

    /// Attends from queries to given keys and values.
    ///
    /// The keys may have fewer batch entries than the queries: then consecutive queries (the beams
    /// of one image) share an entry, which is read once for all of them.
    ///
    /// # Shapes
    /// - `queries`: `[groups * batch, tokens, d_model]`
    /// - `keys_values`: `[batch, heads, keys, head_dim]`
    /// - `masked`: `[batch or 1, 1, tokens or 1, keys]`, true where a key must not be seen
    /// - output: as `queries`
    pub fn forward(
        &self,
        queries: Tensor<B, 3>,
        keys_values: &LayerKeysValues<B>,
        masked: Option<Tensor<B, 4, Bool>>,
    ) -> Tensor<B, 3> {
        let [rows, tokens, d_model] = queries.dims();
        let batch = keys_values.keys.dims()[0];
        let attention = B::multi_head_attention(
            queries.reshape([batch, rows / batch * tokens, d_model]),
            keys_values.keys.clone(),
            keys_values.values.clone(),
            masked,
        );
        B::apply_linear(attention.reshape([rows, tokens, d_model]), &self.out_proj)
    }
}

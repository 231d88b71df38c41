//! Multi-head attention: HF `BartAttention`.

use burn::module::Module;
use burn::tensor::{Bool, Tensor};
use florence2_kernels::{Backend, KeysValues, Linear, PastKeysValues, Precision};

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

    /// Keys and values of `hidden_states` `[batch, tokens, d_model]`, of which the `masked`
    /// `[batch, 1, 1, tokens]` are not seen.
    pub fn keys_values(
        &self,
        hidden_states: Tensor<B, 3>,
        masked: Option<Tensor<B, 4, Bool>>,
    ) -> B::KeysValues {
        let [keys, values] = B::apply_linears(hidden_states, [&self.k_proj, &self.v_proj]);
        self.remember(keys, values, masked)
    }

    /// Attends from tokens to given keys and values, which beams of one image share.
    ///
    /// Shapes: `[groups * batch, tokens, d_model]` in and out.
    pub fn forward(
        &self,
        hidden_states: Tensor<B, 3>,
        keys_values: &B::KeysValues,
    ) -> Tensor<B, 3> {
        let queries = B::apply_linear(hidden_states, &self.q_proj);
        B::apply_linear(keys_values.attend(queries), &self.out_proj)
    }

    /// Attends from tokens to each other.
    ///
    /// # Shapes
    /// - `hidden_states` and output: `[batch, tokens, d_model]`
    /// - `masked`: as in [`Self::keys_values`]
    pub fn forward_self(
        &self,
        hidden_states: Tensor<B, 3>,
        masked: Option<Tensor<B, 4, Bool>>,
    ) -> Tensor<B, 3> {
        let [queries, keys, values] = self.queries_keys_values(hidden_states);
        let keys_values = self.remember(keys, values, masked);
        B::apply_linear(keys_values.attend(queries), &self.out_proj)
    }

    /// Attends from tokens to themselves and all before them, `past` and each other.
    ///
    /// Shapes: `[rows, tokens, d_model]` in and out.
    pub fn forward_causal(
        &self,
        hidden_states: Tensor<B, 3>,
        past: &mut B::PastKeysValues,
    ) -> Tensor<B, 3> {
        let [queries, keys, values] = self.queries_keys_values(hidden_states);
        let attention = past.attend(queries, keys, values, self.num_heads);
        B::apply_linear(attention, &self.out_proj)
    }

    fn queries_keys_values(&self, hidden_states: Tensor<B, 3>) -> [Tensor<B, 3>; 3] {
        B::apply_linears(hidden_states, [&self.q_proj, &self.k_proj, &self.v_proj])
    }

    fn remember(
        &self,
        keys: Tensor<B, 3>,
        values: Tensor<B, 3>,
        masked: Option<Tensor<B, 4, Bool>>,
    ) -> B::KeysValues {
        let precision = self.k_proj.weight.precision();
        B::KeysValues::new(keys, values, self.num_heads, masked, precision)
    }
}

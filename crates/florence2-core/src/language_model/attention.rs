//! Multi-head attention: HF `BartAttention`.

use burn::module::Module;
use burn::nn::LayerNorm;
use burn::tensor::{Bool, Tensor};
use florence2_kernels::{Backend, KeysValues, Linear, PastKeysValues, Precision};

/// The projections and heads of one attention.
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
    /// Creates the module with lazily initialised parameters.
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

    /// Keys and values of `hidden_states` `[batch, tokens, d_model]`. Tokens that are true in
    /// `masked` `[batch, 1, 1, tokens]` are not attended to.
    pub fn keys_values(
        &self,
        hidden_states: Tensor<B, 3>,
        masked: Option<Tensor<B, 4, Bool>>,
    ) -> B::KeysValues {
        let [keys, values] = B::apply_linears(hidden_states, [&self.k_proj, &self.v_proj]);
        self.remember(keys, values, masked)
    }

    /// `norm(x + attention(x))` with given keys and values, which beams of one image share.
    ///
    /// Shapes: `[groups * batch, tokens, d_model]` in and out.
    pub fn add_then_norm(
        &self,
        hidden_states: Tensor<B, 3>,
        keys_values: &B::KeysValues,
        norm: &LayerNorm<B>,
    ) -> Tensor<B, 3> {
        let queries = B::apply_linear(hidden_states.clone(), &self.q_proj);
        let attention = keys_values.attend(queries);
        B::linear_then_norm(attention, hidden_states, &self.out_proj, norm)
    }

    /// `norm(x + attention(x))`, where all tokens attend to each other.
    ///
    /// # Shapes
    /// - `hidden_states` and output: `[batch, tokens, d_model]`
    /// - `masked`: as in [`Self::keys_values`]
    pub fn add_self_then_norm(
        &self,
        hidden_states: Tensor<B, 3>,
        masked: Option<Tensor<B, 4, Bool>>,
        norm: &LayerNorm<B>,
    ) -> Tensor<B, 3> {
        let [queries, keys, values] = self.queries_keys_values(hidden_states.clone());
        let attention = self.remember(keys, values, masked).attend(queries);
        B::linear_then_norm(attention, hidden_states, &self.out_proj, norm)
    }

    /// `norm(x + attention(x))`, where each token attends to `past`, to itself and to the tokens
    /// before it.
    ///
    /// Shapes: `[rows, tokens, d_model]` in and out.
    pub fn add_causal_then_norm(
        &self,
        hidden_states: Tensor<B, 3>,
        past: &mut B::PastKeysValues,
        norm: &LayerNorm<B>,
    ) -> Tensor<B, 3> {
        let [queries, keys, values] = self.queries_keys_values(hidden_states.clone());
        let attention = past.attend(queries, keys, values, self.num_heads);
        B::linear_then_norm(attention, hidden_states, &self.out_proj, norm)
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

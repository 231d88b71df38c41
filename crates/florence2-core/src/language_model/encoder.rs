//! The encoder: HF `BartEncoder`.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Bool, Tensor};
use florence2_kernels::{Activation, Backend, Linear, Precision, TokenEmbedding};

use super::{Attention, embed_positions, layer_norm, linear, position_table};
use crate::config::{Florence2TextConfig, activation_named};

/// The embeddings, layer norm and layers of the encoder.
#[derive(Module, Debug)]
pub struct Encoder<B: Backend> {
    /// `[vocab_size, d_model]`, the prompt's token embedding; `None` for the shared one. An adapter
    /// of the shared embedding creates it, because PEFT applies such an adapter only to the prompt.
    pub embed_tokens: Option<TokenEmbedding<B>>,
    /// `[max_position_embeddings + 2, d_model]`.
    pub embed_positions: Embedding<B>,
    /// The layers.
    pub layers: Vec<EncoderLayer<B>>,
    /// Layer norm of the embeddings.
    pub layernorm_embedding: LayerNorm<B>,
}

/// Self-attention and feed-forward, each added to its input and then normed: HF
/// `BartEncoderLayer`.
#[derive(Module, Debug)]
pub struct EncoderLayer<B: Backend> {
    /// The attention.
    pub self_attn: Attention<B>,
    /// Layer norm after the attention.
    pub self_attn_layer_norm: LayerNorm<B>,
    /// From `d_model` to `encoder_ffn_dim`.
    pub fc1: Linear<B>,
    /// Back to `d_model`.
    pub fc2: Linear<B>,
    /// Layer norm after the feed-forward block.
    pub final_layer_norm: LayerNorm<B>,
    #[module(skip)]
    activation: Activation,
}

impl<B: Backend> Encoder<B> {
    /// Creates the module with lazily initialised parameters.
    pub fn new(config: &Florence2TextConfig, precision: Precision, device: &B::Device) -> Self {
        let layer = |_| EncoderLayer {
            self_attn: Attention::new(
                config.d_model,
                config.encoder_attention_heads,
                precision,
                device,
            ),
            self_attn_layer_norm: layer_norm(config, device),
            fc1: linear(config.d_model, config.encoder_ffn_dim, precision, device),
            fc2: linear(config.encoder_ffn_dim, config.d_model, precision, device),
            final_layer_norm: layer_norm(config, device),
            activation: activation_named(&config.activation_function),
        };
        Self {
            embed_tokens: None,
            embed_positions: position_table(config, device),
            layers: (0..config.encoder_layers).map(layer).collect(),
            layernorm_embedding: layer_norm(config, device),
        }
    }

    /// Encodes embeddings.
    ///
    /// # Shapes
    /// - `inputs_embeds`: `[batch, tokens, d_model]`
    /// - `masked`: `[batch, 1, 1, tokens]`, true where a token is padding
    /// - output: `[batch, tokens, d_model]`
    pub fn forward(
        &self,
        inputs_embeds: Tensor<B, 3>,
        masked: Option<&Tensor<B, 4, Bool>>,
    ) -> Tensor<B, 3> {
        let tokens = inputs_embeds.dims()[1];
        let embedded = inputs_embeds + embed_positions(&self.embed_positions, 0, tokens);
        let hidden_states = B::apply_norm(embedded, &self.layernorm_embedding);
        self.layers
            .iter()
            .fold(hidden_states, |hidden_states, layer| {
                layer.forward(hidden_states, masked.cloned())
            })
    }
}

impl<B: Backend> EncoderLayer<B> {
    /// Shapes: as in [`Encoder::forward`].
    pub fn forward(
        &self,
        hidden_states: Tensor<B, 3>,
        masked: Option<Tensor<B, 4, Bool>>,
    ) -> Tensor<B, 3> {
        let norm = &self.self_attn_layer_norm;
        let hidden_states = self
            .self_attn
            .add_self_then_norm(hidden_states, masked, norm);
        B::feed_forward_then_norm(
            hidden_states,
            &self.fc1,
            &self.fc2,
            self.activation,
            &self.final_layer_norm,
        )
    }
}

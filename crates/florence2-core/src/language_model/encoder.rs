//! The encoder: HF `BartEncoder`.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, LayerNormConfig};
use burn::tensor::{Bool, Tensor};
use florence2_kernels::layer_weights::{EncoderLayerWeights, MlpWeights};
use florence2_kernels::{Activation, Backend, Dtype};

use super::attention::Attention;
use super::layer_dropout::LayerDropout;
use super::positions::{embed_positions, position_table};
use crate::config::{Florence2TextConfig, activation_named};
use crate::dropout::{Dropout, Seeds};
use crate::layers::{Linear, TokenEmbedding, activate, layer_norm};

/// The embeddings, layer norm and layers of the encoder.
#[derive(Module, Debug)]
pub struct Encoder<B: Backend> {
    /// `[vocab_size, d_model]`, the prompt's token embedding; `None` for the shared one. An adapter
    /// of the shared embedding creates it, because PEFT applies such an adapter only to the prompt.
    pub embed_tokens: Option<TokenEmbedding<B>>,
    /// `[max_position_embeddings + 2, d_model]`.
    pub embed_positions: Embedding<B>,
    /// `encoder_layers` layers, in order.
    pub layers: Vec<EncoderLayer<B>>,
    /// Layer norm of the embeddings.
    pub layernorm_embedding: LayerNorm<B>,
    #[module(skip)]
    dropout: Dropout,
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
    #[module(skip)]
    dropout: LayerDropout,
}

impl<B: Backend> Encoder<B> {
    /// Creates the module with lazily initialised parameters.
    pub fn new(config: &Florence2TextConfig, dtype: Dtype, device: &B::Device) -> Self {
        let norm = || LayerNormConfig::new(config.d_model).init(device);
        let linear = |inputs, outputs| Linear::new(inputs, outputs, true, dtype, device);
        let layer = |_| EncoderLayer {
            self_attn: Attention::new(
                config.d_model,
                config.encoder_attention_heads,
                config.attention_dropout,
                dtype,
                device,
            ),
            self_attn_layer_norm: norm(),
            fc1: linear(config.d_model, config.encoder_ffn_dim),
            fc2: linear(config.encoder_ffn_dim, config.d_model),
            final_layer_norm: norm(),
            activation: activation_named(&config.activation_function),
            dropout: LayerDropout::new(config, config.encoder_layerdrop),
        };
        Self {
            embed_tokens: None,
            embed_positions: position_table(config, device),
            layers: (0..config.encoder_layers).map(layer).collect(),
            layernorm_embedding: norm(),
            dropout: Dropout::new(config.dropout),
        }
    }

    /// The linear layers, by name.
    pub(super) fn linears_mut(&mut self) -> impl Iterator<Item = (String, &mut Linear<B>)> {
        let layers = self.layers.iter_mut().enumerate();
        layers.flat_map(|(index, layer)| {
            let linears = layer.linears_mut();
            linears.map(move |(name, linear)| (format!("layers.{index}.{name}"), linear))
        })
    }

    /// Takes the seeds of the next forward pass.
    pub(super) fn take_seeds(&mut self, seeds: &mut Seeds) {
        self.dropout.take_seeds(seeds);
        for layer in &mut self.layers {
            layer.self_attn.take_seeds(seeds);
            layer.dropout.take_seeds(seeds);
        }
    }

    /// Encodes embeddings.
    ///
    /// # Shapes
    /// - `inputs_embeds`: `[batch, tokens, d_model]`
    /// - `key_padding_mask`: `[batch, 1, 1, tokens]`, true where a token is padding
    /// - output: `[batch, tokens, d_model]`
    pub fn forward(
        &self,
        inputs_embeds: Tensor<B, 3>,
        key_padding_mask: Option<&Tensor<B, 4, Bool>>,
    ) -> Tensor<B, 3> {
        let tokens = inputs_embeds.dims()[1];
        let x = inputs_embeds + embed_positions(&self.embed_positions, 0, tokens);
        let x = self
            .dropout
            .forward(layer_norm(&self.layernorm_embedding, x));
        self.layers
            .iter()
            .filter(|layer| !layer.dropout.layer.is_skipped())
            .fold(x, |x, layer| layer.forward(x, key_padding_mask))
    }
}

impl<B: Backend> EncoderLayer<B> {
    /// The linear layers, by name.
    fn linears_mut(&mut self) -> impl Iterator<Item = (String, &mut Linear<B>)> {
        let self_attn = self.self_attn.linears_mut();
        let self_attn = self_attn.map(|(name, linear)| (format!("self_attn.{name}"), linear));
        let feed_forward = [
            ("fc1".to_owned(), &mut self.fc1),
            ("fc2".to_owned(), &mut self.fc2),
        ];
        self_attn.into_iter().chain(feed_forward)
    }

    /// Shapes: as in [`Encoder::forward`].
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        key_padding_mask: Option<&Tensor<B, 4, Bool>>,
    ) -> Tensor<B, 3> {
        if let Some(y) = B::fused_encoder_layer(&x, key_padding_mask, &self.weights()) {
            return y;
        }
        let attention = self.self_attn.forward(x.clone(), key_padding_mask.cloned());
        let x = x + self.dropout.self_attn.forward(attention);
        let x = layer_norm(&self.self_attn_layer_norm, x);
        let hidden = activate(self.activation, self.fc1.forward(x.clone()));
        let hidden = self.dropout.activation.forward(hidden);
        let x = x + self.dropout.fc2.forward(self.fc2.forward(hidden));
        layer_norm(&self.final_layer_norm, x)
    }

    /// The parameters, for the backend's fused operation.
    pub fn weights(&self) -> EncoderLayerWeights<'_, B> {
        EncoderLayerWeights {
            self_attn: self.self_attn.weights(),
            self_attn_layer_norm: &self.self_attn_layer_norm,
            feed_forward: MlpWeights {
                fc1: self.fc1.weights(),
                fc2: self.fc2.weights(),
                activation: self.activation,
            },
            final_layer_norm: &self.final_layer_norm,
        }
    }
}

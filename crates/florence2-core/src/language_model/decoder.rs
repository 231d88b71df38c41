//! The decoder: HF `BartDecoder`.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Bool, Tensor};
use florence2_kernels::{Activation, Backend, Linear, Precision, TokenEmbedding};

use super::{
    Attention, CrossAttentionCache, KvCache, embed_positions, layer_norm, linear, position_table,
};
use crate::config::{Florence2TextConfig, activation_named};

/// The embeddings, layer norm and layers of the decoder.
#[derive(Module, Debug)]
pub struct Decoder<B: Backend> {
    /// `[vocab_size, d_model]`, the answer's token embedding; `None` if it is tied to the shared
    /// one.
    pub embed_tokens: Option<TokenEmbedding<B>>,
    /// `[max_position_embeddings + 2, d_model]`.
    pub embed_positions: Embedding<B>,
    /// The layers.
    pub layers: Vec<DecoderLayer<B>>,
    /// Layer norm of the embeddings.
    pub layernorm_embedding: LayerNorm<B>,
}

/// Self-attention, cross-attention and feed-forward, each added to its input and then normed: HF
/// `BartDecoderLayer`.
#[derive(Module, Debug)]
pub struct DecoderLayer<B: Backend> {
    /// Attention to the token itself and to those before it.
    pub self_attn: Attention<B>,
    /// Layer norm after the self-attention.
    pub self_attn_layer_norm: LayerNorm<B>,
    /// Attention to the encoder's output.
    pub encoder_attn: Attention<B>,
    /// Layer norm after the cross-attention.
    pub encoder_attn_layer_norm: LayerNorm<B>,
    /// From `d_model` to `decoder_ffn_dim`.
    pub fc1: Linear<B>,
    /// Back to `d_model`.
    pub fc2: Linear<B>,
    /// Layer norm after the feed-forward block.
    pub final_layer_norm: LayerNorm<B>,
    #[module(skip)]
    activation: Activation,
}

impl<B: Backend> Decoder<B> {
    /// Creates the module with lazily initialised parameters.
    pub fn new(config: &Florence2TextConfig, precision: Precision, device: &B::Device) -> Self {
        let attention = || {
            Attention::new(
                config.d_model,
                config.decoder_attention_heads,
                precision,
                device,
            )
        };
        let layer = |_| DecoderLayer {
            self_attn: attention(),
            self_attn_layer_norm: layer_norm(config, device),
            encoder_attn: attention(),
            encoder_attn_layer_norm: layer_norm(config, device),
            fc1: linear(config.d_model, config.decoder_ffn_dim, precision, device),
            fc2: linear(config.decoder_ffn_dim, config.d_model, precision, device),
            final_layer_norm: layer_norm(config, device),
            activation: activation_named(&config.activation_function),
        };
        let embed_tokens =
            || TokenEmbedding::new(config.vocab_size, config.d_model, precision, device);
        Self {
            embed_tokens: (!config.tie_word_embeddings).then(embed_tokens),
            embed_positions: position_table(config, device),
            layers: (0..config.decoder_layers).map(layer).collect(),
            layernorm_embedding: layer_norm(config, device),
        }
    }

    /// The keys and values of the encoder's output for every layer, computed once per image and
    /// prompt.
    ///
    /// # Shapes
    /// - `encoder_hidden_states`: `[batch, tokens, d_model]`
    /// - `masked`: `[batch, 1, 1, tokens]`, true where a token is padding
    pub fn cross_attention_cache(
        &self,
        encoder_hidden_states: &Tensor<B, 3>,
        masked: Option<Tensor<B, 4, Bool>>,
    ) -> CrossAttentionCache<B> {
        let layer = |layer: &DecoderLayer<B>| {
            let hidden_states = encoder_hidden_states.clone();
            layer
                .encoder_attn
                .keys_values(hidden_states, masked.clone())
        };
        CrossAttentionCache {
            layers: self.layers.iter().map(layer).collect(),
        }
    }

    /// Extends the sequences in `cache` by the given tokens.
    ///
    /// # Shapes
    /// - `inputs_embeds`: `[beams * batch, tokens, d_model]`
    /// - output: as `inputs_embeds`
    pub fn forward(
        &self,
        inputs_embeds: Tensor<B, 3>,
        cross_attention: &CrossAttentionCache<B>,
        cache: &mut KvCache<B>,
    ) -> Tensor<B, 3> {
        let [rows, tokens, _] = inputs_embeds.dims();
        let embedded = inputs_embeds + embed_positions(&self.embed_positions, cache.tokens, tokens);
        let mut hidden_states = B::apply_norm(embedded, &self.layernorm_embedding);
        cache
            .layers
            .resize_with(self.layers.len(), Default::default);
        let caches = cache.layers.iter_mut().zip(&cross_attention.layers);
        for (layer, (past, encoder_keys_values)) in self.layers.iter().zip(caches) {
            hidden_states = layer.forward(hidden_states, past, encoder_keys_values);
        }
        cache.tokens += tokens;
        cache.rows = rows;
        hidden_states
    }
}

impl<B: Backend> DecoderLayer<B> {
    /// Shapes: `[beams * batch, tokens, d_model]` in and out.
    fn forward(
        &self,
        hidden_states: Tensor<B, 3>,
        past: &mut B::PastKeysValues,
        encoder_keys_values: &B::KeysValues,
    ) -> Tensor<B, 3> {
        let norm = &self.self_attn_layer_norm;
        let hidden_states = self
            .self_attn
            .add_causal_then_norm(hidden_states, past, norm);
        let norm = &self.encoder_attn_layer_norm;
        let hidden_states =
            self.encoder_attn
                .add_then_norm(hidden_states, encoder_keys_values, norm);
        B::feed_forward_then_norm(
            hidden_states,
            &self.fc1,
            &self.fc2,
            self.activation,
            &self.final_layer_norm,
        )
    }
}

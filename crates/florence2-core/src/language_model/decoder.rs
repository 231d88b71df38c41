//! The decoder: HF `BartDecoder`.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, LayerNormConfig};
use burn::tensor::{Bool, Tensor};
use florence2_kernels::layer_weights::{DecoderLayerWeights, MlpWeights};
use florence2_kernels::{Activation, Backend, Dtype};

use super::attention::Attention;
use super::kv_cache::{CrossAttention, CrossAttentionCache, KvCache, SelfAttentionCache};
use super::layer_dropout::LayerDropout;
use super::positions::{embed_positions, position_table};
use crate::config::{Florence2TextConfig, activation_named};
use crate::dropout::{Dropout, Seeds};
use crate::layers::{Linear, TokenEmbedding, activate, layer_norm};

/// The embeddings, layer norm and layers of the decoder.
#[derive(Module, Debug)]
pub struct Decoder<B: Backend> {
    /// `[vocab_size, d_model]`, the answer's token embedding; `None` if it is tied to the shared
    /// one.
    pub embed_tokens: Option<TokenEmbedding<B>>,
    /// `[max_position_embeddings + 2, d_model]`.
    pub embed_positions: Embedding<B>,
    /// `decoder_layers` layers, in order.
    pub layers: Vec<DecoderLayer<B>>,
    /// Layer norm of the embeddings.
    pub layernorm_embedding: LayerNorm<B>,
    #[module(skip)]
    dropout: Dropout,
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
    #[module(skip)]
    dropout: LayerDropout,
}

impl<B: Backend> Decoder<B> {
    /// Creates the module with lazily initialised parameters.
    pub fn new(config: &Florence2TextConfig, dtype: Dtype, device: &B::Device) -> Self {
        let attention = || {
            Attention::new(
                config.d_model,
                config.decoder_attention_heads,
                config.attention_dropout,
                dtype,
                device,
            )
        };
        let norm = || LayerNormConfig::new(config.d_model).init(device);
        let linear = |inputs, outputs| Linear::new(inputs, outputs, true, dtype, device);
        let layer = |_| DecoderLayer {
            self_attn: attention(),
            self_attn_layer_norm: norm(),
            encoder_attn: attention(),
            encoder_attn_layer_norm: norm(),
            fc1: linear(config.d_model, config.decoder_ffn_dim),
            fc2: linear(config.decoder_ffn_dim, config.d_model),
            final_layer_norm: norm(),
            activation: activation_named(&config.activation_function),
            dropout: LayerDropout::new(config, config.decoder_layerdrop),
        };
        let embed_tokens = || TokenEmbedding::new(config.vocab_size, config.d_model, dtype, device);
        Self {
            embed_tokens: (!config.tie_word_embeddings).then(embed_tokens),
            embed_positions: position_table(config, device),
            layers: (0..config.decoder_layers).map(layer).collect(),
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
            layer.encoder_attn.take_seeds(seeds);
            layer.dropout.take_seeds(seeds);
        }
    }

    /// The keys and values of the encoder's output for every layer, computed once per image and
    /// prompt.
    ///
    /// # Shapes
    /// - `encoder_hidden_states`: `[batch, tokens, d_model]`
    /// - `key_padding_mask`: `[batch, 1, 1, tokens]`, true where a token is padding
    pub fn cross_attention_cache(
        &self,
        encoder_hidden_states: &Tensor<B, 3>,
        key_padding_mask: Option<&Tensor<B, 4, Bool>>,
    ) -> CrossAttentionCache<B> {
        let layers = self.layers.iter();
        let layers =
            layers.map(|layer| layer.cross_attention(encoder_hidden_states, key_padding_mask));
        CrossAttentionCache {
            layers: layers.collect(),
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
        let x = inputs_embeds + embed_positions(&self.embed_positions, cache.tokens, tokens);
        let mut x = self
            .dropout
            .forward(layer_norm(&self.layernorm_embedding, x));
        cache
            .layers
            .resize_with(self.layers.len(), Default::default);
        let caches = cache.layers.iter_mut().zip(&cross_attention.layers);
        for (layer, (self_attention, cross_attention)) in self.layers.iter().zip(caches) {
            if !layer.dropout.layer.is_skipped() {
                x = layer.forward(x, self_attention, cross_attention);
            }
        }
        cache.tokens += tokens;
        cache.rows = rows;
        x
    }
}

impl<B: Backend> DecoderLayer<B> {
    /// The linear layers, by name.
    fn linears_mut(&mut self) -> impl Iterator<Item = (String, &mut Linear<B>)> {
        let self_attn = self.self_attn.linears_mut();
        let self_attn = self_attn.map(|(name, linear)| (format!("self_attn.{name}"), linear));
        let encoder_attn = self.encoder_attn.linears_mut();
        let encoder_attn =
            encoder_attn.map(|(name, linear)| (format!("encoder_attn.{name}"), linear));
        let feed_forward = [
            ("fc1".to_owned(), &mut self.fc1),
            ("fc2".to_owned(), &mut self.fc2),
        ];
        self_attn
            .into_iter()
            .chain(encoder_attn)
            .chain(feed_forward)
    }

    /// Shapes: `[beams * batch, tokens, d_model]` in and out.
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        self_attention: &mut SelfAttentionCache<B>,
        cross_attention: &CrossAttention<B>,
    ) -> Tensor<B, 3> {
        let keys_values = match cross_attention {
            CrossAttention::Plain(keys_values) => keys_values,
            CrossAttention::Fused(fused) => {
                let (cache, weights) = (&mut self_attention.fused, self.weights());
                let y = B::fused_decoder_layer(&x, cache, fused, &weights);
                // INVARIANT: a backend with such a cache fuses the layer.
                return y.expect("a fused decoder layer");
            }
        };
        let attention = self.self_attn.forward_causal(x.clone(), self_attention);
        let x = x + self.dropout.self_attn.forward(attention);
        let x = layer_norm(&self.self_attn_layer_norm, x);
        let attention = self.encoder_attn.forward_cross(x.clone(), keys_values);
        let x = x + self.dropout.encoder_attn.forward(attention);
        let x = layer_norm(&self.encoder_attn_layer_norm, x);
        let hidden = activate(self.activation, self.fc1.forward(x.clone()));
        let hidden = self.dropout.activation.forward(hidden);
        let x = x + self.dropout.fc2.forward(self.fc2.forward(hidden));
        layer_norm(&self.final_layer_norm, x)
    }

    /// The keys and values of the encoder's output. Shapes: see [`Decoder::cross_attention_cache`].
    pub fn cross_attention(
        &self,
        encoder_hidden_states: &Tensor<B, 3>,
        key_padding_mask: Option<&Tensor<B, 4, Bool>>,
    ) -> CrossAttention<B> {
        let (x, mask) = (encoder_hidden_states, key_padding_mask);
        match B::fused_cross_attention_cache(x, mask, &self.weights()) {
            Some(fused) => CrossAttention::Fused(fused),
            None => CrossAttention::Plain(self.encoder_attn.keys_values(x.clone(), mask.cloned())),
        }
    }

    /// The parameters, for the backend's fused operations.
    fn weights(&self) -> DecoderLayerWeights<'_, B> {
        DecoderLayerWeights {
            self_attn: self.self_attn.weights(),
            self_attn_layer_norm: &self.self_attn_layer_norm,
            encoder_attn: self.encoder_attn.weights(),
            encoder_attn_layer_norm: &self.encoder_attn_layer_norm,
            feed_forward: MlpWeights {
                fc1: self.fc1.weights(),
                fc2: self.fc2.weights(),
                activation: self.activation,
            },
            final_layer_norm: &self.final_layer_norm,
        }
    }
}

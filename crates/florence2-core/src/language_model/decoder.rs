//! The decoder: HF `BartDecoder`.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Bool, Tensor};
use florence2_kernels::{Backend, Linear, Precision};

use super::{
    Attention, CrossAttentionCache, KvCache, LayerKeysValues, embed_positions, layer_norm, linear,
    position_table,
};
use crate::config::Florence2TextConfig;

/// Positions, layer norm, layers.
#[derive(Module, Debug)]
pub struct Decoder<B: Backend> {
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
    /// Attention to the tokens so far.
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
    /// Layer norm after the feed-forward part.
    pub final_layer_norm: LayerNorm<B>,
}

impl<B: Backend> Decoder<B> {
    /// The module with lazily initialised parameters.
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
        };
        Self {
            embed_positions: position_table(config, device),
            layers: (0..config.decoder_layers).map(layer).collect(),
            layernorm_embedding: layer_norm(config, device),
        }
    }

    /// The keys and values of the encoder's output for every layer: once per image and prompt.
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
            layer
                .encoder_attn
                .keys_values(encoder_hidden_states.clone())
        };
        CrossAttentionCache {
            layers: self.layers.iter().map(layer).collect(),
            masked,
        }
    }

    /// Continues the sequences in `cache` by the given tokens.
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
        let (past, tokens) = (cache.len(), inputs_embeds.dims()[1]);
        let masked = causal_mask(past, tokens, &inputs_embeds.device());
        let embedded = inputs_embeds + embed_positions(&self.embed_positions, past, tokens);
        let mut hidden_states = B::apply_norm(embedded, &self.layernorm_embedding);
        for (index, layer) in self.layers.iter().enumerate() {
            let (queries, keys_values) = layer.self_attn.queries_keys_values(hidden_states.clone());
            let keys_values = cache.append(index, keys_values);
            hidden_states = layer.forward(
                hidden_states,
                queries,
                keys_values,
                masked.clone(),
                &cross_attention.layers[index],
                cross_attention.masked.clone(),
            );
        }
        hidden_states
    }
}

impl<B: Backend> DecoderLayer<B> {
    fn forward(
        &self,
        hidden_states: Tensor<B, 3>,
        queries: Tensor<B, 3>,
        keys_values: &LayerKeysValues<B>,
        masked: Option<Tensor<B, 4, Bool>>,
        encoder_keys_values: &LayerKeysValues<B>,
        encoder_masked: Option<Tensor<B, 4, Bool>>,
    ) -> Tensor<B, 3> {
        let attention = self.self_attn.forward(queries, keys_values, masked);
        let hidden_states = B::apply_norm(hidden_states + attention, &self.self_attn_layer_norm);
        let queries = self.encoder_attn.queries(hidden_states.clone());
        let attention = self
            .encoder_attn
            .forward(queries, encoder_keys_values, encoder_masked);
        let hidden_states = B::apply_norm(hidden_states + attention, &self.encoder_attn_layer_norm);
        B::feed_forward_then_norm(hidden_states, &self.fc1, &self.fc2, &self.final_layer_norm)
    }
}

/// True where a token would see a later one; none for a single token, which sees all before it.
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

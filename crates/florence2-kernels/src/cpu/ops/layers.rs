//! The layers of the model over the fused operations: HF `BartEncoderLayer` and `BartDecoderLayer`,
//! and the second half of a vision block.

use burn::tensor::{Bool, Tensor};
use burn_flex::Flex;

use crate::Dtype;
use crate::cpu::buffer_pool;
use crate::cpu::gemm::driver;
use crate::cpu::ops::cross_attention_cache::CrossAttentionCache;
use crate::cpu::ops::depthwise::Depthwise;
use crate::cpu::ops::feed_forward::{self, Layers};
use crate::cpu::ops::kv_cache::SelfAttentionCache;
use crate::cpu::parameters::{Affine, Norm};
use crate::cpu::tensor::{slice, tensor, values};
use crate::layer_weights::{
    AttentionWeights, DecoderLayerWeights, EncoderLayerWeights, MlpWeights,
    VisionFeedForwardWeights,
};

/// The depthwise convolution, the norm and the MLP of a vision block, for images of one size.
pub(crate) struct VisionFeedForward<'a> {
    conv: Depthwise,
    norm: Norm,
    layers: Layers<'a>,
    tokens: usize,
}

impl<'a> VisionFeedForward<'a> {
    /// Returns `None` if a weight is not packed, or for another kind of convolution.
    pub(crate) fn new(
        shape: [usize; 4],
        weights: &VisionFeedForwardWeights<'a, Flex>,
    ) -> Option<Self> {
        Some(Self {
            conv: Depthwise::new(shape, weights.conv2)?,
            norm: Norm::new(weights.norm2),
            layers: layers(&weights.ffn)?,
            tokens: shape[1] * shape[2],
        })
    }

    /// `x + mlp(norm(x))`, where `x = input + conv(input)`. Reuses the buffer of `input`.
    pub(crate) fn add(&self, input: Vec<f32>) -> Vec<f32> {
        buffer_pool::replace(input, |input, output| {
            let Self {
                conv,
                norm,
                layers,
                tokens,
            } = self;
            feed_forward::add_feed_forward(input, *tokens, output, conv, norm, layers);
        })
    }
}

/// HF `BartEncoderLayer`.
pub(crate) struct EncoderLayer<'a> {
    self_attn: Attention<'a>,
    self_attn_layer_norm: Norm,
    feed_forward: Layers<'a>,
    final_layer_norm: Norm,
}

impl<'a> EncoderLayer<'a> {
    /// Returns `None` if a weight is not packed.
    pub(crate) fn new(weights: &EncoderLayerWeights<'a, Flex>) -> Option<Self> {
        Some(Self {
            self_attn: Attention::new(&weights.self_attn)?,
            self_attn_layer_norm: Norm::new(weights.self_attn_layer_norm),
            feed_forward: layers(&weights.feed_forward)?,
            final_layer_norm: Norm::new(weights.final_layer_norm),
        })
    }

    /// Returns `None` if the input is not f32. Shapes: see [`crate::Backend::fused_encoder_layer`].
    pub(crate) fn forward(
        &self,
        hidden_states: &Tensor<Flex, 3>,
        key_padding_mask: Option<&Tensor<Flex, 4, Bool>>,
    ) -> Option<Tensor<Flex, 3>> {
        let shape = hidden_states.dims();
        let input = values(hidden_states)?;
        let [_, tokens, _] = shape;
        let attention = &self.self_attn;
        let [queries, keys, values] = attention.queries_keys_values(slice(&input), tokens);
        let cache = attention.cache([&keys, &values], shape, key_padding_mask);
        let attended = cache.attention(&queries);
        let norm = &self.self_attn_layer_norm;
        let x = attention.project_then_norm(&attended, slice(&input), tokens, norm);

        let norm = &self.final_layer_norm;
        let x = feed_forward::feed_forward_then_norm(&x, tokens, &self.feed_forward, norm);
        Some(tensor(x, shape))
    }
}

/// HF `BartDecoderLayer`.
pub(crate) struct DecoderLayer<'a> {
    self_attn: Attention<'a>,
    self_attn_layer_norm: Norm,
    encoder_attn: Attention<'a>,
    encoder_attn_layer_norm: Norm,
    feed_forward: Layers<'a>,
    final_layer_norm: Norm,
}

impl<'a> DecoderLayer<'a> {
    /// Returns `None` if a weight is not packed.
    pub(crate) fn new(weights: &DecoderLayerWeights<'a, Flex>) -> Option<Self> {
        Some(Self {
            self_attn: Attention::new(&weights.self_attn)?,
            self_attn_layer_norm: Norm::new(weights.self_attn_layer_norm),
            encoder_attn: Attention::new(&weights.encoder_attn)?,
            encoder_attn_layer_norm: Norm::new(weights.encoder_attn_layer_norm),
            feed_forward: layers(&weights.feed_forward)?,
            final_layer_norm: Norm::new(weights.final_layer_norm),
        })
    }

    /// Returns `None` if the input is not f32. Shapes: see
    /// [`crate::Backend::fused_cross_attention_cache`].
    pub(crate) fn cross_attention_cache(
        &self,
        encoder_hidden_states: &Tensor<Flex, 3>,
        key_padding_mask: Option<&Tensor<Flex, 4, Bool>>,
    ) -> Option<CrossAttentionCache> {
        let shape = encoder_hidden_states.dims();
        let input = values(encoder_hidden_states)?;
        let attention = &self.encoder_attn;
        let [keys, values] = attention.keys_values(slice(&input), shape[1]);
        Some(attention.cache([&keys, &values], shape, key_padding_mask))
    }

    /// Returns `None` if the input is not f32. Shapes: see [`crate::Backend::fused_decoder_layer`].
    pub(crate) fn forward(
        &self,
        hidden_states: &Tensor<Flex, 3>,
        self_attention: &mut SelfAttentionCache,
        cross_attention: &CrossAttentionCache,
    ) -> Option<Tensor<Flex, 3>> {
        let shape = hidden_states.dims();
        let [_, tokens, _] = shape;
        let input = values(hidden_states)?;
        let attention = &self.self_attn;
        let [queries, keys, values] = attention.queries_keys_values(slice(&input), tokens);
        self_attention.append(&keys, &values, shape);
        let attended = self_attention.attention(&queries, shape, attention.num_heads);
        let norm = &self.self_attn_layer_norm;
        let x = attention.project_then_norm(&attended, slice(&input), tokens, norm);

        let attention = &self.encoder_attn;
        let queries = driver::linear(&x, tokens, attention.q_proj());
        let attended = cross_attention.attention(&queries);
        let norm = &self.encoder_attn_layer_norm;
        let x = attention.project_then_norm(&attended, &x, tokens, norm);

        let norm = &self.final_layer_norm;
        let x = feed_forward::feed_forward_then_norm(&x, tokens, &self.feed_forward, norm);
        Some(tensor(x, shape))
    }
}

/// HF `BartAttention`.
struct Attention<'a> {
    /// `q_proj`, `k_proj` and `v_proj`, which share their input.
    projections: [Affine<'a>; 3],
    out_proj: Affine<'a>,
    num_heads: usize,
    dtype: Dtype,
}

impl<'a> Attention<'a> {
    fn new(weights: &AttentionWeights<'a, Flex>) -> Option<Self> {
        Some(Self {
            projections: [
                Affine::new(&weights.q_proj)?,
                Affine::new(&weights.k_proj)?,
                Affine::new(&weights.v_proj)?,
            ],
            out_proj: Affine::new(&weights.out_proj)?,
            num_heads: weights.num_heads,
            dtype: weights.k_proj.weight.dtype(),
        })
    }

    fn q_proj(&self) -> &Affine<'a> {
        &self.projections[0]
    }

    fn queries_keys_values(&self, input: &[f32], tokens: usize) -> [Vec<f32>; 3] {
        linears(input, tokens, &self.projections)
    }

    fn keys_values(&self, input: &[f32], tokens: usize) -> [Vec<f32>; 2] {
        linears(input, tokens, &self.projections[1..])
    }

    fn cache(
        &self,
        keys_values: [&[f32]; 2],
        shape: [usize; 3],
        key_padding_mask: Option<&Tensor<Flex, 4, Bool>>,
    ) -> CrossAttentionCache {
        let (heads, dtype) = (self.num_heads, self.dtype);
        CrossAttentionCache::new(keys_values, shape, heads, key_padding_mask, dtype)
    }

    /// `norm(residual + out_proj(attention))`.
    fn project_then_norm(
        &self,
        attention: &[f32],
        residual: &[f32],
        tokens: usize,
        norm: &Norm,
    ) -> Vec<f32> {
        feed_forward::linear_then_norm(attention, tokens, residual, &self.out_proj, norm)
    }
}

fn layers<'a>(weights: &MlpWeights<'a, Flex>) -> Option<Layers<'a>> {
    Some(Layers {
        fc1: Affine::new(&weights.fc1)?,
        fc2: Affine::new(&weights.fc2)?,
        activation: weights.activation,
    })
}

/// The results of `N` linear layers with the same input.
fn linears<const N: usize>(input: &[f32], tokens: usize, layers: &[Affine<'_>]) -> [Vec<f32>; N] {
    let mut results = driver::linears(input, tokens, layers).into_iter();
    // INVARIANT: there is a result for each layer.
    std::array::from_fn(|_| results.next().expect("a result for each layer"))
}

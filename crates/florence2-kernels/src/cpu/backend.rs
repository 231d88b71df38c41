//! The fused operations for burn-flex.

use std::ops::ControlFlow;

use burn::tensor::{Bool, Int, Tensor};
use burn_flex::Flex;

use crate::cpu::gemm::driver;
use crate::cpu::ops::depthwise::Depthwise;
use crate::cpu::ops::layers::{DecoderLayer, EncoderLayer, VisionFeedForward};
use crate::cpu::ops::{
    channel_attention, cross_attention_cache, kv_cache, patch_embedding, top_k, window_attention,
};
use crate::cpu::parameters::{Affine, Norm};
use crate::cpu::tensor::{into_values, is_f32, slice, tensor, values};
use crate::cpu::{buffer_pool, simd, threads};
use crate::layer_weights::{
    ChannelBlockWeights, ConvEmbedWeights, DecoderLayerWeights, EncoderLayerWeights, LinearWeights,
    SpatialBlockWeights,
};
use crate::{Backend, CpuLevelError, Dtype, Weight};

impl Backend for Flex {
    type SelfAttentionCache = kv_cache::SelfAttentionCache;
    type CrossAttentionCache = cross_attention_cache::CrossAttentionCache;

    fn check_settings() -> Result<(), CpuLevelError> {
        simd::select().map(drop)
    }

    fn fused_embedding(
        weight: &Weight<Self, 2>,
        input_ids: &Tensor<Self, 2, Int>,
    ) -> Option<Tensor<Self, 3>> {
        let matrix = &weight.as_packed()?.matrix;
        let [batch, tokens] = input_ids.dims();
        let ids = input_ids.to_data().convert::<i64>();
        // INVARIANT: `convert` returned the type that is read.
        let ids = ids.as_slice::<i64>().expect("i64");
        let rows: Vec<f32> = ids
            .iter()
            .flat_map(|id| matrix.output(*id as usize))
            .collect();
        Some(tensor(rows, [batch, tokens, matrix.inputs]))
    }

    fn fused_linear<const D: usize>(
        hidden_states: &Tensor<Self, D>,
        weights: &LinearWeights<'_, Self>,
    ) -> Option<Tensor<Self, D>> {
        let (input, layer) = (values(hidden_states)?, Affine::new(weights)?);
        let mut shape = hidden_states.dims();
        let output = driver::linear(slice(&input), shape[D - 2], &layer);
        shape[D - 1] = layer.weight.outputs;
        Some(tensor(output, shape))
    }

    fn fused_conv_embed(
        hidden_states: &Tensor<Self, 4>,
        weights: &ConvEmbedWeights<'_, Self>,
    ) -> Option<Tensor<Self, 4>> {
        let geometry = patch_embedding::Geometry::new(hidden_states.dims(), weights)?;
        let (input, conv) = (
            values(hidden_states)?,
            Affine::of(weights.conv, weights.bias)?,
        );
        let (norm, prenorm) = (Norm::new(weights.norm), weights.prenorm);
        let output =
            patch_embedding::patch_embedding(slice(&input), &geometry, &conv, &norm, prenorm);
        Some(tensor(output, geometry.output_shape()))
    }

    fn fused_spatial_block(
        hidden_states: Tensor<Self, 4>,
        weights: &SpatialBlockWeights<'_, Self>,
    ) -> ControlFlow<Tensor<Self, 4>, Tensor<Self, 4>> {
        let shape = hidden_states.dims();
        let (Some(conv), Some(qkv), Some(proj), Some(feed_forward)) = (
            Depthwise::new(shape, weights.conv1),
            Affine::new(&weights.qkv),
            Affine::new(&weights.proj),
            VisionFeedForward::new(shape, &weights.feed_forward).filter(|_| is_f32(&hidden_states)),
        ) else {
            return ControlFlow::Continue(hidden_states);
        };
        let layer = window_attention::Layer {
            conv: &conv,
            norm: &Norm::new(weights.norm1),
            qkv: &qkv,
            proj: &proj,
            num_heads: weights.num_heads,
            window_size: weights.window_size,
        };
        let attended = buffer_pool::replace(into_values(hidden_states), |input, output| {
            window_attention::add_window_attention(input, output, shape, &layer);
        });
        ControlFlow::Break(tensor(feed_forward.add(attended), shape))
    }

    fn fused_channel_block(
        hidden_states: Tensor<Self, 4>,
        weights: &ChannelBlockWeights<'_, Self>,
    ) -> ControlFlow<Tensor<Self, 4>, Tensor<Self, 4>> {
        let shape = hidden_states.dims();
        let proj = Affine::new(&weights.proj);
        let (Some(conv), Some(qkv), Some(proj), Some(feed_forward)) = (
            Depthwise::new(shape, weights.conv1),
            Affine::new(&weights.qkv),
            proj.filter(|_| weights.proj.weight.dtype() == Dtype::F32),
            VisionFeedForward::new(shape, &weights.feed_forward).filter(|_| is_f32(&hidden_states)),
        ) else {
            return ControlFlow::Continue(hidden_states);
        };
        let layer = channel_attention::Layer {
            conv: &conv,
            norm: &Norm::new(weights.norm1),
            qkv: &qkv,
            proj: &proj,
            num_groups: weights.num_groups,
        };
        let attended = buffer_pool::replace(into_values(hidden_states), |input, output| {
            channel_attention::add_channel_attention(input, output, shape, &layer);
        });
        ControlFlow::Break(tensor(feed_forward.add(attended), shape))
    }

    fn fused_encoder_layer(
        hidden_states: &Tensor<Self, 3>,
        key_padding_mask: Option<&Tensor<Self, 4, Bool>>,
        weights: &EncoderLayerWeights<'_, Self>,
    ) -> Option<Tensor<Self, 3>> {
        EncoderLayer::new(weights)?.forward(hidden_states, key_padding_mask)
    }

    fn fused_cross_attention_cache(
        encoder_hidden_states: &Tensor<Self, 3>,
        key_padding_mask: Option<&Tensor<Self, 4, Bool>>,
        weights: &DecoderLayerWeights<'_, Self>,
    ) -> Option<Self::CrossAttentionCache> {
        let layer = DecoderLayer::new(weights)?;
        layer.cross_attention_cache(encoder_hidden_states, key_padding_mask)
    }

    fn fused_decoder_layer(
        hidden_states: &Tensor<Self, 3>,
        self_attention: &mut Self::SelfAttentionCache,
        cross_attention: &Self::CrossAttentionCache,
        weights: &DecoderLayerWeights<'_, Self>,
    ) -> Option<Tensor<Self, 3>> {
        DecoderLayer::new(weights)?.forward(hidden_states, self_attention, cross_attention)
    }

    fn top_k_log_softmax(logits: Tensor<Self, 2>, count: usize) -> Option<Tensor<Self, 2>> {
        let [rows, entries] = logits.dims();
        let values = values(&logits)?;
        let count = count.min(entries);
        Some(tensor(
            top_k::top_k_log_softmax(slice(&values), entries, count),
            [rows, 2 * count],
        ))
    }

    /// On a thread of rayon's pool, an operation wakes only the threads that share its work. On any
    /// other thread, the operation moves to the pool and the thread sleeps.
    fn run<R: Send>(work: impl FnOnce() -> R + Send) -> R {
        threads::with_spinning_threads(work)
    }
}

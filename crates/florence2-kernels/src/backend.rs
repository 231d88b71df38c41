//! [`Backend`]: burn's backend, with the operations that a backend may fuse.

use std::fmt::Debug;
use std::ops::ControlFlow;

use burn::nn::LayerNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::{Bool, Int, Tensor};

use crate::cpu_level::CpuLevelError;
use crate::layer_weights::{
    ChannelBlockWeights, ConvEmbedWeights, DecoderLayerWeights, EncoderLayerWeights, LinearWeights,
    SpatialBlockWeights,
};
use crate::training_ops::{AttentionSettings, TrainingOps};
use crate::weight::Weight;

/// A burn backend on which the model runs.
///
/// Each fused operation computes one layer of florence2-core. It returns `None` (or `Continue` with
/// its input) if the backend does not implement it, or not for these parameters; this is the
/// default. Core then computes the layer in burn's operations: its `forward` bodies are the
/// specification of the fused operations.
///
/// Layer norms use an epsilon of 1e-5, the default of burn and of the model.
pub trait Backend: TrainingOps {
    /// The state of [`Self::fused_decoder_layer`]'s self-attention: the keys and values of the
    /// tokens decoded so far. `()` on a backend that does not fuse decoder layers.
    type SelfAttentionCache: SelectRows + Default;
    /// The keys and values of the encoder's output for [`Self::fused_decoder_layer`]'s
    /// cross-attention. `()` on a backend that does not fuse decoder layers.
    type CrossAttentionCache: SelectRows;

    /// Checks the process-wide settings that this backend uses. A model calls it before its first
    /// operation.
    ///
    /// # Errors
    /// [`CpuLevelError`] if the CPU backend cannot use the SIMD level that is set.
    fn check_settings() -> Result<(), CpuLevelError> {
        Ok(())
    }

    /// The maximum size of a tensor on the device in bytes; `None` if only the memory limits it.
    fn largest_buffer(_device: &Self::Device) -> Option<u64> {
        None
    }

    /// Runs work that consists of many short operations. A backend may reduce the delay before
    /// each.
    fn run<R: Send>(work: impl FnOnce() -> R + Send) -> R {
        work()
    }

    /// The rows of an embedding.
    ///
    /// Shapes: `[vocab_size, dim]` and `[batch, tokens]` to `[batch, tokens, dim]`.
    fn fused_embedding(
        _weight: &Weight<Self, 2>,
        _input_ids: &Tensor<Self, 2, Int>,
    ) -> Option<Tensor<Self, 3>> {
        None
    }

    /// A linear layer.
    ///
    /// Shapes: `[.., tokens, in]` to `[.., tokens, out]`.
    fn fused_linear<const D: usize>(
        _hidden_states: &Tensor<Self, D>,
        _weights: &LinearWeights<'_, Self>,
    ) -> Option<Tensor<Self, D>> {
        None
    }

    /// The strided convolution at the start of a DaViT stage, with its layer norm.
    ///
    /// Shapes: `[batch, height, width, in_channels]` to `[batch, rows, columns, channels]`.
    fn fused_conv_embed(
        _hidden_states: &Tensor<Self, 4>,
        _weights: &ConvEmbedWeights<'_, Self>,
    ) -> Option<Tensor<Self, 4>> {
        None
    }

    /// A block of window attention and feed-forward. The input is passed by value, so that its
    /// buffer can be reused. Returns `Break` with the output, or `Continue` with the input.
    ///
    /// Shapes: `[batch, height, width, channels]` in and out.
    fn fused_spatial_block(
        hidden_states: Tensor<Self, 4>,
        _weights: &SpatialBlockWeights<'_, Self>,
    ) -> ControlFlow<Tensor<Self, 4>, Tensor<Self, 4>> {
        ControlFlow::Continue(hidden_states)
    }

    /// A block of channel attention and feed-forward. The input is passed by value, so that its
    /// buffer can be reused. Returns `Break` with the output, or `Continue` with the input.
    ///
    /// Shapes: `[batch, height, width, channels]` in and out.
    fn fused_channel_block(
        hidden_states: Tensor<Self, 4>,
        _weights: &ChannelBlockWeights<'_, Self>,
    ) -> ControlFlow<Tensor<Self, 4>, Tensor<Self, 4>> {
        ControlFlow::Continue(hidden_states)
    }

    /// A layer of the encoder.
    ///
    /// # Shapes
    /// - `hidden_states` and output: `[batch, tokens, d_model]`
    /// - `key_padding_mask`: `[batch, 1, 1, tokens]`, true where a token is padding
    fn fused_encoder_layer(
        _hidden_states: &Tensor<Self, 3>,
        _key_padding_mask: Option<&Tensor<Self, 4, Bool>>,
        _weights: &EncoderLayerWeights<'_, Self>,
    ) -> Option<Tensor<Self, 3>> {
        None
    }

    /// The keys and values of the encoder's output for a decoder layer. If it is `Some`, so is the
    /// result of [`Self::fused_decoder_layer`] with the same weights.
    ///
    /// # Shapes
    /// - `encoder_hidden_states`: `[batch, tokens, d_model]`
    /// - `key_padding_mask`: `[batch, 1, 1, tokens]`, true where a token is padding
    fn fused_cross_attention_cache(
        _encoder_hidden_states: &Tensor<Self, 3>,
        _key_padding_mask: Option<&Tensor<Self, 4, Bool>>,
        _weights: &DecoderLayerWeights<'_, Self>,
    ) -> Option<Self::CrossAttentionCache> {
        None
    }

    /// A layer of the decoder, which appends its tokens to `self_attention`. There may be fewer
    /// entries in `cross_attention` than rows: consecutive rows (the beams of one image) then share
    /// an entry.
    ///
    /// Shapes: `[rows, tokens, d_model]` in and out.
    fn fused_decoder_layer(
        _hidden_states: &Tensor<Self, 3>,
        _self_attention: &mut Self::SelfAttentionCache,
        _cross_attention: &Self::CrossAttentionCache,
        _weights: &DecoderLayerWeights<'_, Self>,
    ) -> Option<Tensor<Self, 3>> {
        None
    }

    /// A depthwise 3x3 convolution that preserves the size.
    ///
    /// Shapes: `[batch, height, width, channels]` in and out.
    fn fused_depthwise(_conv: &Conv2d<Self>, _x: &Tensor<Self, 4>) -> Option<Tensor<Self, 4>> {
        None
    }

    /// The exact GELU of every value.
    fn fused_gelu<const D: usize>(_x: &Tensor<Self, D>) -> Option<Tensor<Self, D>> {
        None
    }

    /// The layer norm of the last dimension.
    fn fused_layer_norm<const D: usize>(
        _norm: &LayerNorm<Self>,
        _x: &Tensor<Self, D>,
    ) -> Option<Tensor<Self, D>> {
        None
    }

    /// `softmax(q k^T * scale) v`, with dropout of the attention weights.
    ///
    /// # Shapes
    /// - `q` and output: `[batch, heads, queries, head_dim]`
    /// - `k`, `v`: `[batch, heads, keys, head_dim]`
    fn fused_attention(
        _qkv: [&Tensor<Self, 4>; 3],
        _settings: &AttentionSettings<Self>,
    ) -> Option<Tensor<Self, 4>> {
        None
    }

    /// The `count` largest log-probabilities of each row, or all of a shorter row. Returns `None`
    /// if the backend does not find them faster than it copies all logits to the host.
    ///
    /// Shapes: `[rows, entries]` to `[rows, 2 * count]`: f32 log-probabilities, largest first, then
    /// the indices of the entries.
    fn top_k_log_softmax(_logits: Tensor<Self, 2>, _count: usize) -> Option<Tensor<Self, 2>> {
        None
    }
}

/// A cache of keys and values, one entry per row of a batch.
pub trait SelectRows: Clone + Debug + Send + Sync {
    /// Keeps the given rows, in the given order. A beam that continues inherits the entry of its
    /// parent.
    fn select(&mut self, rows: &[usize]);
}

impl SelectRows for () {
    fn select(&mut self, _rows: &[usize]) {}
}

#[cfg(feature = "ndarray")]
impl crate::Packing for burn_ndarray::NdArray {}

#[cfg(feature = "ndarray")]
impl TrainingOps for burn_ndarray::NdArray {}

#[cfg(feature = "ndarray")]
impl Backend for burn_ndarray::NdArray {
    type SelfAttentionCache = ();
    type CrossAttentionCache = ();
}

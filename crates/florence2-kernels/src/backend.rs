//! [`Backend`]: burn's backend, with the operations that a backend may fuse.

use std::fmt::Debug;

use burn::tensor::{Bool, DType, Int, Tensor, backend::Backend as BurnBackend};

use crate::layer_weights::{
    ChannelBlockWeights, ConvEmbedWeights, DecoderLayerWeights, EncoderLayerWeights, LinearWeights,
    SpatialBlockWeights,
};
use crate::{CpuLevelError, Packed, Precision, Weight};

/// A burn backend on which the model runs.
///
/// Each fused operation computes one layer of florence2-core. It returns `None` if the backend does
/// not implement it, or not for these parameters; this is the default. Core then computes the layer
/// in burn's operations: its `forward` bodies are the specification of the fused operations.
///
/// Layer norms use an epsilon of 1e-5, the default of burn and of the model.
pub trait Backend: BurnBackend {
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

    /// Packs a weight `[out, ..]` into the layout that this backend's operations read fastest.
    /// Returns `None` if they read tensors.
    fn pack<const D: usize>(_weight: Tensor<Self, D>, _precision: Precision) -> Option<Packed> {
        None
    }

    /// Returns the values of a weight that this backend packed.
    fn unpack<const D: usize>(_packed: &Packed, _shape: [usize; D]) -> Tensor<Self, D> {
        // INVARIANT: only a backend that overrides `pack` creates packed weights, and it overrides
        // `unpack`.
        unreachable!("a packed weight of another backend")
    }

    /// The precisions in which this backend stores weights, provided that the device supports them.
    fn precisions() -> &'static [Precision] {
        &[Precision::F32]
    }

    /// The data type of the tensor into which a weight of a precision is loaded.
    fn parameter_dtype(_precision: Precision) -> DType {
        DType::F32
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

    /// A block of window attention and feed-forward.
    ///
    /// Shapes: `[batch, height, width, channels]` in and out.
    fn fused_spatial_block(
        _hidden_states: &Tensor<Self, 4>,
        _weights: &SpatialBlockWeights<'_, Self>,
    ) -> Option<Tensor<Self, 4>> {
        None
    }

    /// A block of channel attention and feed-forward.
    ///
    /// Shapes: `[batch, height, width, channels]` in and out.
    fn fused_channel_block(
        _hidden_states: &Tensor<Self, 4>,
        _weights: &ChannelBlockWeights<'_, Self>,
    ) -> Option<Tensor<Self, 4>> {
        None
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

impl<B: BurnBackend> Backend for burn_autodiff::Autodiff<B> {
    type SelfAttentionCache = ();
    type CrossAttentionCache = ();
}

#[cfg(feature = "ndarray")]
impl Backend for burn_ndarray::NdArray {
    type SelfAttentionCache = ();
    type CrossAttentionCache = ();
}

/// The implementation of [`Backend`] for a GPU.
#[cfg(feature = "gpu")]
macro_rules! on_gpu {
    ($backend:ty, $runtime:ty) => {
        impl Backend for $backend {
            type SelfAttentionCache = ();
            type CrossAttentionCache = ();

            fn precisions() -> &'static [Precision] {
                &[Precision::F32, Precision::F16, Precision::Bf16]
            }

            fn parameter_dtype(precision: Precision) -> DType {
                precision.dtype().unwrap_or(DType::F32)
            }

            fn largest_buffer(device: &Self::Device) -> Option<u64> {
                Some(crate::gpu::largest_buffer::<Self>(device))
            }

            fn top_k_log_softmax(logits: Tensor<Self, 2>, count: usize) -> Option<Tensor<Self, 2>> {
                Some(crate::gpu::top_k_log_softmax(logits, count))
            }
        }

        impl crate::gpu::GpuBackend for $backend {
            type Runtime = $runtime;
        }
    };
}

#[cfg(feature = "cuda")]
on_gpu!(crate::gpu::cuda::Cuda, cubecl::cuda::CudaRuntime);
#[cfg(feature = "rocm")]
on_gpu!(crate::gpu::rocm::Rocm, cubecl::hip::HipRuntime);
#[cfg(feature = "wgpu")]
on_gpu!(crate::gpu::wgpu::Wgpu, cubecl::wgpu::WgpuRuntime);

//! [`Backend`]: the operations that the model requires of a backend.

use burn::nn::LayerNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Int, Tensor, backend::Backend as BurnBackend};

use crate::{
    Activation, CpuLevelError, KeysValues, Linear, Packed, PastKeysValues, PatchConv, Precision,
    Weight, portable,
};

/// A burn backend with the operations of Florence-2.
///
/// Layer norms use an epsilon of 1e-5, the default of burn and of the model.
pub trait Backend: BurnBackend {
    /// The keys and values of an encoder layer's tokens, or of the encoder's output in a decoder
    /// layer.
    type KeysValues: KeysValues<Self>;
    /// The keys and values of the previous tokens in a decoder layer (the KV cache).
    type PastKeysValues: PastKeysValues<Self>;

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

    /// Looks up rows of an embedding.
    ///
    /// Shapes: `[vocab_size, dim]` and `[batch, tokens]` to `[batch, tokens, dim]`.
    fn embed(weight: &Weight<Self, 2>, input_ids: Tensor<Self, 2, Int>) -> Tensor<Self, 3> {
        portable::embed(weight, input_ids)
    }

    /// The strided convolution at the start of a DaViT stage, with its norm before (`prenorm`) or
    /// after it.
    ///
    /// Shapes: `[batch, height, width, in_channels]` to `[batch, rows, columns, channels]`.
    fn patch_embedding(
        hidden_states: Tensor<Self, 4>,
        conv: &PatchConv<Self>,
        norm: &LayerNorm<Self>,
        prenorm: bool,
    ) -> Tensor<Self, 4> {
        portable::patch_embedding(hidden_states, conv, norm, prenorm)
    }

    /// `x + proj(attention(qkv(norm(x))))` within square windows, where `x = hidden_states +
    /// conv(hidden_states)` and `conv` is a depthwise 3x3 convolution that preserves the size.
    ///
    /// Windows that extend past the edge are padded with zeros after the norm. The padding takes
    /// part in the attention.
    ///
    /// Shapes: `[batch, height, width, channels]` in and out.
    fn add_window_attention(
        hidden_states: Tensor<Self, 4>,
        conv: &Conv2d<Self>,
        norm: &LayerNorm<Self>,
        qkv: &Linear<Self>,
        proj: &Linear<Self>,
        num_heads: usize,
        window_size: usize,
    ) -> Tensor<Self, 4> {
        portable::add_window_attention(hidden_states, conv, norm, qkv, proj, num_heads, window_size)
    }

    /// `x + proj(attention(qkv(norm(x))))` between the channels of a group, where `x =
    /// hidden_states + conv(hidden_states)` as in [`Self::add_window_attention`].
    ///
    /// The weight of `proj` is f32 in every precision, because the attention weights are multiplied
    /// into it.
    ///
    /// Shapes: `[batch, height, width, channels]` in and out.
    fn add_channel_attention(
        hidden_states: Tensor<Self, 4>,
        conv: &Conv2d<Self>,
        norm: &LayerNorm<Self>,
        qkv: &Linear<Self>,
        proj: &Linear<Self>,
        num_groups: usize,
    ) -> Tensor<Self, 4> {
        portable::add_channel_attention(hidden_states, conv, norm, qkv, proj, num_groups)
    }

    /// `x + fc2(activation(fc1(norm(x))))`, where `x = hidden_states + conv(hidden_states)` as in
    /// [`Self::add_window_attention`].
    ///
    /// Shapes: `[batch, height, width, channels]` in and out.
    fn add_feed_forward(
        hidden_states: Tensor<Self, 4>,
        conv: &Conv2d<Self>,
        norm: &LayerNorm<Self>,
        fc1: &Linear<Self>,
        fc2: &Linear<Self>,
        activation: Activation,
    ) -> Tensor<Self, 4> {
        portable::add_feed_forward(hidden_states, conv, norm, fc1, fc2, activation)
    }

    /// `norm(hidden_states + fc2(activation(fc1(hidden_states))))`.
    ///
    /// Shapes: `[batch, tokens, dim]` in and out.
    fn feed_forward_then_norm(
        hidden_states: Tensor<Self, 3>,
        fc1: &Linear<Self>,
        fc2: &Linear<Self>,
        activation: Activation,
        norm: &LayerNorm<Self>,
    ) -> Tensor<Self, 3> {
        portable::feed_forward_then_norm(hidden_states, fc1, fc2, activation, norm)
    }

    /// `norm(residual + hidden_states * weight^T + bias)`.
    ///
    /// Shapes: `[batch, tokens, in]` and `[batch, tokens, out]` to `[batch, tokens, out]`.
    fn linear_then_norm(
        hidden_states: Tensor<Self, 3>,
        residual: Tensor<Self, 3>,
        linear: &Linear<Self>,
        norm: &LayerNorm<Self>,
    ) -> Tensor<Self, 3> {
        portable::linear_then_norm(hidden_states, residual, linear, norm)
    }

    /// The layer norm of `hidden_states`, computed in f32 and returned in their data type.
    ///
    /// Shapes: `[batch, tokens, dim]` in and out.
    fn apply_norm(hidden_states: Tensor<Self, 3>, norm: &LayerNorm<Self>) -> Tensor<Self, 3> {
        portable::apply_norm(hidden_states, norm)
    }

    /// `hidden_states * weight^T + bias` for each of several linear layers with the same input.
    ///
    /// Shapes: `[batch, tokens, in]` to `[batch, tokens, out]` each.
    fn apply_linears<const N: usize>(
        hidden_states: Tensor<Self, 3>,
        linears: [&Linear<Self>; N],
    ) -> [Tensor<Self, 3>; N] {
        portable::apply_linears(hidden_states, linears)
    }

    /// [`Self::apply_linears`] for one layer.
    fn apply_linear(hidden_states: Tensor<Self, 3>, linear: &Linear<Self>) -> Tensor<Self, 3> {
        let [output] = Self::apply_linears(hidden_states, [linear]);
        output
    }

    /// `hidden_states * embedding^T`: the logits of a tied embedding.
    ///
    /// Shapes: `[batch, tokens, dim]` and `[rows, dim]` to `[batch, tokens, rows]`.
    fn tied_logits(hidden_states: Tensor<Self, 3>, embedding: &Weight<Self, 2>) -> Tensor<Self, 3> {
        portable::tied_logits(hidden_states, embedding)
    }

    /// Returns the `count` most likely entries of each row, or all entries of a shorter row.
    /// Returns `None` if the backend does not find them faster than it copies all logits to the
    /// host.
    ///
    /// Shapes: `[rows, entries]` to `[rows, 2 * count]`: f32 log-probabilities, largest first, then
    /// the indices of the entries.
    fn likeliest(_logits: Tensor<Self, 2>, _count: usize) -> Option<Tensor<Self, 2>> {
        None
    }

    /// Runs work that consists of many short operations. A backend may reduce the delay before
    /// each.
    fn run<R: Send>(work: impl FnOnce() -> R + Send) -> R {
        work()
    }
}

/// The associated types of backends that store the keys and values of attention as tensors.
macro_rules! portable_attention {
    () => {
        type KeysValues = portable::KeysValues<Self>;
        type PastKeysValues = portable::PastKeysValues<Self>;
    };
}

impl<B: BurnBackend> Backend for burn_autodiff::Autodiff<B> {
    portable_attention!();
}

#[cfg(feature = "ndarray")]
impl Backend for burn_ndarray::NdArray {
    portable_attention!();
}

/// The implementation of [`Backend`] for a GPU.
#[cfg(feature = "gpu")]
macro_rules! on_gpu {
    ($backend:ty, $runtime:ty) => {
        impl Backend for $backend {
            portable_attention!();

            fn precisions() -> &'static [Precision] {
                &[Precision::F32, Precision::F16, Precision::Bf16]
            }

            fn parameter_dtype(precision: Precision) -> DType {
                precision.dtype().unwrap_or(DType::F32)
            }

            fn largest_buffer(device: &Self::Device) -> Option<u64> {
                Some(crate::gpu::largest_buffer::<Self>(device))
            }

            fn likeliest(logits: Tensor<Self, 2>, count: usize) -> Option<Tensor<Self, 2>> {
                Some(crate::gpu::likeliest(logits, count))
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

//! [`Backend`]: what the model asks of a backend.

use burn::nn::LayerNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Int, Tensor, backend::Backend as BurnBackend};

use crate::{
    Activation, CpuLevelError, KeysValues, Linear, Packed, PastKeysValues, PatchConv, Precision,
    Weight, portable,
};

/// A burn backend with the operations of Florence-2.
///
/// Layer norms have the epsilon 1e-5, burn's and the model's default.
pub trait Backend: BurnBackend {
    /// What an encoder's layer remembers of its tokens, and a decoder's of the encoder's output.
    type KeysValues: KeysValues<Self>;
    /// What a decoder's layer remembers of the tokens before.
    type PastKeysValues: PastKeysValues<Self>;

    /// Checks the settings of the process that this backend reads. A model calls it before its first
    /// operation.
    ///
    /// # Errors
    /// [`CpuLevelError`] if the CPU backend cannot use the SIMD level that is set.
    fn check_settings() -> Result<(), CpuLevelError> {
        Ok(())
    }

    /// A weight `[out, ..]` in the form that this backend's operations read fastest; none where
    /// they read tensors.
    fn pack<const D: usize>(_weight: Tensor<Self, D>, _precision: Precision) -> Option<Packed> {
        None
    }

    /// The values of a weight that this backend packed.
    fn unpack<const D: usize>(_packed: &Packed, _shape: [usize; D]) -> Tensor<Self, D> {
        // INVARIANT: only a backend that packs makes packed weights, and it unpacks them.
        unreachable!("a packed weight of another backend")
    }

    /// The precisions in which this backend keeps weights, where the device has them too.
    fn precisions() -> &'static [Precision] {
        &[Precision::F32]
    }

    /// The number type of the tensor that a weight of a precision is loaded as.
    fn parameter_dtype(_precision: Precision) -> DType {
        DType::F32
    }

    /// The most bytes of a tensor on the device; none where memory alone is the limit.
    fn largest_buffer(_device: &Self::Device) -> Option<u64> {
        None
    }

    /// The rows of an embedding.
    ///
    /// Shapes: `[vocab_size, dim]` and `[batch, tokens]` to `[batch, tokens, dim]`.
    fn embed(weight: &Weight<Self, 2>, input_ids: Tensor<Self, 2, Int>) -> Tensor<Self, 3> {
        portable::embed(weight, input_ids)
    }

    /// The strided convolution that opens a stage of DaViT, with its norm before or after.
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

    /// `x + proj(attention(qkv(norm(x))))` within square windows, of `x = hidden_states +
    /// conv(hidden_states)`: a depthwise 3x3 convolution that keeps the size.
    ///
    /// Windows that reach over the edge are filled with zeros after the norm, which take part.
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

    /// `x + proj(attention(qkv(norm(x))))` between the channels of a group, of `x = hidden_states +
    /// conv(hidden_states)` as in [`Self::add_window_attention`].
    ///
    /// Of `proj` the weight is f32 whatever the model's precision: it is multiplied into others.
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

    /// `x + fc2(activation(fc1(norm(x))))` of `x = hidden_states + conv(hidden_states)` as in
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

    /// The layer norm of `hidden_states`, in their type but computed in f32.
    ///
    /// Shapes: `[batch, tokens, dim]` in and out.
    fn apply_norm(hidden_states: Tensor<Self, 3>, norm: &LayerNorm<Self>) -> Tensor<Self, 3> {
        portable::apply_norm(hidden_states, norm)
    }

    /// `hidden_states * weight^T + bias` for each of several layers of the same rows.
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

    /// `hidden_states * embedding^T`: the scores of every row of a tied embedding.
    ///
    /// Shapes: `[batch, tokens, dim]` and `[rows, dim]` to `[batch, tokens, rows]`.
    fn tied_logits(hidden_states: Tensor<Self, 3>, embedding: &Weight<Self, 2>) -> Tensor<Self, 3> {
        portable::tied_logits(hidden_states, embedding)
    }

    /// The `count` likeliest entries of each row, at most as many as a row has, where the backend
    /// finds them sooner than all of them could be brought to the host.
    ///
    /// Shapes: `[rows, entries]` to `[rows, 2 * count]`: f32 log-probabilities, largest first, then
    /// the entries' numbers.
    fn likeliest(_logits: Tensor<Self, 2>, _count: usize) -> Option<Tensor<Self, 2>> {
        None
    }

    /// Runs many short operations in a row, where each begins soonest.
    fn run<R: Send>(work: impl FnOnce() -> R + Send) -> R {
        work()
    }
}

/// For backends that keep attention's tokens as tensors.
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

/// What a GPU does otherwise.
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

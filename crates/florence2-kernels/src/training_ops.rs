//! [`TrainingOps`]: the operations of training that a backend may fuse, each with its gradient.

use burn::nn::LayerNorm;
use burn::tensor::{Bool, Tensor};

use crate::dropout_mask::DropoutMask;
use crate::packing::Packing;

/// The operations of training on a backend without autodiff. `Autodiff` of the backend calls them in the
/// forward and in the backward pass. Each keeps its inputs only.
///
/// An operation returns `None` if the backend does not implement it, or not for these tensors; this is
/// the default. If it is `Some`, so is its gradient for the same inputs.
pub trait TrainingOps: Packing {
    /// A depthwise 3x3 convolution that preserves the size.
    ///
    /// # Shapes
    /// - `weight`: `[channels, 1, 3, 3]`
    /// - `x` and output: `[batch, height, width, channels]`
    fn train_depthwise(
        _weight: &Tensor<Self, 4>,
        _bias: &Tensor<Self, 1>,
        _x: &Tensor<Self, 4>,
    ) -> Option<Tensor<Self, 4>> {
        None
    }

    /// The gradients of [`Self::train_depthwise`], if that is `Some`.
    fn train_depthwise_backward(
        _weight: &Tensor<Self, 4>,
        _x: &Tensor<Self, 4>,
        _gradient: &Tensor<Self, 4>,
    ) -> Option<DepthwiseGradients<Self>> {
        None
    }

    /// The exact GELU of every value.
    fn train_gelu<const D: usize>(_x: &Tensor<Self, D>) -> Option<Tensor<Self, D>> {
        None
    }

    /// The gradient of the input of [`Self::train_gelu`], if that is `Some`.
    fn train_gelu_backward<const D: usize>(
        _x: &Tensor<Self, D>,
        _gradient: Tensor<Self, D>,
    ) -> Option<Tensor<Self, D>> {
        None
    }

    /// The layer norm of the last dimension.
    fn train_layer_norm<const D: usize>(
        _norm: &LayerNorm<Self>,
        _x: &Tensor<Self, D>,
    ) -> Option<Tensor<Self, D>> {
        None
    }

    /// The gradients of [`Self::train_layer_norm`]'s input, scale and bias, if that is `Some`.
    fn train_layer_norm_backward<const D: usize>(
        _gamma: &Tensor<Self, 1>,
        _x: &Tensor<Self, D>,
        _gradient: &Tensor<Self, D>,
    ) -> Option<LayerNormGradients<Self, D>> {
        None
    }

    /// `softmax(q k^T * scale) v`, with dropout of the attention weights.
    ///
    /// # Shapes
    /// - `q` and output: `[batch, heads, queries, head_dim]`
    /// - `k`, `v`: `[batch, heads, keys, head_dim]`
    fn train_attention(
        _qkv: [&Tensor<Self, 4>; 3],
        _settings: &AttentionSettings<Self>,
    ) -> Option<Tensor<Self, 4>> {
        None
    }

    /// The gradients of q, k and v of [`Self::train_attention`], if that is `Some`.
    fn train_attention_backward(
        _qkv: [&Tensor<Self, 4>; 3],
        _settings: &AttentionSettings<Self>,
        _gradient: &Tensor<Self, 4>,
    ) -> Option<[Tensor<Self, 4>; 3]> {
        None
    }
}

/// The gradients of a depthwise convolution.
#[derive(Debug)]
pub struct DepthwiseGradients<B: Packing> {
    /// Of the input, `[batch, height, width, channels]`.
    pub input: Tensor<B, 4>,
    /// Of the weight, `[channels, 1, 3, 3]`.
    pub weight: Tensor<B, 4>,
    /// Of the bias, `[channels]`.
    pub bias: Tensor<B, 1>,
}

/// The gradients of a layer norm.
#[derive(Debug)]
pub struct LayerNormGradients<B: Packing, const D: usize> {
    /// Of the input.
    pub input: Tensor<B, D>,
    /// Of the scale, `[channels]`.
    pub gamma: Tensor<B, 1>,
    /// Of the bias, `[channels]`.
    pub beta: Tensor<B, 1>,
}

/// The settings of [`TrainingOps::train_attention`].
#[derive(Debug, Clone)]
pub struct AttentionSettings<B: Packing> {
    /// `[batch or 1, 1, queries or 1, keys]`, true where a key is not attended to.
    pub mask: Option<Tensor<B, 4, Bool>>,
    /// The factor of the scores.
    pub scale: f64,
    /// The dropout of the attention weights, in the order `[batch, heads, queries, keys]`.
    pub dropout: Option<DropoutMask>,
}

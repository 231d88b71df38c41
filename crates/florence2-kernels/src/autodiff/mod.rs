//! Training: [`Backend`] for burn's autodiff. Frozen weights stay packed, and their products run on
//! the fused operations of the inner backend, in the forward and in the backward pass. Attention,
//! layer norm and GELU run on its [`TrainingOps`].

mod attention;
mod depthwise;
mod frozen_product;
mod gelu;
mod layer_norm;

use burn::nn::LayerNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::{Int, Tensor};
use burn_autodiff::Autodiff;

use crate::layer_weights::LinearWeights;
use crate::packing::{Packed, Packing};
use crate::training_ops::{AttentionSettings, TrainingOps};
use crate::{Backend, Weight};

impl<B: Backend> Packing for Autodiff<B> {
    fn unpack<const D: usize>(packed: &Packed, shape: [usize; D]) -> Tensor<Self, D> {
        Tensor::from_inner(B::unpack(packed, shape))
    }

    fn packed_transpose(packed: &Packed) -> &Packed {
        B::packed_transpose(packed)
    }
}

impl<B: Backend> TrainingOps for Autodiff<B> {}

impl<B: Backend> Backend for Autodiff<B> {
    type SelfAttentionCache = ();
    type CrossAttentionCache = ();

    fn check_settings() -> Result<(), crate::CpuLevelError> {
        B::check_settings()
    }

    fn largest_buffer(device: &Self::Device) -> Option<u64> {
        B::largest_buffer(device)
    }

    fn fused_embedding(
        weight: &Weight<Self, 2>,
        input_ids: &Tensor<Self, 2, Int>,
    ) -> Option<Tensor<Self, 3>> {
        let frozen = Weight::Packed(weight.as_packed()?.clone());
        B::fused_embedding(&frozen, &input_ids.clone().inner()).map(Tensor::from_inner)
    }

    fn fused_linear<const D: usize>(
        hidden_states: &Tensor<Self, D>,
        weights: &LinearWeights<'_, Self>,
    ) -> Option<Tensor<Self, D>> {
        let product = frozen_product::frozen_product(hidden_states, weights.weight.as_packed()?)?;
        Some(match weights.bias {
            Some(bias) => product + bias.val().unsqueeze(),
            None => product,
        })
    }

    fn fused_depthwise(conv: &Conv2d<Self>, x: &Tensor<Self, 4>) -> Option<Tensor<Self, 4>> {
        depthwise::depthwise(conv, x)
    }

    fn fused_gelu<const D: usize>(x: &Tensor<Self, D>) -> Option<Tensor<Self, D>> {
        gelu::gelu(x)
    }

    fn fused_layer_norm<const D: usize>(
        norm: &LayerNorm<Self>,
        x: &Tensor<Self, D>,
    ) -> Option<Tensor<Self, D>> {
        layer_norm::layer_norm(norm, x)
    }

    fn fused_attention(
        qkv: [&Tensor<Self, 4>; 3],
        settings: &AttentionSettings<Self>,
    ) -> Option<Tensor<Self, 4>> {
        attention::attention(qkv, settings)
    }
}

//! The parameters of modules as plain values.

use burn::module::Param;
use burn::nn::LayerNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn_flex::{Flex, FlexTensor};

use crate::cpu::gemm::format::Format;
use crate::cpu::gemm::pack::PackedMatrix;
use crate::cpu::tensor::{slice, values};
use crate::layer_weights::LinearWeights;
use crate::{Dtype, Weight};

/// The parameters of a layer norm.
pub(crate) struct Norm {
    gamma: FlexTensor,
    beta: Option<FlexTensor>,
}

impl Norm {
    pub(crate) fn new(norm: &LayerNorm<Flex>) -> Self {
        Self {
            gamma: parameter(&norm.gamma.val()),
            beta: norm.beta.as_ref().map(|beta| parameter(&beta.val())),
        }
    }

    /// The scale per channel.
    pub(crate) fn gamma(&self) -> &[f32] {
        slice(&self.gamma)
    }

    /// The bias per channel; `None` for zeros.
    pub(crate) fn beta(&self) -> Option<&[f32]> {
        self.beta.as_ref().map(slice)
    }
}

/// A linear layer whose weight is packed.
pub(crate) struct Affine<'a> {
    pub(crate) weight: &'a PackedMatrix,
    bias: Option<FlexTensor>,
}

impl<'a> Affine<'a> {
    /// Returns `None` for a layer whose weight is not packed because it was not loaded.
    pub(crate) fn new(linear: &LinearWeights<'a, Flex>) -> Option<Self> {
        Self::of(linear.weight, linear.bias)
    }

    pub(crate) fn of<const D: usize>(
        weight: &'a Weight<Flex, D>,
        bias: Option<&Param<Tensor<Flex, 1>>>,
    ) -> Option<Self> {
        Some(Self {
            weight: &weight.as_packed()?.matrix,
            bias: bias.map(|bias| parameter(&bias.val())),
        })
    }

    /// The bias per output; `None` for zeros.
    pub(crate) fn bias(&self) -> Option<&[f32]> {
        self.bias.as_ref().map(slice)
    }
}

/// The weight `[channels, in_channels / groups, rows, columns]` and the bias `[channels]`.
pub(crate) fn convolution(conv: &Conv2d<Flex>) -> (FlexTensor, Option<FlexTensor>) {
    let bias = conv.bias.as_ref().map(|bias| parameter(&bias.val()));
    (parameter(&conv.weight.val()), bias)
}

fn parameter<const D: usize>(tensor: &Tensor<Flex, D>) -> FlexTensor {
    // INVARIANT: the backend's float type is f32, and so are a module's parameters.
    values(tensor).expect("parameters are f32")
}

impl Dtype {
    /// The format of packed weights.
    pub(crate) fn format(self) -> Format {
        match self {
            Self::F32 => Format::F32,
            Self::F16 => Format::F16,
            Self::Bf16 => Format::Bf16,
            Self::Int8 => Format::Int8,
        }
    }
}

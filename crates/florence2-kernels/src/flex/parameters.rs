//! A module's parameters as plain values.

use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn_flex::{Flex, FlexTensor};

use super::values;

/// A layer norm.
pub(super) struct Norm {
    gamma: FlexTensor,
    beta: Option<FlexTensor>,
}

impl Norm {
    pub(super) fn new(norm: &LayerNorm<Flex>) -> Self {
        Self {
            gamma: parameter(&norm.gamma.val()),
            beta: norm.beta.as_ref().map(|beta| parameter(&beta.val())),
        }
    }

    /// Per channel.
    pub(super) fn gamma(&self) -> &[f32] {
        slice(&self.gamma)
    }

    /// Per channel; none for zeros.
    pub(super) fn beta(&self) -> Option<&[f32]> {
        self.beta.as_ref().map(slice)
    }
}

/// A linear layer.
pub(super) struct Affine {
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl Affine {
    pub(super) fn new(linear: &Linear<Flex>) -> Self {
        let weight = linear.weight.val();
        let [inputs, outputs] = weight.dims();
        Self {
            weight: parameter(&weight),
            bias: linear.bias.as_ref().map(|bias| parameter(&bias.val())),
            inputs,
            outputs,
        }
    }

    /// `[inputs, outputs]`.
    pub(super) fn weight(&self) -> &[f32] {
        slice(&self.weight)
    }

    /// Per output; none for zeros.
    pub(super) fn bias(&self) -> Option<&[f32]> {
        self.bias.as_ref().map(slice)
    }
}

/// Weight `[channels, in_channels / groups, rows, columns]` and bias `[channels]`.
pub(super) fn convolution(conv: &Conv2d<Flex>) -> (FlexTensor, Option<FlexTensor>) {
    let bias = conv.bias.as_ref().map(|bias| parameter(&bias.val()));
    (parameter(&conv.weight.val()), bias)
}

fn parameter<const D: usize>(tensor: &Tensor<Flex, D>) -> FlexTensor {
    // INVARIANT: the backend's float type is f32, and so are a module's parameters.
    values(tensor).expect("parameters are f32")
}

pub(super) fn slice(values: &FlexTensor) -> &[f32] {
    // INVARIANT: `values` gives contiguous f32 only.
    values.as_slice().expect("contiguous f32")
}

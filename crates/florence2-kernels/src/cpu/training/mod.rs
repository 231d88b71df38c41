//! The operations of training on burn-flex, each with its gradient. They keep their inputs only, and
//! compute everything else again in the backward pass.

mod activation;
mod attention;
mod depthwise;
mod heads;
mod layer_norm;

use burn::nn::LayerNorm;
use burn::tensor::Tensor;
use burn_flex::Flex;
use rayon::prelude::*;

use self::heads::Heads;
use super::gemm::driver;
use super::ops;
use super::parameters::Norm;
use super::tensor::{into_values, is_f32, slice, tensor, values};
use crate::{AttentionSettings, DepthwiseGradients, LayerNormGradients, TrainingOps};

impl TrainingOps for Flex {
    fn train_depthwise(
        weight: &Tensor<Self, 4>,
        bias: &Tensor<Self, 1>,
        x: &Tensor<Self, 4>,
    ) -> Option<Tensor<Self, 4>> {
        let [_, height, width, channels] = x.dims();
        if weight.dims() != [channels, 1, 3, 3] || x.shape().num_elements() == 0 {
            return None;
        }
        let (weight, bias, input) = (values(weight)?, values(bias)?, values(x)?);
        let (shape, bias) = ([height, width, channels], slice(&bias).to_vec());
        let output = depthwise::forward(shape, slice(&weight), bias, slice(&input));
        Some(tensor(output, x.dims()))
    }

    fn train_depthwise_backward(
        weight: &Tensor<Self, 4>,
        x: &Tensor<Self, 4>,
        gradient: &Tensor<Self, 4>,
    ) -> Option<DepthwiseGradients<Self>> {
        let [_, height, width, channels] = x.dims();
        let shape = [height, width, channels];
        let (values_of_weight, input, gradient) = (values(weight)?, values(x)?, values(gradient)?);
        let (input, gradient) = (slice(&input), slice(&gradient));
        let of_input = depthwise::input_gradient(shape, slice(&values_of_weight), gradient);
        let [of_weight, of_bias] = depthwise::parameter_gradients(shape, input, gradient);
        Some(DepthwiseGradients {
            input: tensor(of_input, x.dims()),
            weight: tensor(of_weight, weight.dims()),
            bias: tensor(of_bias, [channels]),
        })
    }

    fn train_gelu<const D: usize>(x: &Tensor<Self, D>) -> Option<Tensor<Self, D>> {
        let mut output = slice(&values(x)?).to_vec();
        activation::gelu(&mut output);
        Some(tensor(output, x.dims()))
    }

    fn train_gelu_backward<const D: usize>(
        x: &Tensor<Self, D>,
        gradient: Tensor<Self, D>,
    ) -> Option<Tensor<Self, D>> {
        let input = values(x)?;
        if !is_f32(&gradient) {
            return None;
        }
        let mut gradients = into_values(gradient);
        activation::gelu_backward(slice(&input), &mut gradients);
        Some(tensor(gradients, x.dims()))
    }

    fn train_layer_norm<const D: usize>(
        norm: &LayerNorm<Self>,
        x: &Tensor<Self, D>,
    ) -> Option<Tensor<Self, D>> {
        let (input, norm) = (values(x)?, Norm::new(norm));
        let input = slice(&input);
        let part = driver::rows_per_sum(input.len() / norm.gamma().len()) * norm.gamma().len();
        let mut output = vec![0.0; input.len()];
        let parts = output.par_chunks_mut(part).zip(input.par_chunks(part));
        parts.for_each(|(output, input)| ops::layer_norm::layer_norm(input, &norm, output));
        Some(tensor(output, x.dims()))
    }

    fn train_layer_norm_backward<const D: usize>(
        gamma: &Tensor<Self, 1>,
        x: &Tensor<Self, D>,
        gradient: &Tensor<Self, D>,
    ) -> Option<LayerNormGradients<Self, D>> {
        let (gamma, input, gradient) = (values(gamma)?, values(x)?, values(gradient)?);
        let (gamma, input, gradient) = (slice(&gamma), slice(&input), slice(&gradient));
        let gradients = layer_norm::backward(input, gamma, gradient);
        let channels = [gamma.len()];
        Some(LayerNormGradients {
            input: tensor(gradients.input, x.dims()),
            gamma: tensor(gradients.gamma, channels),
            beta: tensor(gradients.beta, channels),
        })
    }

    fn train_attention(
        qkv: [&Tensor<Self, 4>; 3],
        settings: &AttentionSettings<Self>,
    ) -> Option<Tensor<Self, 4>> {
        let heads = Heads::new(qkv, settings)?;
        let shape = qkv[0].dims();
        let mut output = vec![0.0; shape.iter().product()];
        let parts = output.par_chunks_mut(shape[2] * shape[3]).enumerate();
        parts.for_each(|(index, output)| heads.head(index).forward(output));
        Some(tensor(output, shape))
    }

    fn train_attention_backward(
        qkv: [&Tensor<Self, 4>; 3],
        settings: &AttentionSettings<Self>,
        gradient: &Tensor<Self, 4>,
    ) -> Option<[Tensor<Self, 4>; 3]> {
        let (heads, gradient) = (Heads::new(qkv, settings)?, values(gradient)?);
        let shapes = qkv.map(Tensor::dims);
        let [mut dq, mut dk, mut dv] =
            shapes.map(|shape| vec![0.0; shape.iter().product::<usize>()]);
        let size = |shape: [usize; 4]| shape[2] * shape[3];
        let [queries, keys, _] = shapes.map(size);
        let gradients = slice(&gradient).par_chunks(queries);
        let parts = (
            dq.par_chunks_mut(queries),
            dk.par_chunks_mut(keys),
            dv.par_chunks_mut(keys),
        );
        parts.into_par_iter().zip(gradients).enumerate().for_each(
            |(index, ((dq, dk, dv), gradient))| {
                heads.head(index).backward(gradient, [dq, dk, dv]);
            },
        );
        let [q, k, v] = shapes;
        Some([tensor(dq, q), tensor(dk, k), tensor(dv, v)])
    }
}

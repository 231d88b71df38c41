//! The operations fused for burn-flex: rows go through a whole operation while they are in the
//! cache, a chunk of them per task of rayon's.

mod attention;
mod channel_attention;
mod depthwise;
mod elementwise;
mod feed_forward;
mod parameters;
mod patch_embedding;
mod product;
mod window_attention;

use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Bool, DType, Tensor, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};

use crate::{Backend, portable};
use parameters::{Affine, Norm};

/// Rows that pass through an operation together: enough to use each weight often, few enough for
/// what they become to stay in the cache.
const CHUNK_ROWS: usize = 288;

impl Backend for Flex {
    fn add_depthwise(hidden_states: Tensor<Self, 4>, conv: &Conv2d<Self>) -> Tensor<Self, 4> {
        let shape = hidden_states.dims();
        let is_kernel = conv.kernel_size == [3, 3] && conv.groups == shape[3];
        let Some(input) = values(&hidden_states).filter(|_| is_kernel) else {
            return portable::add_depthwise(hidden_states, conv);
        };
        let (weight, bias) = parameters::convolution(conv);
        let bias = bias.as_ref().map(parameters::slice);
        let output =
            depthwise::add_depthwise(slice(&input), shape, parameters::slice(&weight), bias);
        tensor(output, shape)
    }

    fn patch_embedding(
        hidden_states: Tensor<Self, 4>,
        conv: &Conv2d<Self>,
        norm: &LayerNorm<Self>,
        prenorm: bool,
    ) -> Tensor<Self, 4> {
        let shape = hidden_states.dims();
        let geometry = patch_embedding::Geometry::new(shape, conv);
        let (Some(input), Some(geometry)) = (values(&hidden_states), geometry) else {
            return portable::patch_embedding(hidden_states, conv, norm, prenorm);
        };
        let (weight, bias) = parameters::convolution(conv);
        let kernel = patch_embedding::Kernel {
            weight: parameters::slice(&weight),
            bias: bias.as_ref().map(parameters::slice),
        };
        let norm = Norm::new(norm);
        let output =
            patch_embedding::patch_embedding(slice(&input), &geometry, &kernel, &norm, prenorm);
        tensor(output, geometry.output_shape())
    }

    fn add_window_attention(
        hidden_states: Tensor<Self, 4>,
        norm: &LayerNorm<Self>,
        qkv: &Linear<Self>,
        proj: &Linear<Self>,
        num_heads: usize,
        window_size: usize,
    ) -> Tensor<Self, 4> {
        let shape = hidden_states.dims();
        let Some(input) = values(&hidden_states) else {
            return portable::add_window_attention(
                hidden_states,
                norm,
                qkv,
                proj,
                num_heads,
                window_size,
            );
        };
        let (norm, qkv, proj) = (Norm::new(norm), Affine::new(qkv), Affine::new(proj));
        let layer = window_attention::Layer {
            norm: &norm,
            qkv: &qkv,
            proj: &proj,
            num_heads,
            window_size,
        };
        tensor(
            window_attention::add_window_attention(slice(&input), shape, &layer),
            shape,
        )
    }

    fn add_channel_attention(
        hidden_states: Tensor<Self, 4>,
        norm: &LayerNorm<Self>,
        qkv: &Linear<Self>,
        proj: &Linear<Self>,
        num_groups: usize,
    ) -> Tensor<Self, 4> {
        let shape = hidden_states.dims();
        let Some(input) = values(&hidden_states) else {
            return portable::add_channel_attention(hidden_states, norm, qkv, proj, num_groups);
        };
        let (norm, qkv, proj) = (Norm::new(norm), Affine::new(qkv), Affine::new(proj));
        let layer = channel_attention::Layer {
            norm: &norm,
            qkv: &qkv,
            proj: &proj,
            num_groups,
        };
        tensor(
            channel_attention::add_channel_attention(slice(&input), shape, &layer),
            shape,
        )
    }

    fn add_feed_forward(
        hidden_states: Tensor<Self, 4>,
        norm: &LayerNorm<Self>,
        fc1: &Linear<Self>,
        fc2: &Linear<Self>,
    ) -> Tensor<Self, 4> {
        let shape = hidden_states.dims();
        let Some(input) = values(&hidden_states) else {
            return portable::add_feed_forward(hidden_states, norm, fc1, fc2);
        };
        let (norm, fc1, fc2) = (Norm::new(norm), Affine::new(fc1), Affine::new(fc2));
        tensor(
            feed_forward::add_feed_forward(slice(&input), &norm, &fc1, &fc2),
            shape,
        )
    }

    fn feed_forward_then_norm(
        hidden_states: Tensor<Self, 3>,
        fc1: &Linear<Self>,
        fc2: &Linear<Self>,
        norm: &LayerNorm<Self>,
    ) -> Tensor<Self, 3> {
        let shape = hidden_states.dims();
        let Some(input) = values(&hidden_states) else {
            return portable::feed_forward_then_norm(hidden_states, fc1, fc2, norm);
        };
        let (norm, fc1, fc2) = (Norm::new(norm), Affine::new(fc1), Affine::new(fc2));
        tensor(
            feed_forward::feed_forward_then_norm(slice(&input), &fc1, &fc2, &norm),
            shape,
        )
    }

    fn apply_linear(hidden_states: Tensor<Self, 3>, linear: &Linear<Self>) -> Tensor<Self, 3> {
        let [batch, tokens, _] = hidden_states.dims();
        let Some(input) = values(&hidden_states) else {
            return portable::apply_linear(hidden_states, linear);
        };
        let linear = Affine::new(linear);
        let output = product::linear(slice(&input), &linear);
        tensor(output, [batch, tokens, linear.outputs])
    }

    fn tied_logits(hidden_states: Tensor<Self, 3>, embedding: Tensor<Self, 2>) -> Tensor<Self, 3> {
        let [batch, tokens, dim] = hidden_states.dims();
        let rows = embedding.dims()[0];
        let (Some(input), Some(table)) = (values(&hidden_states), values(&embedding)) else {
            return portable::tied_logits(hidden_states, embedding);
        };
        if batch * tokens > product::FEW_ROWS {
            return portable::tied_logits(hidden_states, embedding);
        }
        let output = product::few_rows_by_transposed(slice(&input), slice(&table), dim);
        tensor(output, [batch, tokens, rows])
    }

    fn split_heads(projected: Tensor<Self, 3>, heads: usize) -> Tensor<Self, 4> {
        let [batch, tokens, dim] = projected.dims();
        match values(&projected) {
            Some(rows) => tensor(
                attention::split_heads(slice(&rows), tokens, dim, heads),
                [batch, heads, tokens, dim / heads],
            ),
            None => portable::split_heads(projected, heads),
        }
    }

    fn multi_head_attention(
        q: Tensor<Self, 3>,
        k: Tensor<Self, 4>,
        v: Tensor<Self, 4>,
        masked: Option<Tensor<Self, 4, Bool>>,
    ) -> Tensor<Self, 3> {
        let shape = q.dims();
        // Masks come with batches of unlike prompts; a decoder's step has none.
        let (Some(queries), None) = (values(&q), &masked) else {
            return portable::multi_head_attention(q, k, v, masked);
        };
        let (Some(keys), Some(values_)) = (values(&k), values(&v)) else {
            return portable::multi_head_attention(q, k, v, masked);
        };
        let [_, heads, _, _] = k.dims();
        let output =
            attention::attention(slice(&queries), slice(&keys), slice(&values_), shape, heads);
        tensor(output, shape)
    }
}

/// The tensor's values in order of its shape; none when they are not f32.
fn values<const D: usize>(tensor: &Tensor<Flex, D>) -> Option<FlexTensor> {
    match tensor.clone().into_primitive() {
        TensorPrimitive::Float(values) if values.dtype() == DType::F32 => {
            Some(match values.as_slice::<f32>() {
                Some(_) => values,
                None => values.to_contiguous(),
            })
        }
        _ => None,
    }
}

fn slice(values: &FlexTensor) -> &[f32] {
    parameters::slice(values)
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<Flex, D> {
    let data = burn::tensor::TensorData::new(values, shape);
    Tensor::from_primitive(TensorPrimitive::Float(FlexTensor::from_data(data)))
}

//! The fused operations for burn-flex. Rows pass through a whole operation while they are in the
//! cache, one chunk per rayon task. Products read weights that were packed at load time. Operations
//! on an unpacked weight, such as one in training, use the portable implementation.

mod buffer_pool;
mod cache_line;
mod gemm;
mod ops;
mod parameters;
mod simd;
mod tensor;
mod threads;
mod workspace;

use std::sync::Arc;

use burn::nn::LayerNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::{Int, Tensor};
use burn_flex::Flex;

pub(crate) use gemm::pack::PackedMatrix;
pub use simd::{cpu_level, cpu_levels, set_cpu_level};
pub use threads::with_spin_limit;

use crate::{
    Activation, Backend, CpuLevelError, Linear, Packed, PatchConv, Precision, Weight, portable,
};
use gemm::driver;
use ops::depthwise::Depthwise;
use ops::feed_forward::Layers;
use ops::{
    channel_attention, cross_attention_cache, feed_forward, kv_cache, patch_embedding, top_k,
    window_attention,
};
use parameters::{Affine, Norm};
use tensor::{slice, tensor, values};

impl Backend for Flex {
    type KeysValues = cross_attention_cache::KeysValues;
    type PastKeysValues = kv_cache::PastKeysValues;

    fn check_settings() -> Result<(), CpuLevelError> {
        simd::select().map(drop)
    }

    fn pack<const D: usize>(weight: Tensor<Self, D>, precision: Precision) -> Option<Packed> {
        let shape = weight.dims().to_vec();
        let weight = channels_last(weight);
        let [outputs, inputs] = flat(weight.dims());
        if outputs == 0 || inputs == 0 {
            return None;
        }
        let values = values(&weight)?;
        let matrix = PackedMatrix::pack(slice(&values), inputs, precision.format());
        Some(Packed {
            matrix: Arc::new(matrix),
            shape,
            precision,
        })
    }

    fn unpack<const D: usize>(packed: &Packed, shape: [usize; D]) -> Tensor<Self, D> {
        let values = packed.matrix.unpack();
        if D != 4 {
            return tensor(values, shape);
        }
        let [channels, in_channels, rows, columns] = [0, 1, 2, 3].map(|axis| shape[axis]);
        let stored = tensor(values, [channels, rows, columns, in_channels]);
        stored.permute([0, 3, 1, 2]).reshape(shape)
    }

    fn precisions() -> &'static [Precision] {
        &Precision::ALL
    }

    fn embed(weight: &Weight<Self, 2>, input_ids: Tensor<Self, 2, Int>) -> Tensor<Self, 3> {
        let Some(packed) = weight.as_packed() else {
            return portable::embed(weight, input_ids);
        };
        let [batch, tokens] = input_ids.dims();
        let matrix = &packed.matrix;
        let ids = input_ids.into_data().convert::<i64>();
        // INVARIANT: `convert` returned the type that is read.
        let ids = ids.as_slice::<i64>().expect("i64");
        let rows: Vec<f32> = ids
            .iter()
            .flat_map(|id| matrix.output(*id as usize))
            .collect();
        tensor(rows, [batch, tokens, matrix.inputs])
    }

    fn patch_embedding(
        hidden_states: Tensor<Self, 4>,
        conv: &PatchConv<Self>,
        norm: &LayerNorm<Self>,
        prenorm: bool,
    ) -> Tensor<Self, 4> {
        let geometry = patch_embedding::Geometry::new(hidden_states.dims(), conv);
        let affine = Affine::of(&conv.weight, conv.bias.as_ref());
        let (Some(input), Some(geometry), Some(affine)) =
            (values(&hidden_states), geometry, affine)
        else {
            return portable::patch_embedding(hidden_states, conv, norm, prenorm);
        };
        let norm = Norm::new(norm);
        let output =
            patch_embedding::patch_embedding(slice(&input), &geometry, &affine, &norm, prenorm);
        tensor(output, geometry.output_shape())
    }

    fn add_window_attention(
        hidden_states: Tensor<Self, 4>,
        conv: &Conv2d<Self>,
        norm: &LayerNorm<Self>,
        qkv: &Linear<Self>,
        proj: &Linear<Self>,
        num_heads: usize,
        window_size: usize,
    ) -> Tensor<Self, 4> {
        let shape = hidden_states.dims();
        let (Some(conv_), Some(qkv_), Some(proj_)) = (
            Depthwise::new(shape, conv),
            Affine::new(qkv),
            Affine::new(proj),
        ) else {
            let (heads, window) = (num_heads, window_size);
            return portable::add_window_attention(
                hidden_states,
                conv,
                norm,
                qkv,
                proj,
                heads,
                window,
            );
        };
        let layer = window_attention::Layer {
            conv: &conv_,
            norm: &Norm::new(norm),
            qkv: &qkv_,
            proj: &proj_,
            num_heads,
            window_size,
        };
        replace(hidden_states, |input, output| {
            window_attention::add_window_attention(input, output, shape, &layer);
        })
    }

    fn add_channel_attention(
        hidden_states: Tensor<Self, 4>,
        conv: &Conv2d<Self>,
        norm: &LayerNorm<Self>,
        qkv: &Linear<Self>,
        proj: &Linear<Self>,
        num_groups: usize,
    ) -> Tensor<Self, 4> {
        let shape = hidden_states.dims();
        let proj_ = Affine::new(proj).filter(|_| proj.weight.precision() == Precision::F32);
        let (Some(conv_), Some(qkv_), Some(proj_)) =
            (Depthwise::new(shape, conv), Affine::new(qkv), proj_)
        else {
            let groups = num_groups;
            return portable::add_channel_attention(hidden_states, conv, norm, qkv, proj, groups);
        };
        let layer = channel_attention::Layer {
            conv: &conv_,
            norm: &Norm::new(norm),
            qkv: &qkv_,
            proj: &proj_,
            num_groups,
        };
        replace(hidden_states, |input, output| {
            channel_attention::add_channel_attention(input, output, shape, &layer);
        })
    }

    fn add_feed_forward(
        hidden_states: Tensor<Self, 4>,
        conv: &Conv2d<Self>,
        norm: &LayerNorm<Self>,
        fc1: &Linear<Self>,
        fc2: &Linear<Self>,
        activation: Activation,
    ) -> Tensor<Self, 4> {
        let [_, height, width, _] = hidden_states.dims();
        let conv_ = Depthwise::new(hidden_states.dims(), conv);
        let (Some(conv_), Some(fc1_), Some(fc2_)) = (conv_, Affine::new(fc1), Affine::new(fc2))
        else {
            return portable::add_feed_forward(hidden_states, conv, norm, fc1, fc2, activation);
        };
        let norm = Norm::new(norm);
        let layers = Layers {
            fc1: fc1_,
            fc2: fc2_,
            activation,
        };
        replace(hidden_states, |input, output| {
            let tokens = height * width;
            feed_forward::add_feed_forward(input, tokens, output, &conv_, &norm, &layers);
        })
    }

    fn feed_forward_then_norm(
        hidden_states: Tensor<Self, 3>,
        fc1: &Linear<Self>,
        fc2: &Linear<Self>,
        activation: Activation,
        norm: &LayerNorm<Self>,
    ) -> Tensor<Self, 3> {
        let (Some(input), Some(fc1_), Some(fc2_)) =
            (values(&hidden_states), Affine::new(fc1), Affine::new(fc2))
        else {
            return portable::feed_forward_then_norm(hidden_states, fc1, fc2, activation, norm);
        };
        let norm = Norm::new(norm);
        let shape = hidden_states.dims();
        let layers = Layers {
            fc1: fc1_,
            fc2: fc2_,
            activation,
        };
        let output = feed_forward::feed_forward_then_norm(slice(&input), shape[1], &layers, &norm);
        tensor(output, shape)
    }

    fn linear_then_norm(
        hidden_states: Tensor<Self, 3>,
        residual: Tensor<Self, 3>,
        linear: &Linear<Self>,
        norm: &LayerNorm<Self>,
    ) -> Tensor<Self, 3> {
        let shape = residual.dims();
        let (Some(input), Some(residual_), Some(linear_)) = (
            values(&hidden_states),
            values(&residual),
            Affine::new(linear),
        ) else {
            return portable::linear_then_norm(hidden_states, residual, linear, norm);
        };
        let (input, residual) = (slice(&input), slice(&residual_));
        let norm = Norm::new(norm);
        tensor(
            feed_forward::linear_then_norm(input, shape[1], residual, &linear_, &norm),
            shape,
        )
    }

    fn apply_linears<const N: usize>(
        hidden_states: Tensor<Self, 3>,
        linears: [&Linear<Self>; N],
    ) -> [Tensor<Self, 3>; N] {
        let affines: Option<Vec<_>> = linears.iter().map(|linear| Affine::new(linear)).collect();
        let (Some(input), Some(affines)) = (values(&hidden_states), affines) else {
            return portable::apply_linears(hidden_states, linears);
        };
        let [batch, tokens, _] = hidden_states.dims();
        let mut outputs = driver::linears(slice(&input), tokens, &affines).into_iter();
        std::array::from_fn(|index| {
            // INVARIANT: there is an output for each layer.
            let output = outputs.next().expect("an output");
            tensor(output, [batch, tokens, affines[index].weight.outputs])
        })
    }

    fn tied_logits(hidden_states: Tensor<Self, 3>, embedding: &Weight<Self, 2>) -> Tensor<Self, 3> {
        let affine = Affine::of(embedding, None);
        let (Some(input), Some(affine)) = (values(&hidden_states), affine) else {
            return portable::tied_logits(hidden_states, embedding);
        };
        let [batch, tokens, _] = hidden_states.dims();
        let output = driver::linear(slice(&input), tokens, &affine);
        tensor(output, [batch, tokens, affine.weight.outputs])
    }

    fn likeliest(logits: Tensor<Self, 2>, count: usize) -> Option<Tensor<Self, 2>> {
        let [rows, entries] = logits.dims();
        let values = values(&logits)?;
        let count = count.min(entries);
        Some(tensor(
            top_k::top_k_log_softmax(slice(&values), entries, count),
            [rows, 2 * count],
        ))
    }

    /// On a thread of rayon's pool, an operation wakes only the threads that share its work. On any
    /// other thread, the operation moves to the pool and the thread sleeps.
    fn run<R: Send>(work: impl FnOnce() -> R + Send) -> R {
        threads::with_spinning_threads(work)
    }
}

/// Frees the buffers that are kept between operations: those of the process and of this thread.
pub(crate) fn trim() {
    buffer_pool::trim();
    workspace::trim();
}

/// The number of outputs, and the number of inputs of each output.
fn flat<const D: usize>(shape: [usize; D]) -> [usize; 2] {
    [shape[0], shape[1..].iter().product()]
}

/// The weight of a convolution with its channels last, in the order of gathered patches; other
/// weights unchanged.
fn channels_last<const D: usize>(weight: Tensor<Flex, D>) -> Tensor<Flex, D> {
    if D != 4 {
        return weight;
    }
    let axes: [isize; D] = std::array::from_fn(|axis| [0, 2, 3, 1][axis]);
    weight.permute(axes)
}

/// The values of a tensor to be modified: its own buffer if it is not shared, else a copy.
fn into_values<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f32> {
    // INVARIANT: the backend's float type is f32.
    tensor.into_data().into_vec().expect("f32")
}

/// Returns a tensor of the same shape in a separate buffer, which `write` fills.
fn replace<const D: usize>(
    hidden_states: Tensor<Flex, D>,
    write: impl FnOnce(&[f32], &mut [f32]),
) -> Tensor<Flex, D> {
    let shape = hidden_states.dims();
    let input = into_values(hidden_states);
    let mut output = buffer_pool::take(input.len());
    write(&input, &mut output);
    buffer_pool::give(input);
    tensor(output, shape)
}

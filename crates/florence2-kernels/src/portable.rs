//! Every operation of [`crate::Backend`] in burn's operations: differentiable, for any backend, and
//! the reference of the fused operations in tests.
//!
//! They compute in the data type of the parameters, f32, f16 or bf16. Norms and softmax are always
//! computed in f32, since squares and sums of f16 overflow.

use burn::nn::LayerNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Bool, DType, Int, Tensor, activation};

use crate::{Activation, Backend, Linear, PatchConv, Precision, Weight};

/// See [`crate::Backend::embed`].
pub fn embed<B: Backend>(weight: &Weight<B, 2>, input_ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
    burn::tensor::module::embedding(weight.val(), input_ids)
}

/// `hidden_states + conv(hidden_states)`: the position encoding of DaViT's blocks.
///
/// Shapes: `[batch, height, width, channels]` in and out.
fn add_depthwise<B: Backend>(hidden_states: Tensor<B, 4>, conv: &Conv2d<B>) -> Tensor<B, 4> {
    let position = channels_last(conv.forward(channels_first(hidden_states.clone())));
    hidden_states + position
}

/// See [`crate::Backend::patch_embedding`].
pub fn patch_embedding<B: Backend>(
    hidden_states: Tensor<B, 4>,
    conv: &PatchConv<B>,
    norm: &LayerNorm<B>,
    prenorm: bool,
) -> Tensor<B, 4> {
    let weight = conv.weight.val();
    // Pixel values are f32.
    let hidden_states = hidden_states.cast(weight.dtype());
    let convolve = |hidden_states| {
        let options = ConvOptions::new([conv.stride; 2], [conv.padding; 2], [1, 1], 1);
        let bias = conv.bias.as_ref().map(burn::module::Param::val);
        let input = channels_first(hidden_states);
        channels_last(conv2d(input, weight, bias, options))
    };
    if prenorm {
        convolve(apply_norm(hidden_states, norm))
    } else {
        apply_norm(convolve(hidden_states), norm)
    }
}

/// See [`crate::Backend::add_window_attention`].
pub fn add_window_attention<B: Backend>(
    hidden_states: Tensor<B, 4>,
    conv: &Conv2d<B>,
    norm: &LayerNorm<B>,
    qkv: &Linear<B>,
    proj: &Linear<B>,
    num_heads: usize,
    window_size: usize,
) -> Tensor<B, 4> {
    let hidden_states = add_depthwise(hidden_states, conv);
    let [batch, height, width, dim] = hidden_states.dims();
    let window = window_size;
    let (rows, columns) = (height.div_ceil(window), width.div_ceil(window));
    let (padded_height, padded_width) = (rows * window, columns * window);

    // The padding takes part in the attention as zeros after the norm, without a mask, as in
    // training.
    let normed = pad(
        apply_norm(hidden_states.clone(), norm),
        padded_height,
        padded_width,
    );
    let count = batch * rows * columns;
    let windows = normed
        .reshape([batch, rows, window, columns, window, dim])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([count, window * window, dim]);
    let [q, k, v] = split_qkv(forward(qkv, one_batch(windows))).map(|part| {
        part.reshape([count, window * window, num_heads, dim / num_heads])
            .swap_dims(1, 2)
    });
    let scale = ((dim / num_heads) as f64).powf(-0.5);
    let attention = scaled_dot_product_attention(q, k, v, None, scale)
        .swap_dims(1, 2)
        .reshape([1, count * window * window, dim]);
    let attention = forward(proj, attention)
        .reshape([batch, rows, columns, window, window, dim])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([batch, padded_height, padded_width, dim])
        .slice([0..batch, 0..height, 0..width, 0..dim]);
    hidden_states + attention
}

/// See [`crate::Backend::add_channel_attention`].
pub fn add_channel_attention<B: Backend>(
    hidden_states: Tensor<B, 4>,
    conv: &Conv2d<B>,
    norm: &LayerNorm<B>,
    qkv: &Linear<B>,
    proj: &Linear<B>,
    num_groups: usize,
) -> Tensor<B, 4> {
    let hidden_states = add_depthwise(hidden_states, conv);
    let [batch, height, width, dim] = hidden_states.dims();
    let tokens = height * width;
    let normed = apply_norm(hidden_states.clone(), norm).reshape([1, batch * tokens, dim]);
    let [q, k, v] = split_qkv(forward(qkv, normed)).map(|part| {
        part.reshape([batch, tokens, num_groups, dim / num_groups])
            .permute([0, 2, 3, 1])
    });
    // Scaled by the number of positions, not of channels: positions are the features here.
    let scale = (tokens as f64).powf(-0.5);
    let attention = scaled_dot_product_attention(q, k, v, None, scale)
        .permute([0, 3, 1, 2])
        .reshape([1, batch * tokens, dim]);
    hidden_states + forward(proj, attention).reshape([batch, height, width, dim])
}

/// See [`crate::Backend::add_feed_forward`].
pub fn add_feed_forward<B: Backend>(
    hidden_states: Tensor<B, 4>,
    conv: &Conv2d<B>,
    norm: &LayerNorm<B>,
    fc1: &Linear<B>,
    fc2: &Linear<B>,
    activation: Activation,
) -> Tensor<B, 4> {
    let shape = hidden_states.dims();
    let hidden_states = one_batch(add_depthwise(hidden_states, conv));
    let hidden = activation.forward(forward(fc1, apply_norm(hidden_states.clone(), norm)));
    (hidden_states + forward(fc2, hidden)).reshape(shape)
}

/// See [`crate::Backend::feed_forward_then_norm`].
pub fn feed_forward_then_norm<B: Backend>(
    hidden_states: Tensor<B, 3>,
    fc1: &Linear<B>,
    fc2: &Linear<B>,
    activation: Activation,
    norm: &LayerNorm<B>,
) -> Tensor<B, 3> {
    let shape = hidden_states.dims();
    let hidden_states = one_batch(hidden_states);
    let hidden = activation.forward(forward(fc1, hidden_states.clone()));
    apply_norm(hidden_states + forward(fc2, hidden), norm).reshape(shape)
}

/// See [`crate::Backend::linear_then_norm`].
pub fn linear_then_norm<B: Backend>(
    hidden_states: Tensor<B, 3>,
    residual: Tensor<B, 3>,
    linear: &Linear<B>,
    norm: &LayerNorm<B>,
) -> Tensor<B, 3> {
    let shape = residual.dims();
    let sum = one_batch(residual) + forward(linear, one_batch(hidden_states));
    apply_norm(sum, norm).reshape(shape)
}

/// See [`crate::Backend::apply_norm`].
pub fn apply_norm<B: Backend, const D: usize>(
    hidden_states: Tensor<B, D>,
    norm: &LayerNorm<B>,
) -> Tensor<B, D> {
    let dtype = hidden_states.dtype();
    norm.forward(hidden_states.cast(DType::F32)).cast(dtype)
}

/// See [`crate::Backend::apply_linears`].
pub fn apply_linears<B: Backend, const N: usize>(
    hidden_states: Tensor<B, 3>,
    linears: [&Linear<B>; N],
) -> [Tensor<B, 3>; N] {
    let [batch, tokens, _] = hidden_states.dims();
    let hidden_states = one_batch(hidden_states);
    linears.map(|linear| {
        let output = forward(linear, hidden_states.clone());
        let outputs = output.dims()[2];
        output.reshape([batch, tokens, outputs])
    })
}

/// Reshapes to one batch of rows, `[1, .., rows, dim]`. GPUs multiply each entry of a batch
/// separately, beams row by row and images line by line.
fn one_batch<B: Backend, const D: usize>(hidden_states: Tensor<B, D>) -> Tensor<B, D> {
    let dim = hidden_states.dims()[D - 1];
    let mut shape = [1; D];
    shape[D - 2] = hidden_states.shape().num_elements() / dim;
    shape[D - 1] = dim;
    hidden_states.reshape(shape)
}

/// `x * weight^T + bias`, for an input from [`one_batch`].
fn forward<B: Backend, const D: usize>(linear: &Linear<B>, input: Tensor<B, D>) -> Tensor<B, D> {
    let weight = linear.weight.val().transpose();
    let bias = linear.bias.as_ref().map(burn::module::Param::val);
    if input.dims()[D - 2] > 1 {
        return burn::tensor::module::linear(input, weight, bias);
    }
    let output = apart(burn::tensor::module::linear(input, weight, None));
    match bias {
        Some(bias) => output + bias.unsqueeze(),
        None => output,
    }
}

/// Keeps the product of one row and a transposed matrix from being fused with the next operations.
///
/// For fused products, burn 0.21's autotune also tries cubek's `gemv_unit_perpendicular`, which
/// reads a transposed matrix as if it were not transposed, and selects it because it is fast. It
/// excludes the kernel for separate products only (cubek-matmul 0.2,
/// `launch_vecmat_unit_perpendicular.rs`). burn fuses nothing with a tensor that loses dimensions,
/// and neither reshape changes the values.
fn apart<B: Backend, const D: usize>(product: Tensor<B, D>) -> Tensor<B, D> {
    let shape = product.shape();
    product.flatten::<1>(0, D - 1).reshape(shape)
}

/// See [`crate::Backend::tied_logits`].
pub fn tied_logits<B: Backend>(
    hidden_states: Tensor<B, 3>,
    embedding: &Weight<B, 2>,
) -> Tensor<B, 3> {
    let [batch, tokens, _] = hidden_states.dims();
    let weight = embedding.val().transpose();
    let logits = burn::tensor::module::linear(one_batch(hidden_states), weight, None);
    let logits = match batch * tokens {
        1 => apart(logits),
        _ => logits,
    };
    let entries = logits.dims()[2];
    logits.reshape([batch, tokens, entries])
}

/// See [`crate::KeysValues`]: tensors `[batch, heads, tokens, head_dim]`.
#[derive(Debug, Clone)]
pub struct KeysValues<B: Backend> {
    keys: Tensor<B, 4>,
    values: Tensor<B, 4>,
    masked: Option<Tensor<B, 4, Bool>>,
}

impl<B: Backend> crate::KeysValues<B> for KeysValues<B> {
    fn new(
        keys: Tensor<B, 3>,
        values: Tensor<B, 3>,
        num_heads: usize,
        masked: Option<Tensor<B, 4, Bool>>,
        _precision: Precision,
    ) -> Self {
        Self {
            keys: split_heads(keys, num_heads),
            values: split_heads(values, num_heads),
            masked,
        }
    }

    fn attend(&self, queries: Tensor<B, 3>) -> Tensor<B, 3> {
        let [rows, tokens, dim] = queries.dims();
        let batch = self.keys.dims()[0];
        let queries = queries.reshape([batch, rows / batch * tokens, dim]);
        let (keys, values) = (self.keys.clone(), self.values.clone());
        multi_head_attention(queries, keys, values, self.masked.clone())
            .reshape([rows, tokens, dim])
    }

    fn select(&mut self, entries: &[usize]) {
        let entries = numbers(entries, &self.keys.device());
        self.keys = self.keys.clone().select(0, entries.clone());
        self.values = self.values.clone().select(0, entries.clone());
        if let Some(masked) = self.masked.take() {
            self.masked = Some(match masked.dims()[0] {
                1 => masked,
                _ => masked.select(0, entries),
            });
        }
    }
}

/// See [`crate::PastKeysValues`]: tensors `[rows, heads, tokens, head_dim]`, `None` before the
/// first token.
#[derive(Debug, Clone)]
pub struct PastKeysValues<B: Backend>(Option<[Tensor<B, 4>; 2]>);

impl<B: Backend> Default for PastKeysValues<B> {
    fn default() -> Self {
        Self(None)
    }
}

impl<B: Backend> crate::PastKeysValues<B> for PastKeysValues<B> {
    fn attend(
        &mut self,
        queries: Tensor<B, 3>,
        keys: Tensor<B, 3>,
        values: Tensor<B, 3>,
        num_heads: usize,
    ) -> Tensor<B, 3> {
        let new = [keys, values].map(|projected| split_heads(projected, num_heads));
        let [keys, values] = match self.0.take() {
            None => new,
            Some([keys, values]) => {
                let [new_keys, new_values] = new;
                [
                    Tensor::cat(vec![keys, new_keys], 2),
                    Tensor::cat(vec![values, new_values], 2),
                ]
            }
        };
        self.0 = Some([keys.clone(), values.clone()]);
        let tokens = queries.dims()[1];
        let masked = causal_mask(keys.dims()[2] - tokens, tokens, &queries.device());
        multi_head_attention(queries, keys, values, masked)
    }

    fn select(&mut self, rows: &[usize]) {
        if let Some(keys_values) = self.0.take() {
            let rows = numbers(rows, &keys_values[0].device());
            self.0 = Some(keys_values.map(|tensor| tensor.select(0, rows.clone())));
        }
    }
}

fn numbers<B: Backend>(numbers: &[usize], device: &B::Device) -> Tensor<B, 1, Int> {
    let numbers: Vec<i32> = numbers.iter().map(|&number| number as i32).collect();
    Tensor::from_ints(numbers.as_slice(), device)
}

/// True where a token would attend to a later one. `None` for a single token, which attends to all
/// tokens before it.
///
/// Output: `[1, 1, tokens, past + tokens]`.
fn causal_mask<B: Backend>(
    past: usize,
    tokens: usize,
    device: &B::Device,
) -> Option<Tensor<B, 4, Bool>> {
    (tokens > 1).then(|| {
        Tensor::<B, 2, Bool>::tril_mask([tokens, past + tokens], past as i64, device)
            .unsqueeze::<4>()
    })
}

/// Multi-head attention. The heads of `q` and of the output are side by side in `dim`.
///
/// # Shapes
/// - `q` and output: `[batch, queries, dim]`
/// - `k`, `v`: `[batch, heads, keys, dim / heads]`
/// - `masked`: `[batch or 1, 1, queries or 1, keys]`
fn multi_head_attention<B: Backend>(
    q: Tensor<B, 3>,
    k: Tensor<B, 4>,
    v: Tensor<B, 4>,
    masked: Option<Tensor<B, 4, Bool>>,
) -> Tensor<B, 3> {
    let [batch, queries, dim] = q.dims();
    let [_, heads, _, head_dim] = k.dims();
    let scale = (head_dim as f64).powf(-0.5);
    scaled_dot_product_attention(split_heads(q, heads), k, v, masked, scale)
        .swap_dims(1, 2)
        .reshape([batch, queries, dim])
}

/// `softmax(q k^T * scale) v`; HF `eager_attention_forward`.
fn scaled_dot_product_attention<B: Backend>(
    q: Tensor<B, 4>,
    k: Tensor<B, 4>,
    v: Tensor<B, 4>,
    masked: Option<Tensor<B, 4, Bool>>,
    scale: f64,
) -> Tensor<B, 4> {
    let dtype = q.dtype();
    let queries = q.dims()[2];
    let mut scores = (q * scale).matmul(k.swap_dims(2, 3));
    if queries == 1 {
        scores = apart(scores);
    }
    scores = scores.cast(DType::F32);
    if let Some(masked) = masked {
        let shape = scores.shape();
        // Equivalent to -inf, but the result of a fully masked row is still a number.
        scores = scores.mask_fill(masked.expand(shape), f32::MIN);
    }
    activation::softmax(scores, 3).cast(dtype).matmul(v)
}

/// `[batch, tokens, dim]` to `[batch, heads, tokens, dim / heads]`.
fn split_heads<B: Backend>(projected: Tensor<B, 3>, heads: usize) -> Tensor<B, 4> {
    let [batch, tokens, dim] = projected.dims();
    projected
        .reshape([batch, tokens, heads, dim / heads])
        .swap_dims(1, 2)
}

/// `[batch, tokens, 3 * dim]` to three times `[batch, tokens, dim]`.
fn split_qkv<B: Backend>(qkv: Tensor<B, 3>) -> [Tensor<B, 3>; 3] {
    let dim = qkv.dims()[2] / 3;
    [0, 1, 2].map(|part| qkv.clone().narrow(2, part * dim, dim))
}

/// Pads with zeros to the right and below, up to the given size.
fn pad<B: Backend>(tensor: Tensor<B, 4>, height: usize, width: usize) -> Tensor<B, 4> {
    let [batch, old_height, old_width, dim] = tensor.dims();
    if (old_height, old_width) == (height, width) {
        return tensor;
    }
    let options = (&tensor.device(), tensor.dtype());
    let zeros = Tensor::zeros([batch, height, width, dim], options);
    zeros.slice_assign([0..batch, 0..old_height, 0..old_width, 0..dim], tensor)
}

/// `[batch, channels, height, width]` to `[batch, height, width, channels]`.
fn channels_last<B: Backend>(tensor: Tensor<B, 4>) -> Tensor<B, 4> {
    tensor.permute([0, 2, 3, 1])
}

/// `[batch, height, width, channels]` to `[batch, channels, height, width]`.
fn channels_first<B: Backend>(tensor: Tensor<B, 4>) -> Tensor<B, 4> {
    tensor.permute([0, 3, 1, 2])
}

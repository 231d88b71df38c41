//! The layers that several parts of the model use: linear layers, the token embedding, patch
//! embeddings, layer norms, activations and attention, in burn's operations.
//!
//! They compute in the data type of the parameters, f32, f16 or bf16. Norms and softmax are always
//! computed in f32, since squares and sums of f16 overflow.

use burn::module::{Module, Param, ParamId};
use burn::nn::LayerNorm;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Bool, DType, Int, Tensor, activation};
use florence2_kernels::activation::{GELU_CUBE, GELU_TANH, QUICK_GELU};
use florence2_kernels::layer_weights::LinearWeights;
use florence2_kernels::{Activation, AttentionSettings, Backend, Dtype, LoraUpdate, Weight};

use crate::dropout::{Dropout, Seeds};

pub use OutInLinear as Linear;

/// `x * weight^T + bias`.
///
/// burn-store's `PyTorchToBurnAdapter` transposes the weight of every module whose type is named
/// `Linear`, since burn's own layer stores `[in, out]`. This type has another name so that its
/// weight, which is `[out, in]` as in PyTorch, is not transposed.
#[derive(Module, Debug)]
pub struct OutInLinear<B: Backend> {
    /// `[out, in]`.
    pub weight: Weight<B, 2>,
    /// `[out]`; `None` for zeros.
    pub bias: Option<Param<Tensor<B, 1>>>,
}

/// Token embeddings. If they are tied to the output, they also compute the logits.
#[derive(Module, Debug)]
pub struct TokenEmbedding<B: Backend> {
    /// `[vocab_size, d_model]`.
    pub weight: Weight<B, 2>,
}

/// A strided convolution that embeds patches.
#[derive(Module, Debug)]
pub struct PatchConv<B: Backend> {
    /// `[channels, in_channels, size, size]`.
    pub weight: Weight<B, 4>,
    /// `[channels]`.
    pub bias: Option<Param<Tensor<B, 1>>>,
    /// The distance between patches, in positions.
    pub stride: usize,
    /// The width of the zero padding around the image.
    pub padding: usize,
}

impl<B: Backend> OutInLinear<B> {
    /// Creates a lazily initialised layer.
    pub fn new(
        inputs: usize,
        outputs: usize,
        bias: bool,
        dtype: Dtype,
        device: &B::Device,
    ) -> Self {
        Self {
            weight: Weight::new([outputs, inputs], dtype, device),
            bias: bias.then(|| zeros(outputs, device)),
        }
    }

    /// Shapes: `[.., tokens, in]` to `[.., tokens, out]`.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        linear(x, &self.weights())
    }

    /// Takes the seed of the dropout of a LoRA update.
    pub(crate) fn take_seeds(&mut self, seeds: &mut Seeds) {
        take_seeds(&mut self.weight, seeds);
    }

    /// The parameters, for the backend's fused operations.
    pub(crate) fn weights(&self) -> LinearWeights<'_, B> {
        LinearWeights {
            weight: &self.weight,
            bias: self.bias.as_ref(),
        }
    }
}

impl<B: Backend> TokenEmbedding<B> {
    /// Creates a lazily initialised embedding.
    pub fn new(vocab_size: usize, d_model: usize, dtype: Dtype, device: &B::Device) -> Self {
        Self {
            weight: Weight::new([vocab_size, d_model], dtype, device),
        }
    }

    /// Looks up the rows of `input_ids`.
    ///
    /// # Shapes
    /// - `input_ids`: `[batch, tokens]`
    /// - output: `[batch, tokens, d_model]`
    pub fn forward(&self, input_ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        if let Some(embeddings) = B::fused_embedding(&self.weight, &input_ids) {
            return embeddings;
        }
        burn::tensor::module::embedding(self.weight.val(), input_ids)
    }

    /// Computes `x * weight^T`, the logits of a tied embedding.
    ///
    /// Shapes: `[batch, tokens, d_model]` to `[batch, tokens, vocab_size]`.
    pub fn logits(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let weights = LinearWeights {
            weight: &self.weight,
            bias: None,
        };
        linear(x, &weights)
    }
}

impl<B: Backend> PatchConv<B> {
    /// Creates a lazily initialised layer of square patches.
    pub fn new(
        [in_channels, channels]: [usize; 2],
        size: usize,
        stride: usize,
        padding: usize,
        dtype: Dtype,
        device: &B::Device,
    ) -> Self {
        Self {
            weight: Weight::new([channels, in_channels, size, size], dtype, device),
            bias: Some(zeros(channels, device)),
            stride,
            padding,
        }
    }

    /// Shapes: `[batch, in_channels, height, width]` to `[batch, channels, rows, columns]`.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let options = ConvOptions::new([self.stride; 2], [self.padding; 2], [1, 1], 1);
        let bias = self.bias.as_ref().map(Param::val);
        conv2d(x, self.weight.val(), bias, options)
    }
}

/// Takes the seed of the dropout of a LoRA update.
fn take_seeds<B: Backend, const D: usize>(weight: &mut Weight<B, D>, seeds: &mut Seeds) {
    if let Weight::Adapted(_, update) = weight {
        update.dropout_seed = seeds.draw();
    }
}

/// A lazily initialised bias.
fn zeros<B: Backend>(size: usize, device: &B::Device) -> Param<Tensor<B, 1>> {
    Param::uninitialized(
        ParamId::new(),
        move |device, require_grad| Tensor::zeros([size], device).set_require_grad(require_grad),
        device.clone(),
        true,
        [size].into(),
    )
}

/// `x * weight^T + bias`.
///
/// Shapes: `[.., tokens, in]` to `[.., tokens, out]`.
fn linear<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    weights: &LinearWeights<'_, B>,
) -> Tensor<B, D> {
    if let Some((base, update)) = weights.weight.as_adapted() {
        let (weight, bias) = (base, weights.bias);
        return linear(x.clone(), &LinearWeights { weight, bias }) + low_rank(x, update);
    }
    if let Some(y) = B::fused_linear(&x, weights) {
        return y;
    }
    let mut shape = x.dims();
    let x = one_batch(x);
    let weight = weights.weight.val().transpose();
    let bias = weights.bias.map(Param::val);
    let y = if x.dims()[D - 2] > 1 {
        burn::tensor::module::linear(x, weight, bias)
    } else {
        let product = fusion_barrier(burn::tensor::module::linear(x, weight, None));
        match bias {
            Some(bias) => product + bias.unsqueeze(),
            None => product,
        }
    };
    shape[D - 1] = y.dims()[D - 1];
    y.reshape(shape)
}

/// `dropout(x) * lora_a^T * lora_b^T * scaling`; PEFT `lora.Linear.forward`.
///
/// Shapes: `[.., tokens, in]` to `[.., tokens, out]`.
fn low_rank<B: Backend, const D: usize>(x: Tensor<B, D>, update: &LoraUpdate<B>) -> Tensor<B, D> {
    let x = Dropout::with_seed(update.dropout, update.dropout_seed).forward(x);
    let product = |x, matrix: &Param<Tensor<B, 2>>| {
        burn::tensor::module::linear(x, matrix.val().transpose(), None)
    };
    product(product(x, &update.lora_a), &update.lora_b) * update.scaling
}

/// Reshapes to one batch of rows, `[1, .., rows, dim]`. GPUs multiply each entry of a batch
/// separately, beams row by row and images line by line.
fn one_batch<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let dim = x.dims()[D - 1];
    let mut shape = [1; D];
    shape[D - 2] = x.shape().num_elements() / dim;
    shape[D - 1] = dim;
    x.reshape(shape)
}

/// Keeps the product of one row and a transposed matrix from being fused with the next operations.
///
/// For fused products, burn 0.21's autotune also tries cubek's `gemv_unit_perpendicular`, which
/// reads a transposed matrix as if it were not transposed, and selects it because it is fast. It
/// excludes the kernel for separate products only (cubek-matmul 0.2,
/// `launch_vecmat_unit_perpendicular.rs`). burn fuses nothing with a tensor that loses dimensions,
/// and neither reshape changes the values.
fn fusion_barrier<B: Backend, const D: usize>(product: Tensor<B, D>) -> Tensor<B, D> {
    let shape = product.shape();
    product.flatten::<1>(0, D - 1).reshape(shape)
}

/// The layer norm of the last dimension, computed in f32 and returned in the data type of `x`.
pub(crate) fn layer_norm<B: Backend, const D: usize>(
    norm: &LayerNorm<B>,
    x: Tensor<B, D>,
) -> Tensor<B, D> {
    if let Some(y) = B::fused_layer_norm(norm, &x) {
        return y;
    }
    let dtype = x.dtype();
    norm.forward(x.cast(DType::F32)).cast(dtype)
}

/// Applies an activation function to every value.
pub fn activate<B: Backend, const D: usize>(function: Activation, x: Tensor<B, D>) -> Tensor<B, D> {
    let times_sigmoid = |x: Tensor<B, D>, argument| x * activation::sigmoid(argument);
    match function {
        Activation::Gelu => B::fused_gelu(&x).unwrap_or_else(|| activation::gelu(x)),
        Activation::GeluTanh => {
            let cube = x.clone() * x.clone() * x.clone();
            let argument = (x.clone() + cube * f64::from(GELU_CUBE)) * f64::from(GELU_TANH);
            times_sigmoid(x, argument)
        }
        Activation::QuickGelu => times_sigmoid(x.clone(), x * f64::from(QUICK_GELU)),
        Activation::Relu => activation::relu(x),
        Activation::Silu => times_sigmoid(x.clone(), x),
    }
}

/// `softmax(q k^T * scale) v`; HF `eager_attention_forward`.
///
/// # Shapes
/// - `q` and output: `[batch, heads, queries, head_dim]`
/// - `k`, `v`: `[batch, heads, keys, head_dim]`
/// - `mask`: `[batch or 1, 1, queries or 1, keys]`, true where a key is not attended to
/// - `dropout`: of the attention weights
pub(crate) fn scaled_dot_product_attention<B: Backend>(
    q: Tensor<B, 4>,
    k: Tensor<B, 4>,
    v: Tensor<B, 4>,
    mask: Option<Tensor<B, 4, Bool>>,
    scale: f64,
    dropout: &Dropout,
) -> Tensor<B, 4> {
    let settings = AttentionSettings {
        mask,
        scale,
        dropout: dropout.mask::<B>(&q.device()),
    };
    if let Some(attention) = B::fused_attention([&q, &k, &v], &settings) {
        return attention;
    }
    let dtype = q.dtype();
    let queries = q.dims()[2];
    let mut scores = (q * scale).matmul(k.swap_dims(2, 3));
    if queries == 1 {
        scores = fusion_barrier(scores);
    }
    scores = scores.cast(DType::F32);
    if let Some(mask) = settings.mask {
        let shape = scores.shape();
        // Equivalent to -inf, but the result of a fully masked row is still a number.
        scores = scores.mask_fill(mask.expand(shape), f32::MIN);
    }
    let weights = dropout.forward(activation::softmax(scores, 3));
    weights.cast(dtype).matmul(v)
}

/// `[batch, tokens, 3 * dim]` to three times `[batch, tokens, dim]`: queries, keys and values.
pub(crate) fn split_qkv<B: Backend>(qkv: Tensor<B, 3>) -> [Tensor<B, 3>; 3] {
    let dim = qkv.dims()[2] / 3;
    [0, 1, 2].map(|part| qkv.clone().narrow(2, part * dim, dim))
}

/// `[batch, tokens, dim]` to `[batch, heads, tokens, dim / heads]`.
pub(crate) fn split_heads<B: Backend>(x: Tensor<B, 3>, heads: usize) -> Tensor<B, 4> {
    let [batch, tokens, dim] = x.dims();
    x.reshape([batch, tokens, heads, dim / heads])
        .swap_dims(1, 2)
}

/// `[batch, heads, tokens, head_dim]` to `[batch, tokens, heads * head_dim]`.
pub(crate) fn merge_heads<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 3> {
    let [batch, heads, tokens, head_dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch, tokens, heads * head_dim])
}

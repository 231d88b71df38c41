//! The layers whose weights a backend may pack: linear layers, the token embedding and patch
//! embeddings. Their fields have the checkpoints' names.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Int, Tensor};

use crate::{Backend, Precision, Weight};

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
        precision: Precision,
        device: &B::Device,
    ) -> Self {
        Self {
            weight: Weight::new([outputs, inputs], precision, device),
            bias: bias.then(|| zeros(outputs, device)),
        }
    }
}

impl<B: Backend> TokenEmbedding<B> {
    /// Creates a lazily initialised embedding.
    pub fn new(
        vocab_size: usize,
        d_model: usize,
        precision: Precision,
        device: &B::Device,
    ) -> Self {
        Self {
            weight: Weight::new([vocab_size, d_model], precision, device),
        }
    }

    /// Looks up the rows of `input_ids`.
    ///
    /// # Shapes
    /// - `input_ids`: `[batch, tokens]`
    /// - output: `[batch, tokens, d_model]`
    pub fn forward(&self, input_ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        B::embed(&self.weight, input_ids)
    }
}

impl<B: Backend> PatchConv<B> {
    /// Creates a lazily initialised layer of square patches.
    pub fn new(
        [in_channels, channels]: [usize; 2],
        size: usize,
        stride: usize,
        padding: usize,
        precision: Precision,
        device: &B::Device,
    ) -> Self {
        Self {
            weight: Weight::new([channels, in_channels, size, size], precision, device),
            bias: Some(zeros(channels, device)),
            stride,
            padding,
        }
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

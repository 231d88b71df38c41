//! The convolution at the start of a stage: HF `Florence2VisionConvEmbed`.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::Tensor;
use florence2_kernels::layer_weights::ConvEmbedWeights;
use florence2_kernels::{Backend, Dtype};

use super::depthwise::{channels_first, channels_last};
use crate::config::Florence2VisionConfig;
use crate::layers::{PatchConv, layer_norm};

/// Embeds patches by a strided convolution, with a layer norm before (`patch_prenorm`) or after it.
#[derive(Module, Debug)]
pub struct ConvEmbed<B: Backend> {
    /// The strided convolution.
    pub conv: PatchConv<B>,
    /// Layer norm over channels.
    pub norm: LayerNorm<B>,
    prenorm: bool,
}

impl<B: Backend> ConvEmbed<B> {
    /// Creates the module of one stage with lazily initialised parameters.
    pub fn new(
        config: &Florence2VisionConfig,
        stage: usize,
        dtype: Dtype,
        device: &B::Device,
    ) -> Self {
        let in_channels = match stage {
            0 => config.in_channels,
            _ => config.embed_dim[stage - 1],
        };
        let (size, stride) = (config.patch_size[stage], config.patch_stride[stage]);
        let padding = config.patch_padding[stage];
        let prenorm = config.patch_prenorm[stage];
        let dim = config.embed_dim[stage];
        Self {
            conv: PatchConv::new([in_channels, dim], size, stride, padding, dtype, device),
            norm: LayerNormConfig::new(if prenorm { in_channels } else { dim }).init(device),
            prenorm,
        }
    }

    /// Shapes: `[batch, height, width, in_channels]` to `[batch, rows, columns, embed_dim]`.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        if let Some(y) = B::fused_conv_embed(&x, &self.weights()) {
            return y;
        }
        // Pixel values are f32.
        let x = x.cast(self.conv.weight.val().dtype());
        if self.prenorm {
            let x = layer_norm(&self.norm, x);
            channels_last(self.conv.forward(channels_first(x)))
        } else {
            let x = channels_last(self.conv.forward(channels_first(x)));
            layer_norm(&self.norm, x)
        }
    }

    /// The parameters, for the backend's fused operation.
    pub fn weights(&self) -> ConvEmbedWeights<'_, B> {
        ConvEmbedWeights {
            conv: &self.conv.weight,
            bias: self.conv.bias.as_ref(),
            stride: self.conv.stride,
            padding: self.conv.padding,
            norm: &self.norm,
            prenorm: self.prenorm,
        }
    }
}

//! The convolution at the start of a stage: HF `Florence2VisionConvEmbed`.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::Tensor;
use florence2_kernels::{Backend, PatchConv, Precision};

use crate::config::Florence2VisionConfig;

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
        precision: Precision,
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
            conv: PatchConv::new([in_channels, dim], size, stride, padding, precision, device),
            norm: LayerNormConfig::new(if prenorm { in_channels } else { dim }).init(device),
            prenorm,
        }
    }

    /// Shapes: `[batch, height, width, in_channels]` to `[batch, rows, columns, embed_dim]`.
    pub fn forward(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        B::patch_embedding(hidden_states, &self.conv, &self.norm, self.prenorm)
    }
}

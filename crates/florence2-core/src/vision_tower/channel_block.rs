//! Attention between the channels of a group: HF `Florence2VisionChannelBlock`.

use std::ops::ControlFlow;

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::Tensor;
use florence2_kernels::layer_weights::{ChannelBlockWeights, VisionFeedForwardWeights};
use florence2_kernels::{Backend, Dtype};

use super::depthwise::{convolve, depthwise};
use super::mlp::Mlp;
use crate::config::Florence2VisionConfig;
use crate::dropout::{DropPath, Dropout, Seeds};
use crate::layers::{Linear, layer_norm, scaled_dot_product_attention, split_qkv};

/// Depthwise convolution, channel attention, depthwise convolution, feed-forward: each added to
/// its input.
#[derive(Module, Debug)]
pub struct ChannelBlock<B: Backend> {
    /// Position encoding before the attention.
    pub conv1: Conv2d<B>,
    /// Layer norm before the attention.
    pub norm1: LayerNorm<B>,
    /// The attention.
    pub channel_attn: ChannelAttention<B>,
    /// Position encoding before the feed-forward block.
    pub conv2: Conv2d<B>,
    /// Layer norm before the feed-forward block.
    pub norm2: LayerNorm<B>,
    /// The feed-forward block.
    pub ffn: Mlp<B>,
    #[module(skip)]
    drop_path1: DropPath,
    #[module(skip)]
    drop_path2: DropPath,
}

impl<B: Backend> ChannelBlock<B> {
    /// Creates the module of one stage with lazily initialised parameters.
    pub fn new(
        config: &Florence2VisionConfig,
        stage: usize,
        drop_path_rate: f64,
        dtype: Dtype,
        device: &B::Device,
    ) -> Self {
        let dim = config.embed_dim[stage];
        Self {
            conv1: depthwise(dim, device),
            norm1: LayerNormConfig::new(dim).init(device),
            channel_attn: ChannelAttention::new(config, stage, dtype, device),
            conv2: depthwise(dim, device),
            norm2: LayerNormConfig::new(dim).init(device),
            ffn: Mlp::new(config, stage, dtype, device),
            drop_path1: DropPath::new(drop_path_rate),
            drop_path2: DropPath::new(drop_path_rate),
        }
    }

    /// The linear layers, by name.
    pub(super) fn linears_mut(&mut self) -> impl Iterator<Item = (String, &mut Linear<B>)> {
        let attention = &mut self.channel_attn;
        let attention = [
            ("channel_attn.qkv".to_owned(), &mut attention.qkv),
            ("channel_attn.proj".to_owned(), &mut attention.proj),
        ];
        let ffn = self.ffn.linears_mut();
        let ffn = ffn.map(|(name, linear)| (format!("ffn.{name}"), linear));
        attention.into_iter().chain(ffn)
    }

    /// Takes the seeds of the next forward pass.
    pub(super) fn take_seeds(&mut self, seeds: &mut Seeds) {
        self.drop_path1.take_seeds(seeds);
        self.drop_path2.take_seeds(seeds);
    }

    /// Shapes: `[batch, height, width, channels]` in and out.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let x = match B::fused_channel_block(x, &self.weights()) {
            ControlFlow::Break(y) => return y,
            ControlFlow::Continue(x) => x,
        };
        let x = x.clone() + convolve(&self.conv1, x);
        let attention = self
            .channel_attn
            .forward(layer_norm(&self.norm1, x.clone()));
        let x = x + self.drop_path1.forward(attention);
        let x = x.clone() + convolve(&self.conv2, x);
        let hidden = self.ffn.forward(layer_norm(&self.norm2, x.clone()));
        x + self.drop_path2.forward(hidden)
    }

    /// The parameters, for the backend's fused operation.
    pub fn weights(&self) -> ChannelBlockWeights<'_, B> {
        ChannelBlockWeights {
            conv1: &self.conv1,
            norm1: &self.norm1,
            qkv: self.channel_attn.qkv.weights(),
            proj: self.channel_attn.proj.weights(),
            num_groups: self.channel_attn.num_groups,
            feed_forward: VisionFeedForwardWeights {
                conv2: &self.conv2,
                norm2: &self.norm2,
                ffn: self.ffn.weights(),
            },
        }
    }
}

/// Attention whose tokens are channels and whose features are positions: HF
/// `Florence2VisionChannelAttention`.
#[derive(Module, Debug)]
pub struct ChannelAttention<B: Backend> {
    /// From `dim` to `3 * dim`: q, k and v of all groups.
    pub qkv: Linear<B>,
    /// From `dim` to `dim`.
    pub proj: Linear<B>,
    num_groups: usize,
}

impl<B: Backend> ChannelAttention<B> {
    /// Creates the module of one stage with lazily initialised parameters.
    pub fn new(
        config: &Florence2VisionConfig,
        stage: usize,
        dtype: Dtype,
        device: &B::Device,
    ) -> Self {
        let dim = config.embed_dim[stage];
        Self {
            qkv: Linear::new(dim, 3 * dim, config.qkv_bias, dtype, device),
            // Multiplied by the attention weights, in f32, before any other product.
            proj: Linear::new(dim, dim, true, Dtype::F32, device),
            num_groups: config.num_groups[stage],
        }
    }

    /// Computes the attention between the channels of each group.
    ///
    /// Shapes: `[batch, height, width, dim]` in and out.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let [batch, height, width, dim] = x.dims();
        let tokens = height * width;
        let groups = self.num_groups;
        let qkv = self.qkv.forward(x.reshape([batch, tokens, dim]));
        let [q, k, v] = split_qkv(qkv).map(|projected| {
            projected
                .reshape([batch, tokens, groups, dim / groups])
                .permute([0, 2, 3, 1])
        });
        // Scaled by the number of positions, not of channels: positions are the features here.
        let scale = (tokens as f64).powf(-0.5);
        let attention = scaled_dot_product_attention(q, k, v, None, scale, &Dropout::default())
            .permute([0, 3, 1, 2])
            .reshape([batch, tokens, dim]);
        let projected = self.proj.forward(attention);
        projected.reshape([batch, height, width, dim])
    }
}

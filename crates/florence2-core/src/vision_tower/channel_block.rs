//! Attention between the channels of a group: HF `Florence2VisionChannelBlock`.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::Tensor;
use florence2_kernels::{Backend, Linear, Precision};

use super::{Mlp, depthwise};
use crate::config::Florence2VisionConfig;

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
}

impl<B: Backend> ChannelBlock<B> {
    /// Creates the module of one stage with lazily initialised parameters.
    pub fn new(
        config: &Florence2VisionConfig,
        stage: usize,
        precision: Precision,
        device: &B::Device,
    ) -> Self {
        let dim = config.embed_dim[stage];
        Self {
            conv1: depthwise(dim, device),
            norm1: LayerNormConfig::new(dim).init(device),
            channel_attn: ChannelAttention::new(config, stage, precision, device),
            conv2: depthwise(dim, device),
            norm2: LayerNormConfig::new(dim).init(device),
            ffn: Mlp::new(config, stage, precision, device),
        }
    }

    /// Shapes: `[batch, height, width, channels]` in and out.
    pub fn forward(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        let hidden_states = self
            .channel_attn
            .add(hidden_states, &self.conv1, &self.norm1);
        self.ffn.add(hidden_states, &self.conv2, &self.norm2)
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
        precision: Precision,
        device: &B::Device,
    ) -> Self {
        let dim = config.embed_dim[stage];
        Self {
            qkv: Linear::new(dim, 3 * dim, config.qkv_bias, precision, device),
            // Multiplied by the attention weights, in f32, before any other product.
            proj: Linear::new(dim, dim, true, Precision::F32, device),
            num_groups: config.num_groups[stage],
        }
    }

    /// `x + self(norm(x))`, where `x = hidden_states + conv(hidden_states)`.
    ///
    /// Shapes: `[batch, height, width, channels]` in and out.
    pub fn add(
        &self,
        hidden_states: Tensor<B, 4>,
        conv: &Conv2d<B>,
        norm: &LayerNorm<B>,
    ) -> Tensor<B, 4> {
        B::add_channel_attention(
            hidden_states,
            conv,
            norm,
            &self.qkv,
            &self.proj,
            self.num_groups,
        )
    }
}

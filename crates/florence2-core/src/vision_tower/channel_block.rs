//! Attention between the channels of a group: HF `Florence2VisionChannelBlock`.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Tensor, backend::Backend};

use super::spatial_block::split_qkv;
use super::{Mlp, add_depthwise, depthwise};
use crate::attention::scaled_dot_product_attention;
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
    /// Position encoding before the feed-forward part.
    pub conv2: Conv2d<B>,
    /// Layer norm before the feed-forward part.
    pub norm2: LayerNorm<B>,
    /// The feed-forward part.
    pub ffn: Mlp<B>,
}

impl<B: Backend> ChannelBlock<B> {
    /// The module of one stage with lazily initialised parameters.
    pub fn new(config: &Florence2VisionConfig, stage: usize, device: &B::Device) -> Self {
        let dim = config.embed_dim[stage];
        Self {
            conv1: depthwise(dim, device),
            norm1: LayerNormConfig::new(dim).init(device),
            channel_attn: ChannelAttention::new(config, stage, device),
            conv2: depthwise(dim, device),
            norm2: LayerNormConfig::new(dim).init(device),
            ffn: Mlp::new(config, stage, device),
        }
    }

    /// Shapes: `[batch, height, width, channels]` in and out.
    pub fn forward(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        let hidden_states = add_depthwise(&self.conv1, hidden_states);
        let attention = self
            .channel_attn
            .forward(self.norm1.forward(hidden_states.clone()));
        let hidden_states = add_depthwise(&self.conv2, hidden_states + attention);
        let feed_forward = self.ffn.forward(self.norm2.forward(hidden_states.clone()));
        hidden_states + feed_forward
    }
}

/// Attention whose tokens are channels and whose features are positions: HF
/// `Florence2VisionChannelAttention`.
#[derive(Module, Debug)]
pub struct ChannelAttention<B: Backend> {
    /// `[dim, 3 * dim]`: q, k and v of all groups.
    pub qkv: Linear<B>,
    /// `[dim, dim]`.
    pub proj: Linear<B>,
    num_groups: usize,
}

impl<B: Backend> ChannelAttention<B> {
    /// The module of one stage with lazily initialised parameters.
    pub fn new(config: &Florence2VisionConfig, stage: usize, device: &B::Device) -> Self {
        let dim = config.embed_dim[stage];
        Self {
            qkv: LinearConfig::new(dim, 3 * dim)
                .with_bias(config.qkv_bias)
                .init(device),
            proj: LinearConfig::new(dim, dim).init(device),
            num_groups: config.num_groups[stage],
        }
    }

    /// Shapes: `[batch, height, width, channels]` in and out.
    pub fn forward(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        let [batch, height, width, dim] = hidden_states.dims();
        let tokens = height * width;
        let group_dim = dim / self.num_groups;
        let hidden_states = hidden_states.reshape([batch, tokens, dim]);
        let [q, k, v] = split_qkv(self.qkv.forward(hidden_states)).map(|part| {
            part.reshape([batch, tokens, self.num_groups, group_dim])
                .permute([0, 2, 3, 1])
        });
        // Scaled by the number of positions, not of channels: they are the features here.
        let scale = (tokens as f64).powf(-0.5);
        let attention = scaled_dot_product_attention(q, k, v, None, scale)
            .permute([0, 3, 1, 2])
            .reshape([batch, tokens, dim]);
        self.proj
            .forward(attention)
            .reshape([batch, height, width, dim])
    }
}

//! Attention between the positions of a window: HF `Florence2VisionSpatialBlock`.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Tensor, backend::Backend};

use super::{Mlp, add_depthwise, depthwise};
use crate::attention::scaled_dot_product_attention;
use crate::config::Florence2VisionConfig;

/// Depthwise convolution, window attention, depthwise convolution, feed-forward: each added to
/// its input.
#[derive(Module, Debug)]
pub struct SpatialBlock<B: Backend> {
    /// Position encoding before the attention.
    pub conv1: Conv2d<B>,
    /// Layer norm before the attention.
    pub norm1: LayerNorm<B>,
    /// The attention.
    pub window_attn: WindowAttention<B>,
    /// Position encoding before the feed-forward part.
    pub conv2: Conv2d<B>,
    /// Layer norm before the feed-forward part.
    pub norm2: LayerNorm<B>,
    /// The feed-forward part.
    pub ffn: Mlp<B>,
}

impl<B: Backend> SpatialBlock<B> {
    /// The module of one stage with lazily initialised parameters.
    pub fn new(config: &Florence2VisionConfig, stage: usize, device: &B::Device) -> Self {
        let dim = config.embed_dim[stage];
        Self {
            conv1: depthwise(dim, device),
            norm1: LayerNormConfig::new(dim).init(device),
            window_attn: WindowAttention::new(config, stage, device),
            conv2: depthwise(dim, device),
            norm2: LayerNormConfig::new(dim).init(device),
            ffn: Mlp::new(config, stage, device),
        }
    }

    /// Shapes: `[batch, height, width, channels]` in and out.
    pub fn forward(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        let hidden_states = add_depthwise(&self.conv1, hidden_states);
        let attention = self
            .window_attn
            .forward(self.norm1.forward(hidden_states.clone()));
        let hidden_states = add_depthwise(&self.conv2, hidden_states + attention);
        let feed_forward = self.ffn.forward(self.norm2.forward(hidden_states.clone()));
        hidden_states + feed_forward
    }
}

/// Self-attention within non-overlapping square windows: HF `Florence2VisionWindowAttention`.
#[derive(Module, Debug)]
pub struct WindowAttention<B: Backend> {
    /// `[dim, 3 * dim]`: q, k and v of all heads.
    pub qkv: Linear<B>,
    /// `[dim, dim]`.
    pub proj: Linear<B>,
    num_heads: usize,
    window_size: usize,
}

impl<B: Backend> WindowAttention<B> {
    /// The module of one stage with lazily initialised parameters.
    pub fn new(config: &Florence2VisionConfig, stage: usize, device: &B::Device) -> Self {
        let dim = config.embed_dim[stage];
        Self {
            qkv: LinearConfig::new(dim, 3 * dim)
                .with_bias(config.qkv_bias)
                .init(device),
            proj: LinearConfig::new(dim, dim).init(device),
            num_heads: config.num_heads[stage],
            window_size: config.window_size,
        }
    }

    /// Shapes: `[batch, height, width, channels]` in and out.
    pub fn forward(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        let [batch, height, width, dim] = hidden_states.dims();
        let window = self.window_size;
        let (rows, columns) = (height.div_ceil(window), width.div_ceil(window));
        let (padded_height, padded_width) = (rows * window, columns * window);

        // The padding takes part in the attention as zeros after the norm: no mask, as trained.
        let hidden_states = pad(hidden_states, padded_height, padded_width);
        let windows = hidden_states
            .reshape([batch, rows, window, columns, window, dim])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([batch * rows * columns, window * window, dim]);
        let windows = self.attend(windows);
        windows
            .reshape([batch, rows, columns, window, window, dim])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([batch, padded_height, padded_width, dim])
            .slice([0..batch, 0..height, 0..width, 0..dim])
    }

    /// Shapes: `[windows, tokens, dim]` in and out.
    fn attend(&self, windows: Tensor<B, 3>) -> Tensor<B, 3> {
        let [count, tokens, dim] = windows.dims();
        let head_dim = dim / self.num_heads;
        let [q, k, v] = split_qkv(self.qkv.forward(windows)).map(|part| {
            part.reshape([count, tokens, self.num_heads, head_dim])
                .swap_dims(1, 2)
        });
        let scale = (head_dim as f64).powf(-0.5);
        let attention = scaled_dot_product_attention(q, k, v, None, scale)
            .swap_dims(1, 2)
            .reshape([count, tokens, dim]);
        self.proj.forward(attention)
    }
}

/// `[batch, tokens, 3 * dim]` to three times `[batch, tokens, dim]`.
pub(super) fn split_qkv<B: Backend>(qkv: Tensor<B, 3>) -> [Tensor<B, 3>; 3] {
    let dim = qkv.dims()[2] / 3;
    [0, 1, 2].map(|part| qkv.clone().narrow(2, part * dim, dim))
}

/// Zeros to the right and below, up to the given size.
fn pad<B: Backend>(tensor: Tensor<B, 4>, height: usize, width: usize) -> Tensor<B, 4> {
    let [batch, old_height, old_width, dim] = tensor.dims();
    if (old_height, old_width) == (height, width) {
        return tensor;
    }
    let zeros = Tensor::zeros([batch, height, width, dim], &tensor.device());
    zeros.slice_assign([0..batch, 0..old_height, 0..old_width, 0..dim], tensor)
}

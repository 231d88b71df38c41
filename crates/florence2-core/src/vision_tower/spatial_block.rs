//! Attention between the positions of a window: HF `Florence2VisionSpatialBlock`.

use std::ops::ControlFlow;

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::Tensor;
use florence2_kernels::layer_weights::{SpatialBlockWeights, VisionFeedForwardWeights};
use florence2_kernels::{Backend, Dtype};

use super::depthwise::{convolve, depthwise};
use super::mlp::Mlp;
use crate::config::Florence2VisionConfig;
use crate::dropout::{DropPath, Dropout, Seeds};
use crate::layers::{
    Linear, layer_norm, merge_heads, scaled_dot_product_attention, split_heads, split_qkv,
};

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

impl<B: Backend> SpatialBlock<B> {
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
            window_attn: WindowAttention::new(config, stage, dtype, device),
            conv2: depthwise(dim, device),
            norm2: LayerNormConfig::new(dim).init(device),
            ffn: Mlp::new(config, stage, dtype, device),
            drop_path1: DropPath::new(drop_path_rate),
            drop_path2: DropPath::new(drop_path_rate),
        }
    }

    /// The linear layers, by name.
    pub(super) fn linears_mut(&mut self) -> impl Iterator<Item = (String, &mut Linear<B>)> {
        let attention = &mut self.window_attn;
        let attention = [
            ("window_attn.qkv".to_owned(), &mut attention.qkv),
            ("window_attn.proj".to_owned(), &mut attention.proj),
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
        let x = match B::fused_spatial_block(x, &self.weights()) {
            ControlFlow::Break(y) => return y,
            ControlFlow::Continue(x) => x,
        };
        let x = x.clone() + convolve(&self.conv1, x);
        let attention = self.window_attn.forward(layer_norm(&self.norm1, x.clone()));
        let x = x + self.drop_path1.forward(attention);
        let x = x.clone() + convolve(&self.conv2, x);
        let hidden = self.ffn.forward(layer_norm(&self.norm2, x.clone()));
        x + self.drop_path2.forward(hidden)
    }

    /// The parameters, for the backend's fused operation.
    pub fn weights(&self) -> SpatialBlockWeights<'_, B> {
        SpatialBlockWeights {
            conv1: &self.conv1,
            norm1: &self.norm1,
            qkv: self.window_attn.qkv.weights(),
            proj: self.window_attn.proj.weights(),
            num_heads: self.window_attn.num_heads,
            window_size: self.window_attn.window_size,
            feed_forward: VisionFeedForwardWeights {
                conv2: &self.conv2,
                norm2: &self.norm2,
                ffn: self.ffn.weights(),
            },
        }
    }
}

/// Self-attention within non-overlapping square windows: HF `Florence2VisionWindowAttention`.
#[derive(Module, Debug)]
pub struct WindowAttention<B: Backend> {
    /// From `dim` to `3 * dim`: q, k and v of all heads.
    pub qkv: Linear<B>,
    /// From `dim` to `dim`.
    pub proj: Linear<B>,
    num_heads: usize,
    window_size: usize,
}

impl<B: Backend> WindowAttention<B> {
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
            proj: Linear::new(dim, dim, true, dtype, device),
            num_heads: config.num_heads[stage],
            window_size: config.window_size,
        }
    }

    /// Computes the attention within each window.
    ///
    /// Windows that extend past the edge are padded with zeros. The padding takes part in the
    /// attention, without a mask, as in training.
    ///
    /// Shapes: `[batch, height, width, dim]` in and out.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let [batch, height, width, dim] = x.dims();
        let window = self.window_size;
        let (rows, columns) = (height.div_ceil(window), width.div_ceil(window));
        let (padded_height, padded_width) = (rows * window, columns * window);
        let windows = pad(x, padded_height, padded_width)
            .reshape([batch, rows, window, columns, window, dim])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([batch * rows * columns, window * window, dim]);

        let [q, k, v] = split_qkv(self.qkv.forward(windows))
            .map(|projected| split_heads(projected, self.num_heads));
        let scale = ((dim / self.num_heads) as f64).powf(-0.5);
        let attention = merge_heads(scaled_dot_product_attention(
            q,
            k,
            v,
            None,
            scale,
            &Dropout::default(),
        ));
        self.proj
            .forward(attention)
            .reshape([batch, rows, columns, window, window, dim])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([batch, padded_height, padded_width, dim])
            .slice([0..batch, 0..height, 0..width, 0..dim])
    }
}

/// Pads with zeros to the right and below, up to the given size.
fn pad<B: Backend>(x: Tensor<B, 4>, height: usize, width: usize) -> Tensor<B, 4> {
    let [batch, old_height, old_width, dim] = x.dims();
    if (old_height, old_width) == (height, width) {
        return x;
    }
    let options = (&x.device(), x.dtype());
    let zeros = Tensor::zeros([batch, height, width, dim], options);
    zeros.slice_assign([0..batch, 0..old_height, 0..old_width, 0..dim], x)
}

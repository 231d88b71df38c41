//! The feed-forward part of a vision block: HF `Florence2VisionMLP`.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear, LinearConfig};
use burn::tensor::Tensor;
use florence2_kernels::Backend;

use crate::config::Florence2VisionConfig;

/// Linear, exact GELU, linear.
#[derive(Module, Debug)]
pub struct Mlp<B: Backend> {
    /// `[dim, dim * mlp_ratio]`.
    pub fc1: Linear<B>,
    /// `[dim * mlp_ratio, dim]`.
    pub fc2: Linear<B>,
}

impl<B: Backend> Mlp<B> {
    /// The module of one stage with lazily initialised parameters.
    pub fn new(config: &Florence2VisionConfig, stage: usize, device: &B::Device) -> Self {
        let dim = config.embed_dim[stage];
        let hidden = (dim as f64 * config.mlp_ratio) as usize;
        Self {
            fc1: LinearConfig::new(dim, hidden).init(device),
            fc2: LinearConfig::new(hidden, dim).init(device),
        }
    }

    /// `hidden_states + self(norm(hidden_states))`.
    ///
    /// Shapes: `[batch, height, width, dim]` in and out.
    pub fn add(&self, hidden_states: Tensor<B, 4>, norm: &LayerNorm<B>) -> Tensor<B, 4> {
        B::add_feed_forward(hidden_states, norm, &self.fc1, &self.fc2)
    }
}

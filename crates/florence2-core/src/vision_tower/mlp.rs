//! The feed-forward part of a vision block: HF `Florence2VisionMLP`.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, activation, backend::Backend};

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

    /// Shapes: `[.., dim]` in and out.
    pub fn forward<const D: usize>(&self, hidden_states: Tensor<B, D>) -> Tensor<B, D> {
        let hidden_states = activation::gelu(self.fc1.forward(hidden_states));
        self.fc2.forward(hidden_states)
    }
}

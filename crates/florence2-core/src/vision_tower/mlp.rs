//! The feed-forward block of a vision block: HF `Florence2VisionMLP`.

use burn::module::Module;
use burn::nn::LayerNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use florence2_kernels::{Activation, Backend, Linear, Precision};

use crate::config::{Florence2VisionConfig, activation_named};

/// Two linear layers with an activation between them.
#[derive(Module, Debug)]
pub struct Mlp<B: Backend> {
    /// From `dim` to `dim * mlp_ratio`.
    pub fc1: Linear<B>,
    /// Back to `dim`.
    pub fc2: Linear<B>,
    #[module(skip)]
    activation: Activation,
}

impl<B: Backend> Mlp<B> {
    /// Creates the module of one stage with lazily initialised parameters.
    pub fn new(
        config: &Florence2VisionConfig,
        stage: usize,
        precision: Precision,
        device: &B::Device,
    ) -> Self {
        let dim = config.embed_dim[stage];
        let hidden = (dim as f64 * config.mlp_ratio) as usize;
        Self {
            fc1: Linear::new(dim, hidden, true, precision, device),
            fc2: Linear::new(hidden, dim, true, precision, device),
            activation: activation_named(&config.activation_function),
        }
    }

    /// `x + self(norm(x))`, where `x = hidden_states + conv(hidden_states)`.
    ///
    /// Shapes: `[batch, height, width, dim]` in and out.
    pub fn add(
        &self,
        hidden_states: Tensor<B, 4>,
        conv: &Conv2d<B>,
        norm: &LayerNorm<B>,
    ) -> Tensor<B, 4> {
        B::add_feed_forward(
            hidden_states,
            conv,
            norm,
            &self.fc1,
            &self.fc2,
            self.activation,
        )
    }
}

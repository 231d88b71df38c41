//! The feed-forward block of a vision block: HF `Florence2VisionMLP`.

use burn::module::Module;
use burn::tensor::Tensor;
use florence2_kernels::layer_weights::MlpWeights;
use florence2_kernels::{Activation, Backend, Dtype};

use crate::config::{Florence2VisionConfig, activation_named};
use crate::layers::{Linear, activate};

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
        dtype: Dtype,
        device: &B::Device,
    ) -> Self {
        let dim = config.embed_dim[stage];
        let hidden = (dim as f64 * config.mlp_ratio) as usize;
        Self {
            fc1: Linear::new(dim, hidden, true, dtype, device),
            fc2: Linear::new(hidden, dim, true, dtype, device),
            activation: activation_named(&config.activation_function),
        }
    }

    /// Shapes: `[.., dim]` in and out.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        self.fc2
            .forward(activate(self.activation, self.fc1.forward(x)))
    }

    /// The linear layers, by name.
    pub(super) fn linears_mut(&mut self) -> [(&'static str, &mut Linear<B>); 2] {
        [("fc1", &mut self.fc1), ("fc2", &mut self.fc2)]
    }

    /// The parameters, for the backend's fused operations.
    pub(super) fn weights(&self) -> MlpWeights<'_, B> {
        MlpWeights {
            fc1: self.fc1.weights(),
            fc2: self.fc2.weights(),
            activation: self.activation,
        }
    }
}

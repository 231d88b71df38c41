//! AdamW over a module's trained parameters: torch's `AdamW` with the parameter groups of
//! transformers' `Trainer`.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{AdamWConfig, AdamWState, SimpleOptimizer};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use florence2_core::weights::module_path_to_key;

use crate::gradients::Gradients;

/// The hyperparameters of AdamW, but for the learning rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWSettings {
    /// The decay rate of the first moment.
    pub adam_beta1: f64,
    /// The decay rate of the second moment.
    pub adam_beta2: f64,
    /// The term that is added to the denominator.
    pub adam_epsilon: f64,
    /// The decay of weights, relative to the learning rate. Biases and layer norms do not decay.
    pub weight_decay: f64,
}

/// AdamW and its state for each parameter, by key.
pub struct AdamW<B: AutodiffBackend> {
    decaying: burn::optim::AdamW,
    constant: burn::optim::AdamW,
    /// The moments, flattened.
    pub(crate) states: BTreeMap<String, AdamWState<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> AdamW<B> {
    /// Creates an optimiser without state.
    pub fn new(settings: &AdamWSettings) -> Self {
        let config = AdamWConfig::new()
            .with_beta_1(settings.adam_beta1 as f32)
            .with_beta_2(settings.adam_beta2 as f32)
            .with_epsilon(settings.adam_epsilon as f32);
        let with_decay = |decay: f64| config.clone().with_weight_decay(decay as f32).build();
        Self {
            decaying: with_decay(settings.weight_decay),
            constant: with_decay(0.0),
            states: BTreeMap::new(),
        }
    }

    /// Updates the parameters that have gradients.
    #[must_use]
    pub fn step<M: Module<B>>(
        &mut self,
        module: M,
        gradients: Gradients<B>,
        learning_rate: f64,
    ) -> M {
        module.map(&mut Update {
            path: Vec::new(),
            optimizer: self,
            gradients,
            learning_rate,
        })
    }
}

/// Returns whether weight decay applies to a parameter: neither to biases nor to layer norms, as in
/// transformers' `Trainer.get_decay_parameter_names`.
pub fn decays(key: &str) -> bool {
    let key = key.to_lowercase();
    let mut parts = key.split('.');
    let is_norm = |part: &str| {
        part == "norm"
            || part.ends_with("_norm")
            || part.contains("layernorm")
            || matches!(part, "norm1" | "norm2")
    };
    !key.contains("bias") && !parts.any(is_norm)
}

struct Update<'a, B: AutodiffBackend> {
    path: Vec<String>,
    optimizer: &'a mut AdamW<B>,
    gradients: Gradients<B>,
    learning_rate: f64,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Update<'_, B> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let key = module_path_to_key(&self.path);
        let Some(gradient) = self.gradients.by_key.remove(&key) else {
            return parameter;
        };
        let optimizer = if decays(&key) {
            &self.optimizer.decaying
        } else {
            &self.optimizer.constant
        };
        let (id, value) = (parameter.id, parameter.val().inner());
        let shape = value.shape();
        let state = self.optimizer.states.remove(&key);
        let flat = value.reshape([-1]);
        let (updated, state) = optimizer.step(self.learning_rate, flat, gradient, state);
        if let Some(state) = state {
            self.optimizer.states.insert(key, state);
        }
        let updated = Tensor::from_inner(updated.reshape(shape)).require_grad();
        Param::initialized(id, updated)
    }
}

//! AdamW over a module's trained parameters: torch's `AdamW` with the parameter groups of
//! transformers' `Trainer`.
//!
//! burn's AdamW is not used: it computes the bias corrections in f32, and `1 - beta2` alone is then
//! wrong by 1e-5 in relative terms.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
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

/// The state of a parameter: torch's `step`, `exp_avg` and `exp_avg_sq`. Moments are flattened.
#[derive(Debug, Clone)]
pub(crate) struct Moments<B: Backend> {
    pub(crate) step: u64,
    pub(crate) exp_avg: Tensor<B, 1>,
    pub(crate) exp_avg_sq: Tensor<B, 1>,
}

/// AdamW and its state for each parameter, by key.
#[derive(Debug)]
pub struct AdamW<B: AutodiffBackend> {
    settings: AdamWSettings,
    pub(crate) states: BTreeMap<String, Moments<B::InnerBackend>>,
}

impl<B: AutodiffBackend> AdamW<B> {
    /// Creates an optimiser without state.
    pub fn new(settings: AdamWSettings) -> Self {
        Self {
            settings,
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

impl AdamWSettings {
    /// The value of a parameter after a step: torch's `_single_tensor_adamw`.
    fn update<B: Backend>(
        &self,
        value: Tensor<B, 1>,
        moments: &Moments<B>,
        learning_rate: f64,
        decay: f64,
    ) -> Tensor<B, 1> {
        let step = moments.step as f64;
        let correction1 = 1.0 - self.adam_beta1.powf(step);
        let correction2 = 1.0 - self.adam_beta2.powf(step);
        let root = moments.exp_avg_sq.clone().sqrt() / correction2.sqrt();
        let update = moments.exp_avg.clone() / (root + self.adam_epsilon);
        value * (1.0 - learning_rate * decay) - update * (learning_rate / correction1)
    }
}

impl<B: Backend> Moments<B> {
    fn next(state: Option<Self>, gradient: Tensor<B, 1>, settings: &AdamWSettings) -> Self {
        let square = gradient.clone() * gradient.clone();
        let gradient = gradient * (1.0 - settings.adam_beta1);
        let square = square * (1.0 - settings.adam_beta2);
        match state {
            None => Self {
                step: 1,
                exp_avg: gradient,
                exp_avg_sq: square,
            },
            Some(state) => Self {
                step: state.step + 1,
                exp_avg: state.exp_avg * settings.adam_beta1 + gradient,
                exp_avg_sq: state.exp_avg_sq * settings.adam_beta2 + square,
            },
        }
    }
}

/// Returns whether weight decay applies to a parameter: neither to biases nor to layer norms, as in
/// transformers' `Trainer.get_decay_parameter_names`.
pub fn decays(key: &str) -> bool {
    let key = key.to_lowercase();
    let mut parts = key.split('.');
    let is_norm = |part: &str| {
        part.contains("layernorm")
            || part.ends_with("_norm")
            || matches!(part, "norm" | "norm1" | "norm2")
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
        let settings = self.optimizer.settings;
        let decay = if decays(&key) {
            settings.weight_decay
        } else {
            0.0
        };
        let (id, value) = (parameter.id, parameter.val().inner());
        drop(parameter);
        let shape = value.shape();
        let state = self.optimizer.states.remove(&key);
        let moments = Moments::next(state, gradient, &settings);
        let value = value.reshape([-1]);
        let updated = settings.update(value, &moments, self.learning_rate, decay);
        self.optimizer.states.insert(key, moments);
        let updated = Tensor::from_inner(updated.reshape(shape)).require_grad();
        Param::initialized(id, updated)
    }
}

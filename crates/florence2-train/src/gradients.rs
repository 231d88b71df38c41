//! The gradients of an optimiser step: their sum over micro-batches, and their norm.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

/// The gradients of the trained parameters, by the keys of the parameters. Each is flattened.
#[derive(Debug)]
pub struct Gradients<B: AutodiffBackend> {
    pub(crate) by_key: BTreeMap<String, Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> Default for Gradients<B> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
        }
    }
}

impl<B: AutodiffBackend> Gradients<B> {
    /// Adds the gradients of a backward pass through `module`.
    pub fn add<M: Module<B>>(&mut self, module: &M, mut gradients: B::Gradients) {
        module.visit(&mut Sum {
            path: Vec::new(),
            gradients: &mut gradients,
            sums: &mut self.by_key,
        });
    }

    /// The squared L2 norm of all gradients together, `[1]`; `None` without gradients.
    pub fn squared_norm(&self) -> Option<Tensor<B::InnerBackend, 1>> {
        let squares = self.by_key.values();
        let squares = squares.map(|gradient| (gradient.clone() * gradient.clone()).sum());
        squares.reduce(|sum, square| sum + square)
    }

    /// Multiplies all gradients by a factor.
    pub fn scale(&mut self, factor: f64) {
        for gradient in self.by_key.values_mut() {
            *gradient = gradient.clone() * factor;
        }
    }
}

struct Sum<'a, B: AutodiffBackend> {
    path: Vec<String>,
    gradients: &'a mut B::Gradients,
    sums: &'a mut BTreeMap<String, Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Sum<'_, B> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<B, D>>) {
        if !parameter.is_require_grad() {
            return;
        }
        let Some(gradient) = parameter.val().grad_remove(self.gradients) else {
            return;
        };
        let gradient = gradient.reshape([-1]);
        let key = florence2_core::weights::module_path_to_key(&self.path);
        match self.sums.remove(&key) {
            Some(sum) => self.sums.insert(key, sum + gradient),
            None => self.sums.insert(key, gradient),
        };
    }
}

//! The selection of the parameters that are trained.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use florence2_core::weights::module_path_to_key;

/// Trains the parameters for whose keys `is_trained` is true, and freezes the others. Packed weights
/// remain frozen, and so does the table of sinusoids, which is a constant.
#[must_use]
pub fn select<B: Backend, M: Module<B>>(module: M, is_trained: impl Fn(&str) -> bool) -> M {
    module.map(&mut Selection {
        path: Vec::new(),
        is_trained,
    })
}

/// The keys of the trained parameters and their numbers of values, in the order of the module. `path`
/// is that of the module in the model.
pub fn trained<B: Backend, M: Module<B>>(module: &M, path: &str) -> Vec<(String, usize)> {
    let mut list = List {
        path: path.split_terminator('.').map(str::to_owned).collect(),
        trained: Vec::new(),
    };
    module.visit(&mut list);
    list.trained
}

struct Selection<F> {
    path: Vec<String>,
    is_trained: F,
}

impl<B: Backend, F: Fn(&str) -> bool> ModuleMapper<B> for Selection<F> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let key = module_path_to_key(&self.path);
        let is_trained = !key.ends_with("pos_idx_to_embed") && (self.is_trained)(&key);
        parameter.set_require_grad(is_trained)
    }
}

struct List {
    path: Vec<String>,
    trained: Vec<(String, usize)>,
}

impl<B: Backend> ModuleVisitor<B> for List {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<B, D>>) {
        if parameter.is_require_grad() {
            let key = module_path_to_key(&self.path);
            self.trained
                .push((key, parameter.lazy_shape().num_elements()));
        }
    }
}

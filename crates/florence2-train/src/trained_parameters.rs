//! The selection of the parameters that are trained.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use florence2_core::weights::{TensorValues, module_path_to_key};

use crate::error::{Error, Result};

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

/// The values of the trained parameters, by key.
pub fn values<B: Backend, M: Module<B>>(module: &M) -> BTreeMap<String, TensorValues> {
    let mut values = Values {
        path: Vec::new(),
        by_key: BTreeMap::new(),
    };
    module.visit(&mut values);
    values.by_key
}

/// Sets the trained parameters to stored values.
///
/// # Errors
/// [`Error::Parameters`] with every key that has no parameter, another size or no values.
pub fn load_values<B: Backend, M: Module<B>>(
    module: M,
    stored: BTreeMap<String, TensorValues>,
) -> Result<M> {
    let mut loader = Loader {
        path: Vec::new(),
        stored,
        problems: Vec::new(),
    };
    let module = module.map(&mut loader);
    let unknown = loader.stored.keys();
    let unknown = unknown.map(|key| format!("`{key}`, which is no trained parameter"));
    loader.problems.extend(unknown);
    if loader.problems.is_empty() {
        Ok(module)
    } else {
        Err(Error::Parameters {
            problems: loader.problems,
        })
    }
}

struct Values {
    path: Vec<String>,
    by_key: BTreeMap<String, TensorValues>,
}

impl<B: Backend> ModuleVisitor<B> for Values {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<B, D>>) {
        if parameter.is_require_grad() {
            let data = parameter.val().into_data().convert::<f32>();
            let shape = data.shape.to_vec();
            // INVARIANT: `convert` returned the type that is read.
            let values = data.into_vec().expect("f32");
            let key = module_path_to_key(&self.path);
            self.by_key.insert(key, TensorValues { shape, values });
        }
    }
}

struct Loader {
    path: Vec<String>,
    stored: BTreeMap<String, TensorValues>,
    problems: Vec<String>,
}

impl<B: Backend> ModuleMapper<B> for Loader {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if !parameter.is_require_grad() {
            return parameter;
        }
        let key = module_path_to_key(&self.path);
        let shape: [usize; D] = parameter.lazy_shape().dims();
        match self.stored.remove(&key) {
            Some(stored) if stored.shape == shape => {
                let data = TensorData::new(stored.values, shape);
                let value = Tensor::from_data(data, &parameter.lazy_device());
                Param::initialized(parameter.id, value.require_grad())
            }
            Some(stored) => {
                let (found, expected) = (stored.shape, shape);
                let problem = format!("`{key}` of shape {found:?} instead of {expected:?}");
                self.problems.push(problem);
                parameter
            }
            None => {
                self.problems.push(format!("no values of `{key}`"));
                parameter
            }
        }
    }
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

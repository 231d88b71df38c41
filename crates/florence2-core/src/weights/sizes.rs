//! The shapes of a model's parameters, and the checks that require no values.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use florence2_kernels::{Backend, Dtype};

use super::cast::parameter_dtype;
use super::key_map::module_path_to_key;
use super::progress::LoadProgress;
use crate::error::{Error, Result};
use crate::model::Florence2ForConditionalGeneration;

/// The parameters of a module, without their values.
pub(super) struct ParameterSizes {
    dtype: Dtype,
    path: Vec<String>,
    /// The shape of each parameter by its key.
    pub(super) shapes: BTreeMap<String, Vec<usize>>,
    /// The key of the largest parameter.
    largest: String,
    largest_bytes: u64,
}

impl ParameterSizes {
    pub(super) fn of<B: Backend>(
        model: &Florence2ForConditionalGeneration<B>,
        dtype: Dtype,
    ) -> Self {
        let mut sizes = Self {
            dtype,
            path: Vec::new(),
            shapes: BTreeMap::new(),
            largest: String::new(),
            largest_bytes: 0,
        };
        model.visit(&mut sizes);
        sizes
    }

    /// The progress before the first tensor is loaded.
    pub(super) fn progress(&self) -> LoadProgress {
        let parameters = self.shapes.values().map(|shape| parameter_count(shape));
        LoadProgress {
            total_tensors: self.shapes.len(),
            total_parameters: parameters.sum(),
            ..LoadProgress::default()
        }
    }

    /// Rejects a model with a tensor that the device cannot hold.
    pub(super) fn check(&self, limit: Option<u64>) -> Result<()> {
        match limit {
            Some(limit) if self.largest_bytes > limit => Err(Error::TooLarge {
                key: self.largest.clone(),
                found: self.largest_bytes,
                limit,
            }),
            _ => Ok(()),
        }
    }
}

impl<B: Backend> ModuleVisitor<B> for ParameterSizes {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let shape = param.lazy_shape().to_vec();
        let key = module_path_to_key(&self.path);
        let size = parameter_dtype::<B>(&self.path, self.dtype).size();
        let sizes = shape.iter().copied().chain([size]);
        let bytes = sizes.fold(1_u64, |bytes, size| bytes.saturating_mul(size as u64));
        if bytes > self.largest_bytes {
            self.largest_bytes = bytes;
            self.largest.clone_from(&key);
        }
        self.shapes.insert(key, shape);
    }
}

/// The number of values of a shape.
pub(super) fn parameter_count(shape: &[usize]) -> u64 {
    shape.iter().map(|length| *length as u64).product()
}

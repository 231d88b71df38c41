//! Fills the parameters of a model by walking its modules, whose paths are the keys.

use std::collections::BTreeSet;

use burn::module::{ModuleMapper, Param};
use burn::tensor::{DType, Tensor, TensorData};
use florence2_kernels::{Backend, Dtype};
use half::{bf16, f16};
use rayon::prelude::*;

use super::adapters::Adapters;
use super::cast::parameter_dtype;
use super::key_map::{
    ENCODER_EMBEDDING_KEY, SHARED_KEY, TEMPORAL_EMBEDDING_KEY, TOKEN_EMBEDDING_KEYS,
    module_path_to_key,
};
use super::progress::{LoadMonitor, LoadProgress};
use super::report::{ShapeMismatch, WeightsReport};
use super::sizes::parameter_count;
use super::tensors::NamedTensors;
use super::ties::Ties;
use super::untied_embeddings::UntiedEmbeddings;
use crate::error::{Error, Result};
use crate::multi_modal_projector::sinusoids;
use crate::warning::Warning;

/// Walks a module and sets every parameter to the values of the tensor whose key is its path.
pub(super) struct Loader<'a> {
    tensors: &'a NamedTensors<'a>,
    ties: &'a Ties,
    adapters: &'a Adapters<'a>,
    embeddings: &'a UntiedEmbeddings,
    report: WeightsReport,
    path: Vec<String>,
    failure: Option<Error>,
    /// False if only names and shapes are compared.
    pub(super) reads_values: bool,
    dtype: Dtype,
    pub(super) progress: LoadProgress,
    pub(super) monitor: Option<&'a mut LoadMonitor<'a>>,
    /// Keys of the tensors that belong to the model.
    expected: BTreeSet<String>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        tensors: &'a NamedTensors<'a>,
        ties: &'a Ties,
        adapters: &'a Adapters<'a>,
        embeddings: &'a UntiedEmbeddings,
        dtype: Dtype,
    ) -> Self {
        Self {
            progress: LoadProgress::default(),
            monitor: None,
            tensors,
            ties,
            adapters,
            embeddings,
            report: WeightsReport {
                checkpoint: tensors.checkpoint.to_owned(),
                ..WeightsReport::default()
            },
            path: Vec::new(),
            failure: None,
            reads_values: true,
            dtype,
            // Every copy of the token embedding belongs to the model, whichever of them is read.
            expected: TOKEN_EMBEDDING_KEYS.map(str::to_owned).into(),
        }
    }

    /// The differences between the checkpoint and the model.
    pub(super) fn into_report(mut self) -> WeightsReport {
        self.report.unexpected = self.tensors.unexpected(&self.expected);
        self.report
    }

    /// The warnings of a loaded model.
    ///
    /// # Errors
    /// The first error of reading, or [`Error::Weights`] with all differences.
    pub(super) fn finish(mut self) -> Result<Vec<Warning>> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let report = self.into_report();
        if !report.is_clean() {
            return Err(Error::Weights(Box::new(report)));
        }
        if report.unexpected.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Warning::UnexpectedTensors {
            file: report.checkpoint,
            keys: report.unexpected,
        }])
    }

    /// Reports that one more tensor has been loaded.
    fn report_progress(&mut self, shape: &[usize]) -> Result<()> {
        self.progress.tensors += 1;
        self.progress.parameters += parameter_count(shape);
        let progress = self.progress;
        self.monitor
            .as_mut()
            .map_or(Ok(()), |monitor| monitor(progress))
    }

    /// The values for the parameter at `key`; `None` if there is a fault or if no values are read.
    fn read(&mut self, key: &str, expected: &[usize]) -> Result<Option<Vec<f32>>> {
        self.expected.insert(key.to_owned());
        let adapted = self.embeddings.adapted(key);
        let saved = adapted.and_then(|key| self.adapters.modules_to_save(key));
        let source = match key {
            // The encoder's own parameter is the prompt's embedding, whose base values are the
            // shared one's.
            ENCODER_EMBEDDING_KEY => self.ties.source(SHARED_KEY),
            _ => self.ties.source(key),
        };
        let mut values = match (saved, self.read_base(source, expected)?) {
            (Some(saved), Some(_)) => saved.as_named().read()?,
            (_, Some(values)) => values,
            (_, None) => return Ok(None),
        };
        // A table without columns still has rows.
        let width = expected[1..].iter().product::<usize>().max(1);
        if let Some(key) = adapted.filter(|_| saved.is_none()) {
            if !self.adapters.are_of_rows(key, values.len() / width) {
                values.truncate(expected[0] * width);
            }
            self.adapters
                .apply(key, values.len() / width, &mut values)?;
        }
        // The vocabulary is padded beyond the configured size: the tail is never generated or read.
        values.truncate(expected[0] * width);
        if values.par_iter().any(|value| !value.is_finite()) {
            self.report.not_finite.push(key.to_owned());
            return Ok(None);
        }
        if self.dtype == Dtype::F16 {
            check_range_of_f16(key, &values)?;
        }
        self.report_progress(expected)?;
        Ok(Some(values))
    }

    /// The values of a parameter in the base model.
    fn read_base(&mut self, key: &str, expected: &[usize]) -> Result<Option<Vec<f32>>> {
        let Some(stored) = self.tensors.get(key) else {
            return Ok(self.compute_missing(key, expected));
        };
        let shape = stored.shape();
        if !is_expected_shape(key, &shape, expected) {
            self.report.mismatched.push(ShapeMismatch {
                key: key.to_owned(),
                found: shape,
                expected: expected.to_vec(),
            });
            return Ok(None);
        }
        if !self.reads_values {
            return Ok(None);
        }
        let mut values = match self.adapters.base_layer(key) {
            Some(base_layer) => base_layer.as_named().read()?,
            None => stored.read()?,
        };
        for tokens in self.adapters.tokens_of_copies(key) {
            tokens.replace(&mut values, shape[1])?;
        }
        Ok(Some(values))
    }

    /// The values of a parameter that the checkpoint lacks: computed if possible, else a fault.
    fn compute_missing(&mut self, key: &str, expected: &[usize]) -> Option<Vec<f32>> {
        match expected {
            [positions, columns] if key == TEMPORAL_EMBEDDING_KEY => {
                Some(sinusoids([*positions, *columns]))
            }
            // The bias that an adapter adds to a layer without one in the base model.
            [outputs] if self.adapters.update_bias(key) => Some(vec![0.0; *outputs]),
            _ => {
                self.report.missing.push(key.to_owned());
                None
            }
        }
    }
}

/// Larger values would be infinite in f16, and no result would be finite.
fn check_range_of_f16(key: &str, values: &[f32]) -> Result<()> {
    let largest = f16::MAX.to_f32();
    match values.par_iter().find_any(|value| value.abs() > largest) {
        None => Ok(()),
        Some(value) => {
            let found = format!("f16 for `{key}`, which holds {value}");
            let expected = format!("a type of larger range than {largest}");
            Err(Error::argument("dtype", found, expected))
        }
    }
}

/// Returns whether a tensor has the expected shape. The vocabulary of a token embedding may be
/// padded.
fn is_expected_shape(key: &str, found: &[usize], expected: &[usize]) -> bool {
    found == expected
        || TOKEN_EMBEDDING_KEYS.contains(&key)
            && found.len() == 2
            && found[1] == expected[1]
            && found[0] > expected[0]
}

impl<B: Backend> ModuleMapper<B> for Loader<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if self.failure.is_some() {
            return param;
        }
        let shape = param.lazy_shape().to_vec();
        let device = param.lazy_device();
        let key = module_path_to_key(&self.path);
        match self.read(&key, &shape) {
            Ok(None) => param,
            Ok(Some(values)) => {
                let dtype = parameter_dtype::<B>(&self.path, self.dtype);
                let data = data_of(values, shape, dtype);
                let trained = key != TEMPORAL_EMBEDDING_KEY;
                let tensor = Tensor::from_data(data, (&device, dtype)).set_require_grad(trained);
                Param::initialized(param.id, tensor)
            }
            Err(failure) => {
                self.failure = Some(failure);
                param
            }
        }
    }
}

/// Converts values to the data type that they have on the device, where they are never stored as
/// f32.
fn data_of(values: Vec<f32>, shape: Vec<usize>, dtype: DType) -> TensorData {
    fn converted<T: Send>(values: Vec<f32>, convert: fn(f32) -> T) -> Vec<T> {
        values.into_par_iter().map(convert).collect()
    }
    match dtype {
        DType::F16 => TensorData::new(converted(values, f16::from_f32), shape),
        DType::BF16 => TensorData::new(converted(values, bf16::from_f32), shape),
        _ => TensorData::new(values, shape),
    }
}

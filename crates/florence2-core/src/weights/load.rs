//! Checkpoint tensors into a module, by walking the module: its paths are the keys.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use florence2_kernels::{Backend, Precision};
use half::{bf16, f16};
use rayon::prelude::*;

use super::cast::stays_f32;
use super::keys::{
    FINAL_LOGITS_BIAS_KEY, IMAGE_PROJECTION_KEY, KeyLayout, LM_HEAD_KEY, SHARED_KEY,
    TEMPORAL_EMBEDDING_KEY, TIED_KEYS, is_ignored, to_hugging_face_key,
};
use super::{Adapter, Checkpoint, ShapeMismatch, StoredTensor, WeightsReport};
use crate::config::Florence2Config;
use crate::error::{Error, Result};
use crate::model::Florence2ForConditionalGeneration;
use crate::warning::Warning;

/// Builds the configured model from a checkpoint, with LoRA adapters merged in order, its weights
/// kept in `precision`: by a backend that does not pack them, as tensors of the number type that it
/// has for it. Differences that are no errors are among the warnings.
///
/// # Errors
/// [`Error::TooLarge`] before anything is brought to the device; [`Error::Weights`] listing every
/// missing, unexpected, mis-shaped and non-finite tensor;
/// [`Error::Argument`] naming a tensor that f16 does not hold, where f16 is asked for;
/// [`Error::Io`] and [`Error::Malformed`] naming the file.
pub fn load<B: Backend>(
    config: &Florence2Config,
    checkpoint: &Checkpoint,
    adapters: &[Adapter],
    precision: Precision,
    device: &B::Device,
) -> Result<(Florence2ForConditionalGeneration<B>, Vec<Warning>)> {
    let mut monitor = |_: LoadProgress| -> Result<()> { Ok(()) };
    load_monitored(
        config,
        checkpoint,
        adapters,
        precision,
        device,
        &mut monitor,
    )
}

/// The state of loading a model's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadProgress {
    /// Tensors of the checkpoint that were loaded.
    pub tensors: usize,
    /// Tensors of the checkpoint to load.
    pub total_tensors: usize,
    /// Values in the loaded tensors.
    pub parameters: u64,
    /// Values in all of them.
    pub total_parameters: u64,
}

/// Receives the progress before the first tensor and after each. Its error ends the loading.
pub type LoadMonitor<'a> = dyn FnMut(LoadProgress) -> Result<()> + 'a;

/// [`load`], whose progress `monitor` receives.
///
/// # Errors
/// As [`load`], and those of `monitor`.
pub fn load_monitored<B: Backend>(
    config: &Florence2Config,
    checkpoint: &Checkpoint,
    adapters: &[Adapter],
    precision: Precision,
    device: &B::Device,
    monitor: &mut LoadMonitor<'_>,
) -> Result<(Florence2ForConditionalGeneration<B>, Vec<Warning>)> {
    let (layout, tensors, report) = by_hugging_face_key(config, checkpoint)?;
    let model = Florence2ForConditionalGeneration::new(config.clone(), precision, device)?;
    if let Some(limit) = B::largest_buffer(device) {
        check_sizes(&model, precision, limit)?;
    }
    let mut loader = Loader::new(layout, tensors, adapters, report);
    loader.precision = precision;
    monitor(loader.progress)?;
    loader.monitor = Some(monitor);
    let model = model.map(&mut loader);
    let warnings = loader.finish()?;
    Ok((model, warnings))
}

/// Compares a checkpoint with a configuration, by names and shapes alone: no tensor is read.
///
/// # Errors
/// [`Error::Malformed`] when it is no Florence-2 checkpoint, [`Error::Config`].
pub fn inspect<B: Backend>(
    config: &Florence2Config,
    checkpoint: &Checkpoint,
    device: &B::Device,
) -> Result<WeightsReport> {
    let (layout, tensors, report) = by_hugging_face_key(config, checkpoint)?;
    let mut loader = Loader::new(layout, tensors, &[], report);
    loader.reads = false;
    Florence2ForConditionalGeneration::<B>::new(config.clone(), Precision::F32, device)?
        .map(&mut loader);
    Ok(loader.into_report())
}

/// The tensors under the names of the module paths, tied names folded into one.
fn by_hugging_face_key<'a>(
    config: &Florence2Config,
    checkpoint: &'a Checkpoint,
) -> Result<(KeyLayout, BTreeMap<String, &'a StoredTensor>, WeightsReport)> {
    let mut report = WeightsReport {
        checkpoint: checkpoint.name.clone(),
        ..WeightsReport::default()
    };
    let Some(layout) = KeyLayout::detect(checkpoint.tensors.keys().map(String::as_str)) else {
        let reason = "no `vision_tower` tensor, expected a Florence-2 checkpoint";
        return Err(Error::malformed(&checkpoint.name, reason));
    };
    let mut tensors = BTreeMap::new();
    for (key, tensor) in &checkpoint.tensors {
        match to_hugging_face_key(key, layout) {
            Some(renamed) if renamed == FINAL_LOGITS_BIAS_KEY => check_zeros(key, tensor)?,
            Some(renamed) if is_ignored(&renamed) => {}
            Some(renamed) => {
                tensors.insert(renamed, tensor);
            }
            None => report.unexpected.push(key.clone()),
        }
    }
    fold_tied(config, &mut tensors, &checkpoint.name)?;
    Ok((layout, tensors, report))
}

/// Leaves one of the tied names. Several may be present: they must then hold the same values.
fn fold_tied(
    config: &Florence2Config,
    tensors: &mut BTreeMap<String, &StoredTensor>,
    checkpoint: &str,
) -> Result<()> {
    let mut kept: Option<(&str, &StoredTensor)> = None;
    for key in TIED_KEYS {
        if key == LM_HEAD_KEY && !config.tie_word_embeddings {
            continue;
        }
        let Some(tensor) = tensors.remove(key) else {
            continue;
        };
        if let Some((first, first_tensor)) = kept {
            if first_tensor.shape != tensor.shape || first_tensor.to_f32()? != tensor.to_f32()? {
                let reason = format!("`{first}` and `{key}` differ, expected tied weights");
                return Err(Error::malformed(checkpoint, reason));
            }
        } else {
            kept = Some((key, tensor));
        }
    }
    if let Some((_, tensor)) = kept {
        tensors.insert(SHARED_KEY.to_owned(), tensor);
    }
    Ok(())
}

/// The model has no output bias: one that is not zero would be silently lost.
fn check_zeros(key: &str, tensor: &StoredTensor) -> Result<()> {
    if tensor.to_f32()?.iter().any(|value| *value != 0.0) {
        return Err(Error::malformed(key, "non-zero values, expected zeros"));
    }
    Ok(())
}

/// The number type of the parameter at a path of the module.
fn dtype_of<B: Backend>(path: &[String], precision: Precision) -> DType {
    match stays_f32(path) {
        true => DType::F32,
        false => B::parameter_dtype(precision),
    }
}

/// Refuses a model of which the device cannot hold a tensor.
fn check_sizes<B: Backend>(
    model: &Florence2ForConditionalGeneration<B>,
    precision: Precision,
    limit: u64,
) -> Result<()> {
    let mut largest = Largest {
        precision,
        path: Vec::new(),
        key: String::new(),
        bytes: 0,
    };
    model.visit(&mut largest);
    let Largest { key, bytes, .. } = largest;
    match bytes > limit {
        true => Err(Error::TooLarge {
            key,
            found: bytes,
            limit,
        }),
        false => Ok(()),
    }
}

/// Walks a module for its largest parameter, without a value of any.
struct Largest {
    precision: Precision,
    path: Vec<String>,
    key: String,
    bytes: u64,
}

impl<B: Backend> ModuleVisitor<B> for Largest {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let size = dtype_of::<B>(&self.path, self.precision).size();
        let sizes = param.lazy_shape().to_vec().into_iter().chain([size]);
        let bytes = sizes.fold(1_u64, |bytes, size| bytes.saturating_mul(size as u64));
        if bytes > self.bytes {
            self.bytes = bytes;
            self.key = hugging_face_path(&self.path);
        }
    }
}

/// Walks a module and gives every parameter the tensor that bears its path as key.
struct Loader<'a> {
    layout: KeyLayout,
    tensors: BTreeMap<String, &'a StoredTensor>,
    adapters: &'a [Adapter],
    report: WeightsReport,
    path: Vec<String>,
    failure: Option<Error>,
    reads: bool,
    precision: Precision,
    adapted: Vec<usize>,
    progress: LoadProgress,
    monitor: Option<&'a mut LoadMonitor<'a>>,
}

impl<'a> Loader<'a> {
    fn new(
        layout: KeyLayout,
        tensors: BTreeMap<String, &'a StoredTensor>,
        adapters: &'a [Adapter],
        report: WeightsReport,
    ) -> Self {
        let progress = LoadProgress {
            total_tensors: tensors.len(),
            total_parameters: tensors.values().map(|tensor| parameters_of(tensor)).sum(),
            ..LoadProgress::default()
        };
        Self {
            progress,
            monitor: None,
            layout,
            tensors,
            adapters,
            report,
            path: Vec::new(),
            failure: None,
            reads: true,
            precision: Precision::F32,
            adapted: vec![0; adapters.len()],
        }
    }

    fn into_report(mut self) -> WeightsReport {
        self.report.unexpected.extend(self.tensors.into_keys());
        self.report
    }

    fn finish(mut self) -> Result<Vec<Warning>> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.report_end()?;
        let (adapters, adapted) = (self.adapters, std::mem::take(&mut self.adapted));
        let report = self.into_report();
        if !report.is_clean() {
            return Err(Error::Weights(Box::new(report)));
        }
        for (adapter, adapted) in adapters.iter().zip(adapted) {
            adapter.check_all_used(adapted)?;
        }
        Ok(Vec::new())
    }

    /// Reports the end, unless the last tensor did.
    fn report_end(&mut self) -> Result<()> {
        let LoadProgress {
            total_tensors,
            total_parameters,
            ..
        } = self.progress;
        if self.progress.tensors == total_tensors {
            return Ok(());
        }
        self.progress.tensors = total_tensors;
        self.progress.parameters = total_parameters;
        let progress = self.progress;
        self.monitor
            .as_mut()
            .map_or(Ok(()), |monitor| monitor(progress))
    }

    /// Reports that one more tensor is loaded.
    fn advance(&mut self, tensor: &StoredTensor) -> Result<()> {
        self.progress.tensors += 1;
        self.progress.parameters += parameters_of(tensor);
        let progress = self.progress;
        self.monitor
            .as_mut()
            .map_or(Ok(()), |monitor| monitor(progress))
    }

    /// The values for the parameter at `key`.
    fn read(&mut self, key: &str, expected: &[usize]) -> Result<Option<Vec<f32>>> {
        let Some(tensor) = self.tensors.remove(key) else {
            self.report.missing.push(key.to_owned());
            return Ok(None);
        };
        // Microsoft multiplies by this matrix as it stands, `[in, out]`; it is no linear layer.
        let transposed = self.layout == KeyLayout::Microsoft && key == IMAGE_PROJECTION_KEY;
        let stored_shape = match transposed {
            true => vec![expected[1], expected[0]],
            false => expected.to_vec(),
        };
        if !fits(key, &tensor.shape, &stored_shape) {
            self.report.mismatched.push(ShapeMismatch {
                key: key.to_owned(),
                found: tensor.shape.clone(),
                expected: stored_shape,
            });
            return Ok(None);
        }
        if !self.reads {
            return Ok(None);
        }
        let mut values = tensor.to_f32()?;
        if transposed {
            values = transpose(&values, expected[1], expected[0]);
        }
        // A vocabulary padded beyond the configured size: the tail is never generated or read.
        values.truncate(expected.iter().product());
        for (adapter, adapted) in self.adapters.iter().zip(&mut self.adapted) {
            *adapted += usize::from(adapter.apply(key, expected, &mut values)?);
        }
        if values.par_iter().any(|value| !value.is_finite()) {
            self.report.not_finite.push(key.to_owned());
            return Ok(None);
        }
        if self.precision == Precision::F16 {
            check_range_of_f16(key, &values)?;
        }
        self.advance(tensor)?;
        Ok(Some(values))
    }
}

fn parameters_of(tensor: &StoredTensor) -> u64 {
    tensor.shape.iter().map(|length| *length as u64).product()
}

/// Beyond its range f16 has but infinity, which would make every answer one that is not finite.
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

fn fits(key: &str, found: &[usize], expected: &[usize]) -> bool {
    let padded_vocabulary = key == SHARED_KEY || key == LM_HEAD_KEY;
    found == expected
        || padded_vocabulary
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
        let key = hugging_face_path(&self.path);
        match self.read(&key, &shape) {
            Ok(None) => param,
            Ok(Some(values)) => {
                let dtype = dtype_of::<B>(&self.path, self.precision);
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

/// Values in the type that they have on the device: converted here, they never lie there in f32.
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

/// A module path as a key: burn calls a layer norm's parameters gamma and beta.
fn hugging_face_path(path: &[String]) -> String {
    let mut key = path.join(".");
    for (burn, hugging_face) in [(".gamma", ".weight"), (".beta", ".bias")] {
        if let Some(module) = key.strip_suffix(burn) {
            key = format!("{module}{hugging_face}");
        }
    }
    key
}

/// `[rows, columns]` to `[columns, rows]`, in tiles that stay in the cache.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut transposed = vec![0.0; values.len()];
    let stripes = transposed.par_chunks_mut(TILE * rows).enumerate();
    stripes.for_each(|(tile, stripe)| {
        for row_tile in (0..rows).step_by(TILE) {
            for (column, line) in stripe.chunks_exact_mut(rows).enumerate() {
                let column = tile * TILE + column;
                for row in row_tile..rows.min(row_tile + TILE) {
                    line[row] = values[row * columns + column];
                }
            }
        }
    });
    transposed
}

//! Loads the tensors of a checkpoint by walking the module, whose paths are the keys.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use florence2_checkpoint::{Checkpoint, StoredTensor};
use florence2_kernels::{Backend, Linear, Precision, TokenEmbedding};
use half::{bf16, f16};
use rayon::prelude::*;

use super::adapters::Adapters;
use super::cast::keep_in_fp32;
use super::key_map::{
    DECODER_EMBEDDING_KEY, ENCODER_EMBEDDING_KEY, IMAGE_PROJECTION_KEY, LM_HEAD_KEY, SHARED_KEY,
    TEMPORAL_EMBEDDING_KEY, TOKEN_EMBEDDING_KEYS,
};
use super::lora::Adapter;
use super::report::{ShapeMismatch, WeightsReport};
use super::tensors::{NamedTensors, Ties};
use crate::config::Florence2Config;
use crate::error::{Error, Result};
use crate::model::Florence2ForConditionalGeneration;
use crate::multi_modal_projector::sinusoids;
use crate::warning::Warning;

/// Builds the configured model from a checkpoint, with LoRA adapters merged in order. Weights are
/// stored in `precision`: packed, or as tensors of the backend's data type for it.
///
/// Tied weights that differ stay untied, an adapter of a tied weight unties it, and a missing table
/// of sinusoids is computed. Tensors for which the model has no parameter, and tied weights that
/// differ, are warnings.
///
/// # Errors
/// [`Error::TooLarge`] before anything is transferred to the device; [`Error::Weights`] with every
/// missing, mis-shaped and non-finite tensor; [`Error::Malformed`] with every part of an adapter
/// that does not fit the model; [`Error::Argument`] with a tensor that exceeds the range of f16, if
/// f16 is requested; [`Error::Io`] and [`Error::Malformed`] with the file.
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

/// The progress of loading a model's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadProgress {
    /// The number of the model's tensors that are loaded.
    pub tensors: usize,
    /// The number of the model's tensors.
    pub total_tensors: usize,
    /// The number of values in the loaded tensors.
    pub parameters: u64,
    /// The number of values in all tensors.
    pub total_parameters: u64,
}

/// A callback for the progress, called before the first tensor and after each. Its error ends the
/// loading.
pub type LoadMonitor<'a> = dyn FnMut(LoadProgress) -> Result<()> + 'a;

/// [`load`] with a callback for the progress.
///
/// # Errors
/// Those of [`load`] and of `monitor`.
pub fn load_monitored<B: Backend>(
    config: &Florence2Config,
    checkpoint: &Checkpoint,
    adapters: &[Adapter],
    precision: Precision,
    device: &B::Device,
    monitor: &mut LoadMonitor<'_>,
) -> Result<(Florence2ForConditionalGeneration<B>, Vec<Warning>)> {
    let tensors = NamedTensors::new(checkpoint)?;
    let ties = Ties::new(config, &tensors, true)?;
    let adapters = Adapters::new(adapters, &ties, config.tie_word_embeddings);
    let embeddings = Embeddings::new(&ties, &adapters);
    let model = embeddings.model::<B>(config, &adapters, precision, device)?;
    let sizes = Sizes::of(&model, precision);
    sizes.check(B::largest_buffer(device))?;
    adapters.check(&sizes.shapes, &tensors)?;
    let mut loader = Loader::new(&tensors, &ties, &adapters, &embeddings, precision);
    loader.progress = sizes.progress();
    monitor(loader.progress)?;
    loader.monitor = Some(monitor);
    let model = model.map(&mut loader);
    let mut warnings = loader.finish()?;
    warnings.extend(ties.warning(&tensors));
    Ok((model, warnings))
}

/// Compares a checkpoint with a configuration by names and shapes only: no tensor is read.
///
/// # Errors
/// [`Error::Malformed`] if it is not a Florence-2 checkpoint, [`Error::Config`].
pub fn inspect<B: Backend>(
    config: &Florence2Config,
    checkpoint: &Checkpoint,
    device: &B::Device,
) -> Result<WeightsReport> {
    let tensors = NamedTensors::new(checkpoint)?;
    let ties = Ties::new(config, &tensors, false)?;
    let adapters = Adapters::new(&[], &ties, config.tie_word_embeddings);
    let embeddings = Embeddings::new(&ties, &adapters);
    let model = embeddings.model::<B>(config, &adapters, Precision::F32, device)?;
    let mut loader = Loader::new(&tensors, &ties, &adapters, &embeddings, Precision::F32);
    loader.reads = false;
    model.map(&mut loader);
    Ok(loader.into_report())
}

/// The copies of the token embedding that are separate parameters.
struct Embeddings {
    /// The prompt's embedding. It is separate from the shared one only if another copy is tied to
    /// that one and an adapter changes the prompt's.
    prompt: bool,
    /// The decoder's embedding.
    decoder: bool,
    /// The output matrix.
    output: bool,
}

impl Embeddings {
    fn new(ties: &Ties, adapters: &Adapters<'_>) -> Self {
        let is_own = |key| !ties.is_tied(key) || adapters.modify(key);
        let (decoder, output) = (is_own(DECODER_EMBEDDING_KEY), is_own(LM_HEAD_KEY));
        Self {
            prompt: adapters.modify(SHARED_KEY) && !(decoder && output),
            decoder,
            output,
        }
    }

    /// Creates the module with these parameters, and with the biases that adapters add.
    fn model<B: Backend>(
        &self,
        config: &Florence2Config,
        adapters: &Adapters<'_>,
        precision: Precision,
        device: &B::Device,
    ) -> Result<Florence2ForConditionalGeneration<B>> {
        let mut config = config.clone();
        config.tie_word_embeddings = !self.output;
        config.text_config.tie_word_embeddings = !self.decoder;
        let text = &config.text_config;
        let [vocab_size, d_model] = [text.vocab_size, text.d_model];
        let mut model = Florence2ForConditionalGeneration::new(config, precision, device)?;
        if self.prompt {
            let embedding = TokenEmbedding::new(vocab_size, d_model, precision, device);
            model.model.language_model.encoder.embed_tokens = Some(embedding);
        }
        let projection = &mut model.model.multi_modal_projector.image_projection;
        let without_bias = [
            (LM_HEAD_KEY, model.lm_head.as_mut()),
            (IMAGE_PROJECTION_KEY, Some(projection)),
        ];
        for (key, linear) in without_bias {
            if let Some(linear) = linear.filter(|_| adapters.update_bias(&bias_of(key))) {
                let [outputs, inputs] = linear.weight.dims();
                *linear = Linear::new(inputs, outputs, true, precision, device);
            }
        }
        Ok(model)
    }

    /// The key whose adapters change a parameter; `None` if it has the base model's values.
    fn adapted<'k>(&self, key: &'k str) -> Option<&'k str> {
        match key {
            SHARED_KEY => (!self.prompt).then_some(key),
            ENCODER_EMBEDDING_KEY => Some(SHARED_KEY),
            _ => Some(key),
        }
    }
}

/// The key of the bias that belongs to a weight.
fn bias_of(weight: &str) -> String {
    weight.replace(".weight", ".bias")
}

/// The data type of the parameter at a path of the module.
fn dtype_of<B: Backend>(path: &[String], precision: Precision) -> DType {
    if keep_in_fp32(path) {
        DType::F32
    } else {
        B::parameter_dtype(precision)
    }
}

/// The parameters of a module, without their values.
struct Sizes {
    precision: Precision,
    path: Vec<String>,
    shapes: BTreeMap<String, Vec<usize>>,
    largest: String,
    largest_bytes: u64,
}

impl Sizes {
    fn of<B: Backend>(model: &Florence2ForConditionalGeneration<B>, precision: Precision) -> Self {
        let mut sizes = Self {
            precision,
            path: Vec::new(),
            shapes: BTreeMap::new(),
            largest: String::new(),
            largest_bytes: 0,
        };
        model.visit(&mut sizes);
        sizes
    }

    /// The progress before the first tensor is loaded.
    fn progress(&self) -> LoadProgress {
        let parameters = self.shapes.values().map(|shape| parameters_of(shape));
        LoadProgress {
            total_tensors: self.shapes.len(),
            total_parameters: parameters.sum(),
            ..LoadProgress::default()
        }
    }

    /// Rejects a model with a tensor that the device cannot hold.
    fn check(&self, limit: Option<u64>) -> Result<()> {
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

impl<B: Backend> ModuleVisitor<B> for Sizes {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let shape = param.lazy_shape().to_vec();
        let key = hugging_face_path(&self.path);
        let size = dtype_of::<B>(&self.path, self.precision).size();
        let sizes = shape.iter().copied().chain([size]);
        let bytes = sizes.fold(1_u64, |bytes, size| bytes.saturating_mul(size as u64));
        if bytes > self.largest_bytes {
            self.largest_bytes = bytes;
            self.largest.clone_from(&key);
        }
        self.shapes.insert(key, shape);
    }
}

/// Walks a module and sets every parameter to the values of the tensor whose key is its path.
struct Loader<'a> {
    tensors: &'a NamedTensors<'a>,
    ties: &'a Ties,
    adapters: &'a Adapters<'a>,
    embeddings: &'a Embeddings,
    report: WeightsReport,
    path: Vec<String>,
    failure: Option<Error>,
    reads: bool,
    precision: Precision,
    progress: LoadProgress,
    monitor: Option<&'a mut LoadMonitor<'a>>,
    /// Keys of the tensors that belong to the model.
    expected: BTreeSet<String>,
}

impl<'a> Loader<'a> {
    fn new(
        tensors: &'a NamedTensors<'a>,
        ties: &'a Ties,
        adapters: &'a Adapters<'a>,
        embeddings: &'a Embeddings,
        precision: Precision,
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
            reads: true,
            precision,
            // Every copy of the token embedding belongs to the model, whichever of them is read.
            expected: TOKEN_EMBEDDING_KEYS.map(str::to_owned).into(),
        }
    }

    fn into_report(mut self) -> WeightsReport {
        self.report.unexpected = self.tensors.unexpected(&self.expected);
        self.report
    }

    fn finish(mut self) -> Result<Vec<Warning>> {
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
    fn advance(&mut self, shape: &[usize]) -> Result<()> {
        self.progress.tensors += 1;
        self.progress.parameters += parameters_of(shape);
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
            (Some(saved), Some(_)) => read_tensor(&saved.tensor, saved.is_transposed())?,
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
        if self.precision == Precision::F16 {
            check_range_of_f16(key, &values)?;
        }
        self.advance(expected)?;
        Ok(Some(values))
    }

    /// The values of a parameter in the base model.
    fn read_base(&mut self, key: &str, expected: &[usize]) -> Result<Option<Vec<f32>>> {
        let Some(stored) = self.tensors.get(key) else {
            return Ok(self.absent(key, expected));
        };
        let mut shape = stored.tensor.shape.clone();
        if stored.is_transposed() {
            shape.reverse();
        }
        if !fits(key, &shape, expected) {
            self.report.mismatched.push(ShapeMismatch {
                key: key.to_owned(),
                found: shape,
                expected: expected.to_vec(),
            });
            return Ok(None);
        }
        if !self.reads {
            return Ok(None);
        }
        let mut values = match self.adapters.base_layer(key) {
            Some(base) => read_tensor(&base.tensor, base.is_transposed())?,
            None => read_tensor(stored.tensor, stored.is_transposed())?,
        };
        for tokens in self.adapters.tokens_of_copies(key) {
            tokens.replace(&mut values, shape[1])?;
        }
        Ok(Some(values))
    }

    /// The values of a parameter that the checkpoint lacks: computed if possible, else a fault.
    fn absent(&mut self, key: &str, expected: &[usize]) -> Option<Vec<f32>> {
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

fn read_tensor(tensor: &StoredTensor, is_transposed: bool) -> Result<Vec<f32>> {
    let values = tensor.to_f32()?;
    Ok(match tensor.shape[..] {
        [rows, columns] if is_transposed => transpose(&values, rows, columns),
        _ => values,
    })
}

fn parameters_of(shape: &[usize]) -> u64 {
    shape.iter().map(|length| *length as u64).product()
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
fn fits(key: &str, found: &[usize], expected: &[usize]) -> bool {
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

/// Converts a module path to a key: burn names the parameters of a layer norm gamma and beta.
fn hugging_face_path(path: &[String]) -> String {
    let mut key = path.join(".");
    for (burn, hugging_face) in [(".gamma", ".weight"), (".beta", ".bias")] {
        if let Some(module) = key.strip_suffix(burn) {
            key = format!("{module}{hugging_face}");
        }
    }
    key
}

/// Transposes `[rows, columns]` to `[columns, rows]`, in tiles that stay in the cache.
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

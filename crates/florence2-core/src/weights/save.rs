//! Writes a model as a checkpoint in Hugging Face's layout.

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use florence2_checkpoint::{FloatType, SafetensorsWriter, TensorSpec, write_atomic};
use florence2_kernels::{Backend, Dtype};
use half::f16;

use super::hf_config::hugging_face_config;
use super::key_map::{
    DECODER_EMBEDDING_KEY, ENCODER_EMBEDDING_KEY, LM_HEAD_KEY, SHARED_KEY, TOKEN_EMBEDDING_KEYS,
    module_path_to_key,
};
use super::save_files::{create_folder, pretty_json};
use crate::config::Florence2Config;
use crate::error::{Error, Result};
use crate::model::Florence2ForConditionalGeneration;

const WEIGHTS_FILE: &str = "model.safetensors";
const CONFIG_FILE: &str = "config.json";

/// The number types of a checkpoint that is written.
const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::Bf16];

/// The biases that a LoRA adapter can add and for which transformers has no parameter.
const ADDED_BIASES: [&str; 2] = [
    "lm_head.bias",
    "model.multi_modal_projector.image_projection.bias",
];

/// The end of the keys of an update that is not merged.
const UPDATES: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];

/// The settings for writing a model.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
#[must_use]
pub struct SaveOptions<'a> {
    /// The number type of all tensors: f32 (default), f16 or bf16.
    pub dtype: Dtype,
    /// The content of the source model's `config.json`, in either layout: the settings of training
    /// that [`Florence2Config`] does not contain are copied from it (default none).
    pub source_config: Option<&'a [u8]>,
    /// The id of the `<image>` token for a model whose configuration has none, as in Microsoft's
    /// layout (default none). If it is the first id beyond the vocabulary, the vocabulary is extended.
    pub image_token_id: Option<u32>,
}

impl<'a> SaveOptions<'a> {
    /// Sets [`Self::dtype`].
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = dtype;
        self
    }

    /// Sets [`Self::source_config`].
    pub fn source_config(mut self, json: &'a [u8]) -> Self {
        self.source_config = Some(json);
        self
    }

    /// Sets [`Self::image_token_id`].
    pub fn image_token_id(mut self, id: u32) -> Self {
        self.image_token_id = Some(id);
        self
    }
}

/// Writes `model.safetensors` and `config.json` as transformers' `save_pretrained` does: the same
/// names and shapes, tied weights once. The folder is created if it does not exist. Each file replaces
/// an earlier one only if it is written completely. One tensor at a time is converted.
///
/// A token embedding that an adapter changed for prompts only becomes `shared`, from which
/// transformers embeds prompts, and the other copies become untied. transformers looks up the
/// `<image>` token. If the vocabulary has no row for it, the mean of the other rows is added, so that
/// its score is the mean of the others' and a search never selects it.
///
/// A model in training with LoRA updates is an error. `AutodiffModule::valid` merges the updates.
///
/// # Errors
/// [`Error::Argument`] if the dtype is int8, if `image_token_id` exceeds the vocabulary by more than
/// one token; [`Error::Malformed`] with all parameters that transformers does not have, that are not
/// finite, or that exceed the range of f16, or if the source configuration is no JSON object;
/// [`Error::Write`] with the file.
pub fn save<B: Backend>(
    model: &Florence2ForConditionalGeneration<B>,
    directory: &Path,
    options: &SaveOptions<'_>,
) -> Result<()> {
    let float_type = float_type(options.dtype)?;
    let mut shapes = Shapes::default();
    model.visit(&mut shapes);
    let path = directory.join(WEIGHTS_FILE);
    shapes.check_names(&path)?;
    let layout = Layout::new(model.config(), &shapes.keys(), options.image_token_id)?;
    let config = hugging_face_config(&layout.config, options.dtype, options.source_config)?;
    create_folder(directory)?;
    let specs = shapes.tensors.iter().flat_map(|(key, shape)| {
        let shape = layout.shape(key, shape);
        let names = layout.names(key).into_iter();
        names.map(move |name| TensorSpec::new(name, shape.clone(), float_type))
    });
    let mut writer = ModelWriter {
        file: SafetensorsWriter::create(&path, specs)?,
        layout: &layout,
        dtype: options.dtype,
        modules: Vec::new(),
        problems: Vec::new(),
        failure: None,
    };
    model.visit(&mut writer);
    writer.finish(&path)?;
    Ok(write_atomic(
        &directory.join(CONFIG_FILE),
        &pretty_json(&config),
    )?)
}

fn float_type(dtype: Dtype) -> Result<FloatType> {
    match dtype {
        Dtype::F32 => Ok(FloatType::F32),
        Dtype::F16 => Ok(FloatType::F16),
        Dtype::Bf16 => Ok(FloatType::Bf16),
        _ => Err(Error::argument("dtype", dtype, Dtype::choice(&DTYPES))),
    }
}

/// The keys and the shapes of a model's parameters.
#[derive(Default)]
struct Shapes {
    modules: Vec<String>,
    tensors: Vec<(String, Vec<usize>)>,
}

impl Shapes {
    fn keys(&self) -> Vec<&str> {
        self.tensors.iter().map(|(key, _)| key.as_str()).collect()
    }

    /// Rejects parameters that transformers does not have.
    fn check_names(&self, path: &Path) -> Result<()> {
        let is_added = |key: &&str| {
            ADDED_BIASES.contains(key) || UPDATES.iter().any(|update| key.ends_with(update))
        };
        let added: Vec<&str> = self.keys().into_iter().filter(is_added).collect();
        if added.is_empty() {
            return Ok(());
        }
        let reason = format!(
            "found {}, expected the parameters of transformers alone: merged updates, and no bias of \
             an adapter with lora_bias",
            added.join(", ")
        );
        Err(Error::malformed(path.display().to_string(), reason))
    }
}

impl<B: Backend> ModuleVisitor<B> for Shapes {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.modules.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.modules.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let key = module_path_to_key(&self.modules);
        self.tensors.push((key, param.lazy_shape().to_vec()));
    }
}

/// The tensors of the file, by the parameters of the model.
struct Layout {
    /// The configuration of the written model.
    config: Florence2Config,
    /// The number of rows that every copy of the token embedding receives, 0 or 1.
    added_rows: usize,
    /// True if the encoder has the embedding of prompts.
    has_prompt_embedding: bool,
    /// The copies of the token embedding that are parameters of their own.
    own: Vec<&'static str>,
}

impl Layout {
    fn new(config: &Florence2Config, keys: &[&str], image_token_id: Option<u32>) -> Result<Self> {
        let mut config = config.clone();
        let copies = TOKEN_EMBEDDING_KEYS.into_iter();
        let own: Vec<&'static str> = copies.filter(|key| keys.contains(key)).collect();
        let has_prompt_embedding = own.contains(&ENCODER_EMBEDDING_KEY);
        if has_prompt_embedding {
            config.tie_word_embeddings = false;
            config.text_config.tie_word_embeddings = false;
        }
        let mut added_rows = 0;
        if let (None, Some(id)) = (config.image_token_id, image_token_id) {
            let vocab_size = config.text_config.vocab_size;
            if id as usize > vocab_size {
                // The tokenizer of another model.
                let expected = format!("at most vocab_size {vocab_size}");
                return Err(Error::argument("image_token_id", id, expected));
            }
            config.image_token_id = Some(id);
            added_rows = usize::from(id as usize == vocab_size);
            config.text_config.vocab_size += added_rows;
        }
        Ok(Self {
            config,
            added_rows,
            has_prompt_embedding,
            own,
        })
    }

    /// The names under which a parameter is written.
    fn names(&self, key: &str) -> Vec<String> {
        let is_tied = |copy: &&str| !self.own.contains(copy);
        let names = match key {
            ENCODER_EMBEDDING_KEY => vec![SHARED_KEY, ENCODER_EMBEDDING_KEY],
            // The values of the base model, which the other copies have unless they are their own.
            SHARED_KEY if self.has_prompt_embedding => [DECODER_EMBEDDING_KEY, LM_HEAD_KEY]
                .into_iter()
                .filter(is_tied)
                .collect(),
            // transformers has the encoder's copy too if it ties none, and does not use it.
            SHARED_KEY if !self.config.text_config.tie_word_embeddings => {
                vec![SHARED_KEY, ENCODER_EMBEDDING_KEY]
            }
            _ => vec![key],
        };
        names.into_iter().map(str::to_owned).collect()
    }

    fn shape(&self, key: &str, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        if TOKEN_EMBEDDING_KEYS.contains(&key) {
            shape[0] += self.added_rows;
        }
        shape
    }

    /// Appends the added row to a copy of the token embedding.
    fn add_row(&self, key: &str, width: usize, values: &mut Vec<f32>) {
        if self.added_rows == 0 || !TOKEN_EMBEDDING_KEYS.contains(&key) {
            return;
        }
        let mean = mean_row(values, width);
        values.extend(mean);
    }
}

/// The mean of the rows of a matrix with at least one row.
fn mean_row(values: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; width];
    for row in values.chunks_exact(width) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    let rows = (values.len() / width) as f64;
    sums.into_iter().map(|sum| (sum / rows) as f32).collect()
}

/// Writes each parameter of a model.
struct ModelWriter<'a> {
    file: SafetensorsWriter,
    layout: &'a Layout,
    dtype: Dtype,
    modules: Vec<String>,
    /// The parameters whose values cannot be written, each with the reason.
    problems: Vec<String>,
    /// The first other error.
    failure: Option<Error>,
}

impl ModelWriter<'_> {
    fn write(&mut self, key: &str, width: usize, mut values: Vec<f32>) -> Result<()> {
        self.problems.extend(problem(key, &values, self.dtype));
        if !self.problems.is_empty() {
            return Ok(());
        }
        self.layout.add_row(key, width, &mut values);
        for name in self.layout.names(key) {
            self.file.write(&name, &values)?;
        }
        Ok(())
    }

    fn finish(self, path: &Path) -> Result<()> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if !self.problems.is_empty() {
            let file = path.display().to_string();
            return Err(Error::malformed(file, self.problems.join("; ")));
        }
        Ok(self.file.finish()?)
    }
}

/// The first value that cannot be written, if any. Beyond the range of f16, a value would be infinite.
fn problem(key: &str, values: &[f32], dtype: Dtype) -> Option<String> {
    let (limit, expected) = match dtype {
        Dtype::F16 => (f16::MAX.to_f32(), "at most 65504, the largest value of f16"),
        _ => (f32::MAX, "a finite number"),
    };
    // NaN is not within the limit.
    let is_within = |value: &&f32| value.abs() <= limit;
    let value = values.iter().find(|value| !is_within(value))?;
    Some(format!("`{key}`: found {value}, expected {expected}"))
}

impl<B: Backend> ModuleVisitor<B> for ModelWriter<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.modules.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.modules.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.failure.is_some() {
            return;
        }
        let key = module_path_to_key(&self.modules);
        let tensor = param.val();
        let width = tensor.dims()[1..].iter().product();
        let values = tensor
            .try_into_data()
            .map_err(|error| format!("{error:?}"))
            .and_then(|data| {
                let values = data.convert::<f32>().into_vec();
                values.map_err(|error| format!("{error:?}"))
            });
        let written = match values {
            Ok(values) => self.write(&key, width, values),
            Err(reason) => Err(Error::malformed(
                format!("`{key}`"),
                format!("cannot be read from the device: {reason}"),
            )),
        };
        self.failure = written.err();
    }
}

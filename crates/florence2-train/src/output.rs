//! The files of a trained model: a PEFT adapter, or a checkpoint in Hugging Face's layout.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use florence2_core::Florence2ForConditionalGeneration;
use florence2_core::generate::GenerationConfig;
use florence2_core::weights::{
    Checkpoint, LoraConfig, LoraFactors, LoraTensors, SaveOptions, TensorValues, save, write_atomic,
};
use florence2_kernels::Backend;
use florence2_processor::HuggingFaceFiles;

use crate::error::{Error, Result};
use crate::trained_parameters::values;

/// The prefix of PEFT's names.
const PEFT_PREFIX: &str = "base_model.model.";

/// The kind of result that a training writes.
#[derive(Debug, Clone)]
pub enum Output {
    /// `adapter_config.json` and `adapter_model.safetensors`.
    Adapter(LoraConfig),
    /// `model.safetensors` in f32, `config.json` and the files of the processor.
    Model(ModelFiles),
}

/// The files beside the weights of a full checkpoint.
#[derive(Debug, Clone, Default)]
pub struct ModelFiles {
    /// The contents of the base model's `config.json`.
    pub source_config: Vec<u8>,
    /// The id of the `<image>` token, for a base model in Microsoft's layout.
    pub image_token_id: Option<u32>,
    /// Other files by name: those of the processor, and `generation_config.json`.
    pub files: Vec<(String, Vec<u8>)>,
}

impl ModelFiles {
    /// Reads the files of a model's folder, and those of its processor from `processor`, which may be
    /// the same folder. They are written as transformers 5.17 reads them: a model in Microsoft's layout
    /// receives the token `<image>`.
    ///
    /// # Errors
    /// [`Error::Model`] and [`Error::Processor`] with a file that is missing or malformed.
    pub fn from_dir(directory: &Path, processor: &Path) -> Result<Self> {
        let source_config = read(&directory.join("config.json"))?;
        let path = directory.join("generation_config.json");
        let generation_config = path.exists().then(|| read(&path)).transpose()?;
        let generation_config =
            GenerationConfig::file(generation_config.as_deref(), &source_config)?;
        let HuggingFaceFiles {
            files,
            image_token_id,
            ..
        } = HuggingFaceFiles::from_dir(processor)?;
        let files = files.into_iter();
        let files = files.map(|(name, content)| (name.to_owned(), content));
        let generation_config = ("generation_config.json".to_owned(), generation_config);
        Ok(Self {
            source_config,
            image_token_id: Some(image_token_id),
            files: files.chain([generation_config]).collect(),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| {
        Error::Model(florence2_core::Error::Io {
            path: path.to_owned(),
            source,
        })
    })
}

impl Output {
    /// Writes the trained model to a folder.
    ///
    /// # Errors
    /// [`Error::Model`] with the file.
    pub fn write<B: Backend>(
        &self,
        model: &Florence2ForConditionalGeneration<B>,
        folder: &Path,
    ) -> Result<()> {
        match self {
            Self::Adapter(config) => Ok(lora_tensors(values(model)).save(config, folder)?),
            Self::Model(files) => {
                let mut options = SaveOptions::default().source_config(&files.source_config);
                options.image_token_id = files.image_token_id;
                save(model, folder, &options)?;
                for (name, content) in &files.files {
                    write_atomic(&folder.join(name), content)
                        .map_err(florence2_core::Error::from)?;
                }
                Ok(())
            }
        }
    }

    /// Reads the values of the trained parameters, keys and numbers of values, from the files that
    /// [`Self::write`] wrote to a folder.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the file.
    pub(crate) fn read(
        &self,
        folder: &Path,
        trained: &[(String, usize)],
    ) -> Result<BTreeMap<String, TensorValues>> {
        let (name, prefix) = match self {
            Self::Adapter(_) => ("adapter_model.safetensors", PEFT_PREFIX),
            Self::Model(_) => ("model.safetensors", ""),
        };
        let path = folder.join(name);
        let malformed = |error: florence2_checkpoint::Error| Error::Malformed {
            path: path.clone(),
            reason: error.to_string(),
        };
        let checkpoint = Checkpoint::open_file(&path).map_err(malformed)?;
        let mut read = BTreeMap::new();
        for (key, size) in trained {
            // A missing key is reported with those of other shapes.
            let Some(tensor) = checkpoint.tensors.get(&format!("{prefix}{key}")) else {
                continue;
            };
            let stored = TensorValues {
                shape: tensor.shape.clone(),
                values: tensor.to_f32().map_err(malformed)?,
            };
            read.insert(key.clone(), without_image_row(stored, *size));
        }
        Ok(read)
    }
}

/// The values of a parameter from a stored tensor. The file of a model in Microsoft's layout has a row
/// for `<image>` at the end of each token embedding, which the model lacks.
fn without_image_row(stored: TensorValues, size: usize) -> TensorValues {
    let TensorValues {
        mut shape,
        mut values,
    } = stored;
    if let [rows, columns] = &mut shape[..]
        && values.len() == size + *columns
    {
        *rows -= 1;
        values.truncate(size);
    }
    TensorValues { shape, values }
}

/// The trained parameters by the names of PEFT's modules.
fn lora_tensors(mut values: BTreeMap<String, TensorValues>) -> LoraTensors {
    let keys: Vec<String> = values.keys().cloned().collect();
    let modules = keys
        .iter()
        .filter_map(|key| key.strip_suffix(".lora_A.weight"));
    let updates = modules.filter_map(|module| {
        let a = values.remove(&format!("{module}.lora_A.weight"))?;
        let b = values.remove(&format!("{module}.lora_B.weight"))?;
        Some((module.to_owned(), LoraFactors { a, b }))
    });
    let updates = updates.collect();
    LoraTensors {
        updates,
        modules_to_save: values,
    }
}

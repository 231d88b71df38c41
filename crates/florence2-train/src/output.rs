//! The files of a trained model: a PEFT adapter, or a checkpoint in Hugging Face's layout.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use florence2_core::Florence2ForConditionalGeneration;
use florence2_core::generate::GenerationConfig;
use florence2_core::weights::{
    AdapterTensor, Checkpoint, LoraConfig, LoraFactors, LoraTensors, SaveOptions, save,
    write_atomic,
};
use florence2_kernels::Backend;
use florence2_processor::HuggingFaceFiles;

use crate::error::{Error, Result};
use crate::trained_parameters::{ParameterValues, values};

/// The prefix of PEFT's names.
const PEFT_PREFIX: &str = "base_model.model.";

/// What a training writes.
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
}

/// The trained parameters by the names of PEFT's modules.
fn lora_tensors(values: BTreeMap<String, ParameterValues>) -> LoraTensors {
    let mut tensors = LoraTensors::default();
    let mut first_factors = BTreeMap::new();
    for (key, ParameterValues { shape, values }) in values {
        let tensor = AdapterTensor { shape, values };
        if let Some(module) = key.strip_suffix(".lora_A.weight") {
            first_factors.insert(module.to_owned(), tensor);
        } else if let Some(module) = key.strip_suffix(".lora_B.weight") {
            // Keys are sorted, so that lora_A comes first.
            if let Some(a) = first_factors.remove(module) {
                let factors = LoraFactors { a, b: tensor };
                tensors.updates.insert(module.to_owned(), factors);
            }
        } else {
            tensors.modules_to_save.insert(key, tensor);
        }
    }
    tensors
}

/// Reads the values of the trained parameters from the files that [`Output::write`] wrote.
///
/// # Errors
/// [`Error::Io`] and [`Error::Malformed`] with the file.
pub(crate) fn read_trained(
    folder: &Path,
    trained: &[(String, usize)],
) -> Result<BTreeMap<String, ParameterValues>> {
    let entries = fs::read_dir(folder).map_err(|source| Error::Io {
        path: folder.to_owned(),
        source,
    })?;
    let mut stored = BTreeMap::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if name != "adapter_model.safetensors" && name != "model.safetensors" {
            continue;
        }
        let malformed = |reason: String| Error::Malformed {
            path: path.clone(),
            reason,
        };
        let checkpoint =
            Checkpoint::open_file(&path).map_err(|error| malformed(error.to_string()))?;
        for (name, tensor) in checkpoint.tensors {
            let key = name.strip_prefix(PEFT_PREFIX).unwrap_or(&name);
            if !trained.iter().any(|(trained, _)| trained == key) {
                continue;
            }
            let values = tensor
                .to_f32()
                .map_err(|error| malformed(error.to_string()))?;
            let shape = tensor.shape.clone();
            stored.insert(key.to_owned(), ParameterValues { shape, values });
        }
    }
    Ok(stored)
}

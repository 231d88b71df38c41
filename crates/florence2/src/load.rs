//! Loading a [`Florence2`] from a folder or from memory.

use std::path::Path;

use florence2_core::generate::GenerationConfig;
use florence2_core::weights::{Adapter, Checkpoint};
use florence2_core::{Florence2Config, Warning};
use florence2_processor::Florence2Processor;

use crate::device;
use crate::error::{Error, Result};
use crate::florence2::Florence2;
use crate::load_input::LoadInput;
use crate::load_options::{AdapterOptions, LoadOptions};
use crate::memory_files::MemoryFiles;
use crate::model_folder::ModelFolder;
use crate::pipeline::Pipeline;
use crate::threads::Threads;

impl Florence2 {
    /// Loads a model folder, in Microsoft's or Hugging Face's layout, onto the best device.
    ///
    /// # Errors
    /// Those of [`Self::load_with`].
    pub fn load(directory: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(directory, &LoadOptions::default())
    }

    /// Loads a model folder with options.
    ///
    /// # Errors
    /// [`Error::Model`] with the file that is missing or invalid, or with all tensors that do not
    /// fit the model. [`Error::ProcessorFiles`] if the folder lacks the tokenizer or the
    /// configuration of the preprocessor. [`Error::Device`] if this build does not have the device,
    /// [`Error::DeviceUnavailable`] if the device does not work on this machine or the model does
    /// not fit its memory. [`Error::Dtype`] if the device does not support the dtype.
    /// [`Error::Threads`] if the threads cannot be started.
    pub fn load_with(directory: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        let directory = directory.as_ref();
        let folder = ModelFolder::new(directory);
        let config = folder.config()?;
        let generation_config = folder.generation_config()?;
        let processor_directory = options.processor.as_deref().unwrap_or(directory);
        let files = ModelFiles {
            processor: ModelFolder::new(processor_directory).processor()?,
            checkpoint: folder.checkpoint(options.weights.as_deref())?,
            config: &config,
            config_name: &folder.config_path().display().to_string(),
            generation_config: generation_config.as_deref(),
        };
        files.load(options)
    }

    /// Loads a model whose files are in memory: the files that [`Self::load`] reads from a folder,
    /// where the weights may have any name.
    ///
    /// # Errors
    /// Those of [`Self::load_with`]. [`Error::Model`] also if the options contain a path, or if
    /// `files` contains a file that is not part of a model.
    pub fn load_memory(files: &MemoryFiles, options: &LoadOptions) -> Result<Self> {
        check_no_path("weights", options.weights.as_deref())?;
        check_no_path("processor", options.processor.as_deref())?;
        files.check_model_names()?;
        let files = ModelFiles {
            config: files.config()?,
            config_name: "config.json",
            generation_config: files.generation_config(),
            processor: files.processor()?,
            checkpoint: files.checkpoint()?,
        };
        files.load(options)
    }
}

/// The files of a model. The values of the weights are not read yet.
struct ModelFiles<'a> {
    /// The content of `config.json`.
    config: &'a [u8],
    /// The name of `config.json` in error messages.
    config_name: &'a str,
    /// The content of `generation_config.json`, if the model has this file.
    generation_config: Option<&'a [u8]>,
    processor: Florence2Processor,
    checkpoint: Checkpoint,
}

impl ModelFiles<'_> {
    fn load(self, options: &LoadOptions) -> Result<Florence2> {
        let config = Florence2Config::from_json(self.config, self.config_name)?;
        let (generation_config, mut warnings) =
            GenerationConfig::from_json(self.generation_config, self.config)?;
        let adapters = options.adapters.iter().map(AdapterOptions::open);
        let adapters: Vec<Adapter> = adapters.collect::<Result<_>>()?;
        let threads = Threads::new(options.threads, options.spin_limit)?;
        options.cancel.check()?;
        let loaded = device::load(&LoadInput {
            options,
            config: &config,
            checkpoint: &self.checkpoint,
            adapters: &adapters,
        })?;
        warnings.extend(loaded.warnings);
        log_warnings(&warnings);
        Ok(Florence2 {
            pipeline: Pipeline::new(self.processor, loaded.engine, generation_config),
            device: loaded.device,
            dtype: options.dtype,
            threads,
            warnings,
        })
    }
}

pub(crate) fn log_warnings(warnings: &[Warning]) {
    for warning in warnings {
        log::warn!("{warning}");
    }
}

/// Returns an error if a path is set in the options of a model in memory.
fn check_no_path(argument: &'static str, path: Option<&Path>) -> Result<()> {
    match path {
        None => Ok(()),
        Some(path) => Err(Error::argument(
            argument,
            path.display().to_string(),
            "none, because the model's files are in memory",
        )),
    }
}

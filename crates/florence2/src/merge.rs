//! Merging LoRA adapters into a checkpoint.

use std::fs;
use std::path::Path;

use florence2_core::generate::GenerationConfig;
use florence2_core::weights::{Adapter, SaveOptions, load_monitored, save, write_atomic};
use florence2_core::{Error as ModelError, Florence2Config, Warning};
use florence2_kernels::{Backend, Dtype};
use florence2_processor::HuggingFaceFiles;

use crate::device::InspectBackend;
use crate::error::{Error, Result};
use crate::load::log_warnings;
use crate::load_options::{AdapterOptions, LoadOptions};
use crate::model_folder::ModelFolder;
use crate::threads::Threads;

/// Merges the adapters of the options into the model of a folder, and writes the result to the folder
/// `output` in Hugging Face's layout: `model.safetensors`, `config.json`, `generation_config.json` and
/// the files of the processor and the tokenizer. transformers 5.17 and [`Florence2::load`] read it.
/// Without adapters, it converts a model from Microsoft's layout or from another file format.
///
/// Weights are merged in f32, on the CPU, and stored in [`LoadOptions::dtype`]: f32, f16 or bf16. Of the
/// other options, [`LoadOptions::device`] and [`LoadOptions::spin_limit`] have no effect. transformers
/// requires the token `<image>`, which models in Microsoft's layout do not have: it is added to the
/// tokenizer and to the vocabulary.
///
/// Returns the warnings of loading the model, which are also logged.
///
/// ```no_run
/// use florence2::{Dtype, LoadOptions};
///
/// let options = LoadOptions::default().adapter("my-adapter").dtype(Dtype::F16);
/// let warnings = florence2::merge("Florence-2-base", &options, "merged")?;
/// # Ok::<(), florence2::Error>(())
/// ```
///
/// # Errors
/// - Those of [`Florence2::load_with`] with a file
/// - [`Error::Model`] if `output` is not an empty or new folder, if the dtype is int8, if an adapter adds
///   a bias that transformers does not have, or with a file that cannot be written
///
/// [`Florence2::load`]: crate::Florence2::load
/// [`Florence2::load_with`]: crate::Florence2::load_with
pub fn merge(
    directory: impl AsRef<Path>,
    options: &LoadOptions,
    output: impl AsRef<Path>,
) -> Result<Vec<Warning>> {
    let (directory, output) = (directory.as_ref(), output.as_ref());
    check_dtype(options.dtype)?;
    check_output(output)?;
    let processor_directory = options.processor.as_deref().unwrap_or(directory);
    // Reports missing files as loading does.
    ModelFolder::new(processor_directory).processor()?;
    let processor = HuggingFaceFiles::from_dir(processor_directory)?;
    let threads = Threads::new(options.threads, options.spin_limit)?;
    let source = Source::read(directory)?;
    let warnings = threads
        .install(|| source.merge::<InspectBackend>(options, processor.image_token_id, output))?;
    let generation_config = source.generation_config;
    let files = processor.files.iter();
    let files = files.map(|(name, content)| (*name, content.as_slice()));
    for (name, content) in files.chain([("generation_config.json", &generation_config[..])]) {
        write_atomic(&output.join(name), content).map_err(ModelError::from)?;
    }
    log_warnings(&warnings);
    Ok(warnings)
}

fn check_dtype(dtype: Dtype) -> Result<()> {
    let expected = [Dtype::F32, Dtype::F16, Dtype::Bf16];
    if expected.contains(&dtype) {
        return Ok(());
    }
    let expected = format!("{} in a checkpoint", Dtype::choice(&expected));
    Err(Error::argument("dtype", dtype.name(), expected))
}

/// Returns an error unless a folder is empty or does not exist.
fn check_output(output: &Path) -> Result<()> {
    let name = output.display();
    let found = match fs::read_dir(output).map(|mut entries| entries.next().is_none()) {
        Ok(true) => return Ok(()),
        Ok(false) => format!("the folder `{name}` with files in it"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // On Windows, a path below a file is not found, too.
            let mut above = output.ancestors().skip(1);
            match above.find(|folder| folder.exists()) {
                Some(file) if !file.is_dir() => {
                    format!("`{name}` below the file `{}`", file.display())
                }
                _ => return Ok(()),
            }
        }
        Err(error) => format!("`{name}` ({error})"),
    };
    let expected = "a folder that is empty or does not exist";
    Err(Error::argument("output", found, expected))
}

/// The files of the model that receives the adapters.
struct Source<'a> {
    folder: ModelFolder<'a>,
    config: Vec<u8>,
    /// The content of `generation_config.json` that is written.
    generation_config: Vec<u8>,
}

impl<'a> Source<'a> {
    fn read(directory: &'a Path) -> Result<Self> {
        let folder = ModelFolder::new(directory);
        let config = folder.config()?;
        let generation_config = folder.generation_config()?;
        let generation_config = GenerationConfig::file(generation_config.as_deref(), &config)?;
        Ok(Self {
            folder,
            config,
            generation_config,
        })
    }

    /// Loads the model with the adapters, and writes its weights and its configuration.
    fn merge<B: Backend>(
        &self,
        options: &LoadOptions,
        image_token_id: u32,
        output: &Path,
    ) -> Result<Vec<Warning>> {
        let file = self.folder.config_path().display().to_string();
        let config = Florence2Config::from_json(&self.config, &file)?;
        let checkpoint = self.folder.checkpoint(options.weights.as_deref())?;
        let adapters = options.adapters.iter().map(AdapterOptions::open);
        let adapters: Vec<Adapter> = adapters.collect::<Result<_>>()?;
        options.cancel.check()?;
        let (model, warnings) = load_monitored::<B>(
            &config,
            &checkpoint,
            &adapters,
            Dtype::F32,
            &B::Device::default(),
            &mut options.load_monitor(),
        )?;
        let options = SaveOptions::default()
            .dtype(options.dtype)
            .source_config(&self.config)
            .image_token_id(image_token_id);
        save(&model, output, &options)?;
        Ok(warnings)
    }
}

//! The options of loading a model and of running it.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;

use florence2_core::generate::CancelToken;
use florence2_core::weights::{Adapter, LoadProgress};
use florence2_kernels::Dtype;
use florence2_postprocess::Coordinates;

use crate::error::Result;
use crate::generation_overrides::GenerationOverrides;
use crate::load_progress::LoadCallback;
use crate::memory_files::MemoryFiles;

/// The options of loading a model.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The device: `auto`, or one of [`crate::devices`].
    pub device: String,
    /// The data type of the weights. f16, bf16 and int8 need less memory than f32, and their answers
    /// are almost the same. The device `cpu` supports all four, and is faster with bf16 and int8.
    /// GPUs support f32, f16 and, except through a graphics API, bf16.
    pub dtype: Dtype,
    /// A weights file of any name, or an index of shards, in place of the weights in the model's
    /// folder. The format is detected from the content: safetensors or a file of `torch.save`.
    pub weights: Option<PathBuf>,
    /// The folder of the preprocessor's and the tokenizer's files. `None` for the model's folder.
    pub processor: Option<PathBuf>,
    /// The LoRA adapters to merge into the weights, in order.
    pub adapters: Vec<AdapterOptions>,
    /// The number of threads in the model's own thread pool. `None` for the thread pool of the
    /// process, which all models without their own share.
    pub threads: Option<NonZeroUsize>,
    /// The maximum number of threads that spin between the operations of a run on the CPU, including
    /// the thread of the run. `None` for 8. With 0 or 1, idle threads sleep, and a run takes longer.
    pub spin_limit: Option<usize>,
    /// The callback for the progress, called before the first tensor and after each.
    pub progress: LoadCallback,
    /// Cancels the loading.
    pub cancel: CancelToken,
}

impl LoadOptions {
    /// A monitor of the weights' loading that calls [`Self::progress`]. It ends the loading if the
    /// callback or [`Self::cancel`] requests it.
    pub(crate) fn load_monitor(&self) -> impl FnMut(LoadProgress) -> florence2_core::Result<()> {
        move |progress| {
            self.cancel.check()?;
            match self.progress.call(progress) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(florence2_core::Error::Cancelled),
            }
        }
    }
}

/// A LoRA adapter to merge into the weights. A path converts to the adapter of a folder.
#[derive(Debug, Clone)]
pub struct AdapterOptions {
    /// The location of the adapter's files.
    pub source: AdapterSource,
    /// The factor by which the adapter's updates are multiplied: PEFT's `set_scale`. The default is 1.
    pub scale: f32,
}

/// The location of an adapter's files.
#[derive(Debug, Clone)]
pub enum AdapterSource {
    /// A folder with `adapter_config.json` and `adapter_model.safetensors` or `adapter_model.bin`.
    Folder(PathBuf),
    /// The same files in memory.
    Memory(MemoryFiles),
}

impl<P: Into<PathBuf>> From<P> for AdapterOptions {
    fn from(folder: P) -> Self {
        Self {
            source: AdapterSource::Folder(folder.into()),
            scale: 1.0,
        }
    }
}

impl AdapterOptions {
    /// Reads the adapter.
    pub(crate) fn open(&self) -> Result<Adapter> {
        let adapter = match &self.source {
            AdapterSource::Folder(folder) => Adapter::open(folder)?,
            AdapterSource::Memory(files) => files.adapter()?,
        };
        Ok(adapter.with_scale(self.scale)?)
    }
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: "auto".to_owned(),
            dtype: Dtype::default(),
            weights: None,
            processor: None,
            adapters: Vec::new(),
            threads: None,
            spin_limit: None,
            progress: LoadCallback::default(),
            cancel: CancelToken::default(),
        }
    }
}

/// The options of a run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// The changes to the generation configuration of the model's files.
    pub generation: GenerationOverrides,
    /// The coordinates of regions.
    pub coordinates: Coordinates,
    /// Cancels the run.
    pub cancel: CancelToken,
}

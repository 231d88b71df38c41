//! The options of loading a model.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;

use florence2_core::generate::CancelToken;
use florence2_core::weights::{Adapter, LoadProgress};
use florence2_kernels::Dtype;

use crate::error::Result;
use crate::load_progress::LoadCallback;
use crate::memory_files::MemoryFiles;

/// The options of loading a model. All have defaults, which the setters change.
///
/// ```
/// use florence2::{Dtype, LoadOptions};
///
/// let options = LoadOptions::default().device("cpu").dtype(Dtype::Int8);
/// assert_eq!(options.device, "cpu");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
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
    /// Sets the device: `auto`, or one of [`crate::devices`].
    pub fn device(mut self, device: impl Into<String>) -> Self {
        self.device = device.into();
        self
    }

    /// Sets the data type of the weights.
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = dtype;
        self
    }

    /// Sets a weights file, or an index of shards, in place of the weights in the model's folder.
    pub fn weights(mut self, weights: impl Into<PathBuf>) -> Self {
        self.weights = Some(weights.into());
        self
    }

    /// Sets the folder of the preprocessor's and the tokenizer's files.
    pub fn processor(mut self, processor: impl Into<PathBuf>) -> Self {
        self.processor = Some(processor.into());
        self
    }

    /// Adds a LoRA adapter to merge into the weights, after those that were added before.
    pub fn adapter(mut self, adapter: impl Into<AdapterOptions>) -> Self {
        self.adapters.push(adapter.into());
        self
    }

    /// Sets the number of threads in the model's own thread pool, for example
    /// `NonZeroUsize::new(4)`. `None` is the thread pool of the process.
    pub fn threads(mut self, threads: impl Into<Option<NonZeroUsize>>) -> Self {
        self.threads = threads.into();
        self
    }

    /// Sets the maximum number of threads that spin between the operations of a run on the CPU.
    pub fn spin_limit(mut self, spin_limit: usize) -> Self {
        self.spin_limit = Some(spin_limit);
        self
    }

    /// Sets the callback for the progress; see [`LoadCallback::new`].
    pub fn on_progress(
        mut self,
        on_progress: impl Fn(LoadProgress) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.progress = LoadCallback::new(on_progress);
        self
    }

    /// Sets the token that cancels the loading.
    pub fn cancel(mut self, cancel: &CancelToken) -> Self {
        self.cancel = cancel.clone();
        self
    }

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

/// A LoRA adapter to merge into the weights. A path converts to the adapter of a folder, and
/// [`MemoryFiles`] to the adapter of these files.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct AdapterOptions {
    /// The location of the adapter's files.
    pub source: AdapterSource,
    /// The factor by which the adapter's updates are multiplied: PEFT's `set_scale`. The default is 1.
    pub scale: f32,
}

/// The location of an adapter's files.
#[derive(Debug, Clone)]
#[non_exhaustive]
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

impl From<MemoryFiles> for AdapterOptions {
    fn from(files: MemoryFiles) -> Self {
        Self {
            source: AdapterSource::Memory(files),
            scale: 1.0,
        }
    }
}

impl AdapterOptions {
    /// Sets the factor by which the adapter's updates are multiplied. The default is 1.
    pub fn scale(mut self, scale: f32) -> Self {
        self.scale = scale;
        self
    }

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

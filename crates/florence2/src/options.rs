//! The options of loading a model and of running it.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use florence2_core::generate::{CancelToken, EarlyStopping, GenerationConfig, canonical_options};
use florence2_core::weights::{Adapter, LoadProgress};
use florence2_kernels::Dtype;
use florence2_postprocess::Coordinates;
use serde::Deserialize;

use crate::error::Result;
use crate::load_progress::LoadCallback;
use crate::memory_files::MemoryFiles;
use crate::run_setters::run_setters;

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
    /// Sets [`Self::device`].
    pub fn device(mut self, device: impl Into<String>) -> Self {
        self.device = device.into();
        self
    }

    /// Sets [`Self::dtype`].
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = dtype;
        self
    }

    /// Sets [`Self::weights`].
    pub fn weights(mut self, weights: impl Into<PathBuf>) -> Self {
        self.weights = Some(weights.into());
        self
    }

    /// Sets [`Self::processor`].
    pub fn processor(mut self, processor: impl Into<PathBuf>) -> Self {
        self.processor = Some(processor.into());
        self
    }

    /// Adds an adapter to [`Self::adapters`].
    pub fn adapter(mut self, adapter: impl Into<AdapterOptions>) -> Self {
        self.adapters.push(adapter.into());
        self
    }

    /// Sets [`Self::threads`]: a number, or `NonZeroUsize::new(number)`.
    pub fn threads(mut self, threads: impl Into<Option<NonZeroUsize>>) -> Self {
        self.threads = threads.into();
        self
    }

    /// Sets [`Self::spin_limit`].
    pub fn spin_limit(mut self, spin_limit: usize) -> Self {
        self.spin_limit = Some(spin_limit);
        self
    }

    /// Sets [`Self::progress`]; see [`LoadCallback::new`].
    pub fn on_progress(
        mut self,
        on_progress: impl Fn(LoadProgress) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.progress = LoadCallback::new(on_progress);
        self
    }

    /// Sets [`Self::cancel`] to a clone of a token.
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
    /// Sets [`Self::scale`].
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

/// The options of a run. All have defaults, which the setters change. The builders of runs have the
/// same setters.
///
/// ```
/// use florence2::{Coordinates, RunOptions};
///
/// let options = RunOptions::default().coordinates(Coordinates::HfIntegers).num_beams(1);
/// assert_eq!(options.generation.num_beams, Some(1));
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct RunOptions {
    /// The changes to the generation configuration of the model's files.
    pub generation: GenerationOverrides,
    /// The coordinates of regions.
    pub coordinates: Coordinates,
    /// The number of bins on each side of a generated coordinate that count as the same coordinate in
    /// [`RegionScore::locations`](crate::RegionScore::locations); 1000 bins are a side of the image.
    /// With 0, only the generated bin counts. `None` for
    /// [`LOCATION_TOLERANCE`](crate::LOCATION_TOLERANCE). It does not affect the answer.
    pub location_tolerance: Option<u32>,
    /// Cancels the run.
    pub cancel: CancelToken,
    /// The time at which the run ends with
    /// [`DeadlineExceeded`](florence2_core::Error::DeadlineExceeded).
    pub deadline: Option<Instant>,
    /// A deadline as the duration from the start of the run.
    pub timeout: Option<Duration>,
}

impl RunOptions {
    run_setters!();

    /// Returns these options at the start of a run: the cancel token includes the deadline and the
    /// timeout.
    pub(crate) fn started(mut self) -> Self {
        let timeout = self.timeout.take();
        // A timeout beyond the range of the clock is none.
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        for deadline in self.deadline.take().into_iter().chain(end) {
            self.cancel = self.cancel.until(deadline);
        }
        self
    }
}

/// Declares [`GenerationOverrides`]: one optional field per option of the configuration.
macro_rules! overrides {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $apply:expr;)*) => {
        /// Changes to a [`GenerationConfig`]. `None` keeps the value of the model's files.
        ///
        /// The JSON form is an object with the keys of `generation_config.json`. Unknown keys are an
        /// error. Values are parsed as in that file: a single id is a list of one, `50.0` is 50, and
        /// null is an absent key.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields, remote = "Self")]
        pub struct GenerationOverrides {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl GenerationOverrides {
            /// The names of all options.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// Returns these options, with those of `others` for the ones that are `None`.
            #[must_use]
            pub fn or(self, others: Self) -> Self {
                Self {
                    $($name: self.$name.or(others.$name),)*
                }
            }

            /// Returns the model's configuration with these changes.
            pub fn apply(&self, model: &GenerationConfig) -> GenerationConfig {
                let mut config = model.clone();
                $(if let Some(value) = &self.$name {
                    let apply: fn(&mut GenerationConfig, $type) = $apply;
                    apply(&mut config, value.clone());
                })*
                config
            }
        }
    };
}

overrides! {
    /// The number of beams. 1 is greedy search or sampling.
    num_beams: usize => |config, value| config.num_beams = value;
    /// The maximum number of generated tokens. Values above the model's positions are reduced to them.
    max_new_tokens: usize => |config, value| config.max_new_tokens = Some(value);
    /// The maximum length of the decoder's sequence, including the start token. `max_new_tokens`, of
    /// the caller or of the model, takes precedence.
    max_length: usize => |config, value| config.max_length = Some(value);
    /// The minimum number of generated tokens. It takes precedence over `min_length`.
    min_new_tokens: usize => |config, value| config.min_new_tokens = Some(value);
    /// The minimum length of the decoder's sequence, including the start token.
    min_length: usize => |config, value| config.min_length = value;
    /// The time in seconds after which all sequences end.
    max_time: f64 => |config, value| config.max_time = Some(value);
    /// The texts that end a sequence when it contains one of them.
    stop_strings: Vec<String> => |config, value| config.stop_strings = value;
    /// True to sample tokens instead of choosing the most likely ones.
    do_sample: bool => |config, value| config.do_sample = value;
    /// The divisor of the scores before sampling.
    temperature: f32 => |config, value| config.temperature = value;
    /// Sample from this many most likely tokens; 0 disables the limit.
    top_k: i64 => |config, value| config.top_k = value;
    /// Sample from the most likely tokens that together reach this probability.
    top_p: f32 => |config, value| config.top_p = value;
    /// Sample from the tokens at least this likely, relative to the most likely.
    min_p: f32 => |config, value| config.min_p = Some(value);
    /// Sample from the most likely tokens whose entropy is at most this fraction of the whole
    /// entropy.
    top_h: f32 => |config, value| config.top_h = Some(value);
    /// Sample from the tokens closest to the expected information that together reach this
    /// probability.
    typical_p: f32 => |config, value| config.typical_p = value;
    /// Sample from tokens of at least this probability; 0 disables the limit.
    epsilon_cutoff: f32 => |config, value| config.epsilon_cutoff = value;
    /// Sample from tokens above a threshold that falls with the entropy; 0 disables it.
    eta_cutoff: f32 => |config, value| config.eta_cutoff = value;
    /// The seed of the random number generator.
    seed: u64 => |config, value| config.seed = value;
    /// The length of the token sequences that may occur only once; 0 disables the limit.
    no_repeat_ngram_size: usize => |config, value| config.no_repeat_ngram_size = value;
    /// The length of the token sequences of the prompt that are not generated; 0 disables the limit.
    encoder_no_repeat_ngram_size: usize =>
        |config, value| config.encoder_no_repeat_ngram_size = value;
    /// The penalty on the scores of tokens that are already in the sequence; 1 disables it.
    repetition_penalty: f32 => |config, value| config.repetition_penalty = value;
    /// Values above 1 raise the scores of the prompt's tokens. As in transformers, this applies to
    /// the first beam or sample only.
    encoder_repetition_penalty: f32 => |config, value| config.encoder_repetition_penalty = value;
    /// The exponent of the length by which a beam's score is divided.
    length_penalty: f32 => |config, value| config.length_penalty = value;
    /// The number of generated tokens after which the end tokens' scores grow, and the base of the
    /// exponential growth.
    exponential_decay_length_penalty: (usize, f64) =>
        |config, value| config.exponential_decay_length_penalty = Some(value);
    /// The condition under which the beam search stops.
    early_stopping: EarlyStopping => |config, value| config.early_stopping = value;
    /// The number of sequences per request: the answer and its alternatives.
    num_return_sequences: usize => |config, value| config.num_return_sequences = value;
    /// The first generated token is one of these; an empty list forces none.
    forced_bos_token_id: Vec<u32> => |config, value| config.forced_bos_token_id = value;
    /// The token at the maximum length is one of these; an empty list forces none.
    forced_eos_token_id: Vec<u32> => |config, value| config.forced_eos_token_id = value;
    /// Tokens that are never generated.
    suppress_tokens: Vec<u32> => |config, value| config.suppress_tokens = value;
    /// Tokens that are not generated first, or not after the forced first token.
    begin_suppress_tokens: Vec<u32> => |config, value| config.begin_suppress_tokens = value;
    /// Token sequences that are never generated.
    bad_words_ids: Vec<Vec<u32>> => |config, value| config.bad_words_ids = value;
    /// Token sequences, each with the number that is added to the score of its last token if the
    /// tokens before it are generated.
    sequence_bias: Vec<(Vec<u32>, f32)> => |config, value| config.sequence_bias = value;
    /// True to replace scores that are not finite by finite ones.
    remove_invalid_values: bool => |config, value| config.remove_invalid_values = value;
    /// True to normalise processed scores again.
    renormalize_logits: bool => |config, value| config.renormalize_logits = value;
    /// Tokens that end an answer. With an empty list, answers end at their maximum length.
    eos_token_id: Vec<u32> => |config, value| config.eos_token_id = Some(value);
    /// The decoder's first token: one for all requests of a batch, or one per request.
    decoder_start_token_id: Vec<u32> => |config, value| config.decoder_start_token_id = value;
}

impl<'de> Deserialize<'de> for GenerationOverrides {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let options = canonical_options(serde_json::Map::deserialize(deserializer)?);
        Self::deserialize(serde_json::Value::from(options)).map_err(serde::de::Error::custom)
    }
}

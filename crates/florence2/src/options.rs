//! What a caller may choose: at load, and for each run.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;

use florence2_core::generate::{CancelToken, EarlyStopping, GenerationConfig, canonical_options};
use florence2_core::weights::{Adapter, LoadProgress};
use florence2_kernels::Precision;
use florence2_postprocess::Compat;
use serde::Deserialize;

use crate::error::Result;
use crate::load_progress::LoadCallback;
use crate::memory_files::MemoryFiles;

/// How to load a model.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// `auto`, or one of [`crate::devices`].
    pub device: String,
    /// How the model's weights are kept and multiplied: f16, bf16 and int8 are smaller, and answer
    /// almost as f32 does. The device `cpu` has them all, and bf16 and int8 are faster there; GPUs
    /// have f32, f16 and, except behind a graphics API, bf16.
    pub dtype: Precision,
    /// A weights file of any name, or an index of shards, instead of those in the model's folder. The
    /// format is told by the content: safetensors or a file of `torch.save`.
    pub weights: Option<PathBuf>,
    /// The folder of the preprocessor's and the tokenizer's files, if the model's folder lacks them.
    pub processor: Option<PathBuf>,
    /// LoRA adapters, merged in order.
    pub adapters: Vec<AdapterOptions>,
    /// Threads that the model computes with, its own; none for those of the process, which all
    /// models without threads of their own share.
    pub threads: Option<NonZeroUsize>,
    /// The largest number of threads that spin between two operations of a run on the CPU, the
    /// run's own among them. None for 8; 0 and 1 for no spinning: idle threads then sleep, and
    /// a run takes longer.
    pub spin_limit: Option<usize>,
    /// Called before the first tensor and after each.
    pub progress: LoadCallback,
    /// Ends the loading early.
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
    /// Where it is.
    pub source: AdapterSource,
    /// A factor of its updates: PEFT's `set_scale` (default 1).
    pub scale: f32,
}

/// Where an adapter is.
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
            dtype: Precision::default(),
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

/// How to run. What is none here is as the model's own files say.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Changes to the model's generation configuration.
    pub generation: GenerationOverrides,
    /// Which coordinates regions have.
    pub compat: Compat,
    /// Ends the run early.
    pub cancel: CancelToken,
}

/// Declares [`GenerationOverrides`]: one optional field per option of the configuration.
macro_rules! overrides {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $apply:expr;)*) => {
        /// Options of [`GenerationConfig`] that a caller sets; the others stay the model's.
        ///
        /// As JSON, an object with the keys of `generation_config.json`; unknown keys are refused.
        /// Values are read as leniently as in that file: one id stands for a list of one, `50.0`
        /// for 50, and null for an absent key.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields, remote = "Self")]
        pub struct GenerationOverrides {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl GenerationOverrides {
            /// The names of all options.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// These options, and `others` where these say nothing.
            #[must_use]
            pub fn or(self, others: Self) -> Self {
                Self {
                    $($name: self.$name.or(others.$name),)*
                }
            }

            /// The model's configuration with these changes.
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
    /// Number of beams; 1 is greedy search or sampling.
    num_beams: usize => |config, value| config.num_beams = value;
    /// Maximal number of generated tokens. Values above the model's positions are reduced to them.
    max_new_tokens: usize => |config, value| config.max_new_tokens = Some(value);
    /// Maximal length of the decoder's sequence, the start token included. `max_new_tokens`, of the
    /// caller or of the model, wins.
    max_length: usize => |config, value| config.max_length = Some(value);
    /// Minimal number of generated tokens; wins over `min_length`.
    min_new_tokens: usize => |config, value| config.min_new_tokens = Some(value);
    /// Minimal length of the decoder's sequence, the start token included.
    min_length: usize => |config, value| config.min_length = value;
    /// Seconds after which all sequences end as they are.
    max_time: f64 => |config, value| config.max_time = Some(value);
    /// Texts that end a sequence as soon as they are generated.
    stop_strings: Vec<String> => |config, value| config.stop_strings = value;
    /// Whether tokens are sampled.
    do_sample: bool => |config, value| config.do_sample = value;
    /// Divides the scores before sampling.
    temperature: f32 => |config, value| config.temperature = value;
    /// Sample from this many most likely tokens; 0 disables the limit.
    top_k: i64 => |config, value| config.top_k = value;
    /// Sample from the most likely tokens that together reach this probability.
    top_p: f32 => |config, value| config.top_p = value;
    /// Sample from the tokens at least this likely, relative to the most likely.
    min_p: f32 => |config, value| config.min_p = Some(value);
    /// Sample from the most likely tokens that hold at most this part of the entropy.
    top_h: f32 => |config, value| config.top_h = Some(value);
    /// Sample from the tokens closest to the expected information that together reach this
    /// probability.
    typical_p: f32 => |config, value| config.typical_p = value;
    /// Sample from tokens of at least this probability; 0 disables the limit.
    epsilon_cutoff: f32 => |config, value| config.epsilon_cutoff = value;
    /// Sample from tokens above a threshold that falls with the entropy; 0 disables it.
    eta_cutoff: f32 => |config, value| config.eta_cutoff = value;
    /// Seed of the random number generator.
    seed: u64 => |config, value| config.seed = value;
    /// No sequence of this many tokens occurs twice; 0 allows all.
    no_repeat_ngram_size: usize => |config, value| config.no_repeat_ngram_size = value;
    /// No sequence of this many tokens of the prompt is generated; 0 allows all.
    encoder_no_repeat_ngram_size: usize =>
        |config, value| config.encoder_no_repeat_ngram_size = value;
    /// Divides the score of tokens that are already in the sequence.
    repetition_penalty: f32 => |config, value| config.repetition_penalty = value;
    /// Above 1, raises the scores of the prompt's tokens, of the first beam or sample alone.
    encoder_repetition_penalty: f32 => |config, value| config.encoder_repetition_penalty = value;
    /// Exponent of the length by which a beam's score is divided.
    length_penalty: f32 => |config, value| config.length_penalty = value;
    /// The number of generated tokens after which the end tokens' scores grow, and the base of the
    /// exponential growth.
    exponential_decay_length_penalty: (usize, f64) =>
        |config, value| config.exponential_decay_length_penalty = Some(value);
    /// When the beam search may stop.
    early_stopping: EarlyStopping => |config, value| config.early_stopping = value;
    /// Number of answers per image.
    num_return_sequences: usize => |config, value| config.num_return_sequences = value;
    /// The first generated token is one of these; an empty list forces none.
    forced_bos_token_id: Vec<u32> => |config, value| config.forced_bos_token_id = value;
    /// The token at the maximal length is one of these; an empty list forces none.
    forced_eos_token_id: Vec<u32> => |config, value| config.forced_eos_token_id = value;
    /// Tokens that are never generated.
    suppress_tokens: Vec<u32> => |config, value| config.suppress_tokens = value;
    /// Tokens that are not generated first, or not after the forced first token.
    begin_suppress_tokens: Vec<u32> => |config, value| config.begin_suppress_tokens = value;
    /// Token sequences that are never generated.
    bad_words_ids: Vec<Vec<u32>> => |config, value| config.bad_words_ids = value;
    /// Token sequences, and what is added to the score of each one's last token after the others.
    sequence_bias: Vec<(Vec<u32>, f32)> => |config, value| config.sequence_bias = value;
    /// Whether scores that are not finite are replaced by finite ones.
    remove_invalid_values: bool => |config, value| config.remove_invalid_values = value;
    /// Whether processed scores are normalised again.
    renormalize_logits: bool => |config, value| config.renormalize_logits = value;
    /// Tokens that end an answer; an empty list ends answers at their maximal length alone.
    eos_token_id: Vec<u32> => |config, value| config.eos_token_id = Some(value);
    /// The decoder's first token, one for all requests of a batch or one per request.
    decoder_start_token_id: Vec<u32> => |config, value| config.decoder_start_token_id = value;
}

impl<'de> Deserialize<'de> for GenerationOverrides {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let options = canonical_options(serde_json::Map::deserialize(deserializer)?);
        Self::deserialize(serde_json::Value::from(options)).map_err(serde::de::Error::custom)
    }
}

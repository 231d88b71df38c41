//! What a caller may choose: at load, and for each run.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use florence2_core::generate::{CancelToken, EarlyStopping, GenerationConfig};
use florence2_core::weights::Adapter;
use florence2_kernels::Precision;
use florence2_postprocess::Compat;
use serde::Deserialize;

use crate::error::Result;

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
    /// In memory.
    Bytes {
        /// `adapter_config.json`.
        config: Arc<[u8]>,
        /// `adapter_model.safetensors`.
        weights: Arc<[u8]>,
    },
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
            AdapterSource::Bytes { config, weights } => {
                Adapter::from_bytes(config, Arc::clone(weights))?
            }
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
        /// As JSON, an object with the keys of `generation_config.json`; unknown ones are refused.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct GenerationOverrides {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl GenerationOverrides {
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
    /// Beams; 1 is greedy or sampling.
    num_beams: usize => |config, value| config.num_beams = value;
    /// Tokens generated at most.
    max_new_tokens: usize => |config, value| config.max_new_tokens = Some(value);
    /// Tokens generated at least.
    min_new_tokens: usize => |config, value| config.min_new_tokens = value;
    /// Draw tokens by their probability.
    do_sample: bool => |config, value| config.do_sample = value;
    /// Divides the scores before drawing.
    temperature: f32 => |config, value| config.temperature = value;
    /// Draw among this many; 0 for all.
    top_k: usize => |config, value| config.top_k = value;
    /// Draw among the likeliest that reach this probability.
    top_p: f32 => |config, value| config.top_p = value;
    /// Seed of the draws.
    seed: u64 => |config, value| config.seed = value;
    /// No sequence of this many tokens twice; 0 allows all.
    no_repeat_ngram_size: usize => |config, value| config.no_repeat_ngram_size = value;
    /// Divides the score of tokens already written.
    repetition_penalty: f32 => |config, value| config.repetition_penalty = value;
    /// Exponent of the length by which a beam's score is divided.
    length_penalty: f32 => |config, value| config.length_penalty = value;
    /// When the beam search may stop.
    early_stopping: EarlyStopping => |config, value| config.early_stopping = value;
    /// Answers per image.
    num_return_sequences: usize => |config, value| config.num_return_sequences = value;
    /// The first generated token.
    forced_bos_token_id: u32 => |config, value| config.forced_bos_token_id = Some(value);
    /// The token at the maximal length.
    forced_eos_token_id: u32 => |config, value| config.forced_eos_token_id = Some(value);
    /// Tokens never generated.
    suppress_tokens: Vec<u32> => |config, value| config.suppress_tokens = value;
    /// Token sequences never generated.
    bad_words_ids: Vec<Vec<u32>> => |config, value| config.bad_words_ids = value;
    /// Tokens that end an answer.
    eos_token_id: Vec<u32> => |config, value| config.eos_token_id = value;
}

//! Loads checkpoints of either layout into a model, with LoRA adapters, and writes both.
//!
//! [`save`] writes a model as transformers' `save_pretrained` does, [`LoraTensors::save`] an adapter
//! as PEFT's does.
//!
//! # Tied weights
//!
//! The token embedding has up to four names in a checkpoint: `shared`, `encoder.embed_tokens`,
//! `decoder.embed_tokens` and `lm_head`. The rule is that of transformers: `tie_word_embeddings`
//! ties the output matrix, `text_config.tie_word_embeddings` the other two. One stored name
//! suffices. Names that the configuration ties but whose values differ stay untied, with a
//! [`Warning`](crate::Warning).
//!
//! # Adapters
//!
//! [`Adapter`] reads the files of PEFT's `save_pretrained`, and merging gives the same result as
//! PEFT:
//!
//! | in the adapter | effect |
//! |---|---|
//! | LoRA or DoRA of a linear layer or a convolution | its weight changes |
//! | LoRA or DoRA of `lm_head` | the output matrix changes and becomes untied |
//! | LoRA or DoRA of `shared` | the embedding of prompts changes; the decoder's and the output matrix do not |
//! | LoRA or DoRA of `embed_tokens` | the decoder's embedding changes; the encoder's is not used |
//! | `modules_to_save` | the module is replaced, `shared` only for prompts |
//! | `trainable_token_indices` | rows are replaced, those of the input embedding in all tied copies |
//! | `base_layer.*`, `bias` of `all` or `lora_only` | parameters of the base model are replaced, tied copies included |
//! | `lora_bias` | the bias changes; `lm_head` and `image_projection` receive one |
//!
//! The following are rejected, with an error that names the key or tensor: methods other than LoRA;
//! the variants aLoRA, Arrow, BD-LoRA, KaSA, `MonteCLoRA` and `VeLoRA`; `layer_replication`,
//! `target_parameters` and `megatron_config`; the initialisations `PiSSA`, `OLoRA`, `CorDA` and
//! `LoftQ`, which change the base weights, unless `save_pretrained` converted the adapter to plain
//! LoRA; convolutions with groups, which PEFT does not merge; tensors that PEFT would ignore.

mod adapter_config;
mod adapters;
mod cast;
mod hf_config;
mod initialise;
mod key_map;
mod load;
mod loader;
mod lora;
mod lora_config;
mod merge;
mod module_matcher;
mod progress;
mod report;
mod save;
mod save_adapter;
mod save_files;
mod sizes;
mod tensors;
mod ties;
mod untied_embeddings;

pub use florence2_checkpoint::{Checkpoint, StoredTensor, is_weights_file, write_atomic};

pub use cast::cast;
pub use initialise::initialise;
pub use key_map::{KeyLayout, module_path_to_key, to_hugging_face_key};
pub use load::{inspect, load, load_monitored};
pub use lora::Adapter;
pub use lora_config::{LoraConfig, NamesOrPattern};
pub use module_matcher::ModuleMatcher;
pub use progress::{LoadMonitor, LoadProgress};
pub use report::{ShapeMismatch, WeightsReport};
pub use save::{SaveOptions, save};
pub use save_adapter::{LoraFactors, LoraTensors, TensorValues, is_embedding};

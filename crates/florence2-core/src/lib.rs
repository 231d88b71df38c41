//! The Florence-2 model in burn, generic over the backend. This crate names no backend.
//!
//! The data flow through this crate:
//!
//! 1. [`Florence2Config`] reads `config.json` of either layout;
//! 2. [`weights`] reads the checkpoint into a [`Florence2ForConditionalGeneration`];
//! 3. [`vision_tower`] and [`multi_modal_projector`] turn pixels into image embeddings;
//! 4. [`language_model`] encodes them with the prompt and decodes the answer;
//! 5. [`generate`] chooses tokens: greedy, beam search or sampling.
//!
//! The features `cuda`, `rocm`, `wgpu`, `metal`, `vulkan` and `autotune` enable GPU backends for the
//! tests of this crate. A program enables the features of `florence2-kernels` instead.

mod cancel;
mod config;
pub mod dropout;
mod error;
pub mod generate;
mod image_placeholders;
pub mod language_model;
pub mod layers;
mod model;
pub mod multi_modal_projector;
pub mod vision_tower;
mod warning;
pub mod weights;

pub use cancel::CancelToken;
pub use config::{Florence2Config, Florence2TextConfig, Florence2VisionConfig};
pub use error::{Error, Result};
pub use model::{
    EncoderOutput, Florence2ForConditionalGeneration, Florence2Model, ForwardInput, ForwardOutput,
    ForwardText, IGNORE_INDEX,
};
pub use warning::Warning;

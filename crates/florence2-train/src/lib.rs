//! Fine-tuning of Florence-2.
//!
//! [`TrainingArguments`], [`SchedulerType`], [`TrainerState`] and the layout of checkpoint folders follow Hugging Face's
//! transformers 5.17, with the same names.

mod arguments;
mod checkpoints;
mod error;
mod files;
mod gradients;
mod invalid;
mod lora;
mod metrics_log;
mod optimizer;
mod plot;
mod sampler;
mod schedule;
mod step;
mod trained_parameters;
mod trainer_state;

pub use arguments::{IntervalStrategy, SaveStrategy, StepActions, TrainingArguments};
pub use checkpoints::{Checkpoint, CheckpointError, Checkpoints};
pub use error::{Error, Result};
pub use gradients::Gradients;
pub use invalid::{InvalidArgument, InvalidArguments};
pub use lora::{UpdateSettings, adapt, add_updates};
pub use metrics_log::{MetricsLog, MetricsLogError, MetricsRecord, read_metrics};
pub use optimizer::{AdamW, AdamWSettings, decays};
pub use plot::{loss_plot, write_loss_plot};
pub use sampler::{ExampleSampler, SamplerError, SamplerState, UpdateBatches};
pub use schedule::{LrSchedule, LrSchedulerKwargs, SchedulerType, WarmupDecayType};
pub use step::{Batch, FrozenFeatures, Images, StepReport, TrainStep};
pub use trained_parameters::{ParameterValues, load_values, select, trained, values};
pub use trainer_state::TrainerState;

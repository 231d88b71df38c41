//! Fine-tuning of Florence-2.
//!
//! [`TrainingArguments`], [`SchedulerType`], [`TrainerState`] and the layout of checkpoint folders follow Hugging Face's
//! transformers 5.17, with the same names.

mod arguments;
mod checkpoints;
mod files;
mod invalid;
mod metrics_log;
mod plot;
mod sampler;
mod schedule;
mod trainer_state;

pub use arguments::{IntervalStrategy, SaveStrategy, StepActions, TrainingArguments};
pub use checkpoints::{Checkpoint, CheckpointError, Checkpoints};
pub use invalid::{InvalidArgument, InvalidArguments};
pub use metrics_log::{MetricsLog, MetricsLogError, MetricsRecord, read_metrics};
pub use plot::{PlotError, loss_plot, write_loss_plot};
pub use sampler::{ExampleSampler, SamplerError, SamplerState, UpdateBatches};
pub use schedule::{LrSchedule, LrSchedulerKwargs, SchedulerType, WarmupDecayType};
pub use trainer_state::TrainerState;

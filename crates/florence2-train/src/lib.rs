//! Fine-tuning of Florence-2.
//!
//! [`TrainingArguments`], [`SchedulerType`], [`TrainerState`] and the layout of checkpoint folders follow Hugging Face's
//! transformers 5.17, with the same names.

mod arguments;
mod checkpoints;
mod collate;
mod dataset_source;
mod error;
mod examples;
mod feature_cache;
mod files;
mod gradients;
mod invalid;
mod lora;
mod method;
mod metrics_log;
mod optimizer;
mod optimizer_state;
mod output;
mod plot;
mod sampler;
mod schedule;
mod seed;
mod step;
mod trained_parameters;
mod trainer;
mod trainer_state;

pub use arguments::{IntervalStrategy, SaveStrategy, StepActions, TrainingArguments};
pub use checkpoints::{Checkpoint, CheckpointError, Checkpoints};
pub use dataset_source::{DatasetSource, DatasetSourceOptions};
pub use error::{Error, Result};
pub use examples::{Example, ExampleError, ExampleSource, Pixels};
pub use feature_cache::CacheLimits;
pub use gradients::Gradients;
pub use invalid::{InvalidArgument, InvalidArguments};
pub use lora::adapt;
pub use method::Method;
pub use metrics_log::{MetricsLog, MetricsLogError, MetricsRecord, read_metrics};
pub use optimizer::{AdamW, AdamWSettings, decays};
pub use output::{ModelFiles, Output};
pub use plot::{PlotError, loss_plot, write_loss_plot};
pub use sampler::{ExampleSampler, SamplerError, SamplerState, UpdateBatches};
pub use schedule::{LrSchedule, LrSchedulerKwargs, SchedulerType, WarmupDecayType};
pub use step::{Batch, FrozenFeatures, Images, StepReport, TrainStep};
pub use trained_parameters::{load_values, select, trained, values};
pub use trainer::{ARGUMENTS_FILE, Outcome, StepProgress, TrainObserver, Trainer, TrainerOptions};
pub use trainer_state::TrainerState;

//! The errors of this crate.

use std::path::PathBuf;

use crate::checkpoints::CheckpointError;
use crate::invalid::InvalidArguments;
use crate::metrics_log::MetricsLogError;
use crate::plot::PlotError;
use crate::sampler::SamplerError;

/// The result of a function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No parameter is trained.
    #[error(
        "found no parameter to train, expected at least one: no module is a target of LoRA or trained as a whole"
    )]
    NothingToTrain,
    /// Names that no module has.
    #[error("modules_to_save: found {}, expected the end of the name of a linear layer, a layer norm or `lm_head`", .unknown.join(", "))]
    Modules {
        /// The names.
        unknown: Vec<String>,
    },
    /// Stored values do not fit the trained parameters.
    #[error("found {problems}, expected the values of the trained parameters", problems = .problems.join("; "))]
    Parameters {
        /// Every key that is missing, unknown or of another size.
        problems: Vec<String>,
    },
    /// The loss or the gradients of a step are not finite.
    #[error("found a loss of {loss} and gradients of norm {grad_norm}, expected finite numbers")]
    NotFinite {
        /// The loss of the step.
        loss: f64,
        /// The norm of the gradients.
        grad_norm: f64,
    },
    /// The loss became NaN or infinite. No later checkpoint is written.
    #[error(
        "step {step}: found a loss of {loss} and gradients of norm {grad_norm}, expected finite numbers; the examples of the step: {}; the last checkpoint: {}",
        .examples.join(", "), .checkpoint.as_ref().map_or("none".to_owned(), |path| path.display().to_string())
    )]
    Diverged {
        /// The optimiser step, from 1.
        step: u64,
        /// The loss of the step.
        loss: f64,
        /// The norm of the gradients.
        grad_norm: f64,
        /// The examples of the step, by index.
        examples: Vec<String>,
        /// The last complete checkpoint.
        checkpoint: Option<PathBuf>,
    },
    /// No example can be used.
    #[error("{what}: found no example that can be used, expected at least one: {}", .errors.join("; "))]
    NoExamples {
        /// The data set: `training` or `evaluation`.
        what: &'static str,
        /// The error of each example.
        errors: Vec<String>,
    },
    /// The images of a batch have several sizes.
    #[error("pixel_values: found images of the sizes {}, expected one size per batch", .sizes.join(", "))]
    ImageSizes {
        /// The sizes, `channels x height x width`.
        sizes: Vec<String>,
    },
    /// The output folder has files of another run.
    #[error("{}: found a run, expected an empty folder, or the option to resume", .path.display())]
    Occupied {
        /// The output folder.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file of a checkpoint is malformed.
    #[error("{}: {reason}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// Invalid arguments.
    #[error(transparent)]
    Arguments(#[from] InvalidArguments),
    /// A checkpoint cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// `metrics.jsonl` cannot be written or read.
    #[error(transparent)]
    MetricsLog(#[from] MetricsLogError),
    /// The plot of the losses cannot be written.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// The order of the examples cannot be created or continued.
    #[error(transparent)]
    Sampler(#[from] SamplerError),
    /// The evaluation of a metric failed.
    #[error("evaluation: {0}")]
    Evaluation(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file of the processor or of the tokenizer is missing or malformed.
    #[error(transparent)]
    Processor(#[from] florence2_processor::Error),
    /// An error of the model or of its files.
    #[error(transparent)]
    Model(#[from] florence2_core::Error),
}

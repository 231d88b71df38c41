//! Errors of an evaluation.

use florence2_dataset::Source;
use florence2_metrics::{MaskError, MetricsError};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that ends an evaluation. The failure of a single sample does not:
/// [`Evaluation::failures`](crate::Evaluation::failures) lists it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A metric cannot be computed.
    #[error("{task}: {source}")]
    Metrics {
        /// The task.
        task: String,
        /// The values that cannot be used.
        source: MetricsError,
    },
    /// A mask cannot be made of the outlines of an example or its answer.
    #[error("{example}: {source}")]
    Mask {
        /// The example.
        example: Source,
        /// The outline that cannot be used.
        source: MaskError,
    },
    /// The model failed on every sample.
    #[error("found no answer to any of {count} samples, expected at least one; {first}")]
    NoAnswers {
        /// The number of samples.
        count: usize,
        /// The first failure.
        first: String,
    },
    /// The options of the generation are invalid, or it was cancelled.
    #[error(transparent)]
    Model(#[from] florence2_core::Error),
}

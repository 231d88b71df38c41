//! The errors of loading, running and saving the model.

use std::path::PathBuf;

use crate::weights::WeightsReport;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the model: one line that names the file, key or argument, what was found and what
/// was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("{path}: cannot be read")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file could not be written. An earlier file of the same path is unchanged.
    #[error("{path}: cannot be written")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file was read, but its contents are invalid.
    #[error("{file}: {reason}")]
    Malformed {
        /// The file, or the name of the buffer.
        file: String,
        /// The value found and the value expected.
        reason: String,
    },
    /// A configuration field has a value with which no model can be built.
    #[error("config field `{field}`: found {found}, expected {expected}")]
    Config {
        /// The field's full name, such as `vision_config.num_heads[2]`.
        field: String,
        /// The value.
        found: String,
        /// The accepted values.
        expected: String,
    },
    /// The checkpoint's tensors do not match the configured model.
    #[error("{0}")]
    Weights(Box<WeightsReport>),
    /// A tensor of the model is larger than the device's largest buffer.
    #[error("`{key}`: found {found} bytes, expected at most {limit}, the largest buffer")]
    TooLarge {
        /// The tensor's name in Hugging Face's layout.
        key: String,
        /// The size of the tensor on the device, in bytes.
        found: u64,
        /// The size of the largest buffer, in bytes.
        limit: u64,
    },
    /// An argument of a call is outside its domain.
    #[error("argument `{argument}`: found {found}, expected {expected}")]
    Argument {
        /// The argument's name.
        argument: &'static str,
        /// The value.
        found: String,
        /// The accepted values.
        expected: String,
    },
    /// More positions are required than the model was trained with.
    #[error("{what}: {found} positions are needed, the model has {limit}")]
    TooManyPositions {
        /// The sequence: the encoder's input or the decoder's output.
        what: &'static str,
        /// The number of required positions.
        found: usize,
        /// The number of positions of the model.
        limit: usize,
    },
    /// The model produced no usable probability: its weights or its input contain NaN or infinity.
    #[error("decoder step {step}: the scores are not finite, expected finite weights and pixels")]
    NotFinite {
        /// The step at which this was detected, from 0.
        step: usize,
    },
    /// The caller cancelled the run.
    #[error("cancelled")]
    Cancelled,
    /// The caller's deadline passed.
    #[error("the deadline passed before the answer was complete")]
    DeadlineExceeded,
}

impl From<florence2_checkpoint::Error> for Error {
    fn from(error: florence2_checkpoint::Error) -> Self {
        match error {
            florence2_checkpoint::Error::Io { path, source } => Self::Io { path, source },
            florence2_checkpoint::Error::Write { path, source } => Self::Write { path, source },
            florence2_checkpoint::Error::Malformed { file, reason } => {
                Self::Malformed { file, reason }
            }
            other => Self::malformed("weights", other),
        }
    }
}

impl Error {
    pub(crate) fn config(
        field: impl Into<String>,
        found: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        Self::Config {
            field: field.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    pub(crate) fn argument(
        argument: &'static str,
        found: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        Self::Argument {
            argument,
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    pub(crate) fn malformed(file: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Malformed {
            file: file.into(),
            reason: reason.to_string(),
        }
    }
}

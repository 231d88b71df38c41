//! Failures of calls, and the status of each error of the facade.

use std::fmt::Display;

use florence2::{Error, ModelError, ProcessorError, error_chain};

use crate::status::florence2_status;

/// The result of the body of an exported function.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// A failed call: the contents of a `florence2_error`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: florence2_status,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: florence2_status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// Creates the failure for an invalid argument: its name, the value found and the values
    /// accepted.
    pub(crate) fn argument(argument: &str, found: impl Display, expected: impl Display) -> Self {
        let message = format!("argument `{argument}`: found {found}, expected {expected}");
        Self::new(florence2_status::InvalidArgument, message)
    }

    /// Creates the failure for a panic with its message.
    pub(crate) fn panic(message: &str) -> Self {
        let message = format!("panic in the library: {message}");
        Self::new(florence2_status::Panic, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(status_of(&error), error_chain(&error))
    }
}

impl From<ProcessorError> for Failure {
    fn from(error: ProcessorError) -> Self {
        Error::from(error).into()
    }
}

/// Returns the status that reports an error of the facade.
fn status_of(error: &Error) -> florence2_status {
    match error {
        Error::Request { source, .. } => status_of(source),
        Error::Device { .. } | Error::DeviceUnavailable { .. } | Error::Dtype { .. } => {
            florence2_status::UnsupportedDevice
        }
        Error::DeviceFailed { .. } => florence2_status::DeviceFailed,
        Error::ProcessorFiles { .. } => florence2_status::Io,
        Error::Forked { .. } => florence2_status::Forked,
        Error::Processor(error) => match error {
            ProcessorError::Io { .. } => florence2_status::Io,
            ProcessorError::Image { .. } | ProcessorError::TooManyPixels { .. } => {
                florence2_status::InvalidImage
            }
            ProcessorError::Malformed { .. } => florence2_status::InvalidModel,
            _ => florence2_status::InvalidArgument,
        },
        Error::Model(error) => match error {
            ModelError::Io { .. } => florence2_status::Io,
            ModelError::Malformed { .. } | ModelError::Config { .. } | ModelError::Weights(_) => {
                florence2_status::InvalidModel
            }
            ModelError::NotFinite { .. } => florence2_status::NotFinite,
            ModelError::Cancelled => florence2_status::Cancelled,
            ModelError::DeadlineExceeded => florence2_status::DeadlineExceeded,
            _ => florence2_status::InvalidArgument,
        },
        _ => florence2_status::InvalidArgument,
    }
}

//! The error type of this crate. It includes the errors of the lower layers.

use std::error::Error as StdError;

use florence2_kernels::Dtype;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of loading or running a model. Its `Display` does not include its source;
/// [`error_chain`] does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of the image, the prompt, the tokenizer or the preprocessor's configuration.
    #[error(transparent)]
    Processor(#[from] florence2_processor::Error),
    /// A file of the preprocessor or the tokenizer is missing in the model folder.
    #[error(
        "a file of the processor is missing, expected it in the model folder or in the folder of \
         the option `processor` (--processor)"
    )]
    ProcessorFiles {
        /// The missing file.
        source: florence2_processor::Error,
    },
    /// An error of the weights, the configuration or the generation.
    #[error(transparent)]
    Model(#[from] florence2_core::Error),
    /// An error of one request of a batch.
    #[error("requests[{index}]")]
    Request {
        /// The request's index in the batch, from 0.
        index: usize,
        /// The error of the request.
        source: Box<Error>,
    },
    /// The threads of a model could not be started.
    #[error("threads: found {found}, which could not be started: {reason}")]
    Threads {
        /// The requested number of threads.
        found: usize,
        /// The reason.
        reason: String,
    },
    /// This process was forked after a model was loaded, and does not have the threads of its
    /// parent.
    #[error(
        "process {process}: found a fork of process {parent}, which had loaded a model, expected a \
         process that loads its own models"
    )]
    Forked {
        /// The id of the process that loaded the first model.
        parent: u32,
        /// The id of this process.
        process: u32,
    },
    /// A model on the hub, or one of its files, could not be downloaded.
    #[cfg(feature = "hub")]
    #[error("{what}: cannot be pulled: {reason}")]
    Hub {
        /// The model or file, as `ORG/NAME/FILE`.
        what: String,
        /// The reason.
        reason: String,
    },
    /// The device does not exist in this build.
    #[error("device: found `{found}`, expected one of {expected}")]
    Device {
        /// The requested device.
        found: String,
        /// The devices of this build on this machine.
        expected: String,
    },
    /// The device exists in this build, but is not usable on this machine.
    #[error("device `{device}`: {reason}")]
    DeviceUnavailable {
        /// The requested device.
        device: String,
        /// The value found and the value expected.
        reason: String,
    },
    /// The device failed during a computation: its memory ran out, or its driver reported an error.
    /// The model cannot be used any more; load it again.
    #[error("device `{device}`: failed: {reason}")]
    DeviceFailed {
        /// The device.
        device: String,
        /// The value found and the value expected.
        reason: String,
    },
    /// The device does not support weights of this type.
    #[error("dtype: found {found}, expected {} on device `{device}`", Dtype::choice(.expected))]
    Dtype {
        /// The device.
        device: String,
        /// The requested type.
        found: Dtype,
        /// The types that the device supports.
        expected: Vec<Dtype>,
    },
}

impl Error {
    /// The error for an invalid argument or option.
    pub(crate) fn argument(
        argument: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Model(florence2_core::Error::Argument {
            argument,
            found: found.into(),
            expected: expected.into(),
        })
    }
}

/// Returns the message of an error and of its sources in one line, joined by `: `.
///
/// ```
/// let error = florence2::Image::open("no-such-file.png").unwrap_err();
/// assert_eq!(error.to_string(), "no-such-file.png: cannot be read");
/// let message = florence2::error_chain(&error);
/// assert!(message.starts_with("no-such-file.png: cannot be read: "), "{message}");
/// ```
pub fn error_chain(error: &dyn StdError) -> String {
    let mut messages = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        messages.push(error.to_string());
        source = error.source();
    }
    messages.join(": ")
}

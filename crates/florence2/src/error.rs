//! One error type over the layers.

use florence2_kernels::Precision;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between an image and its answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image, the prompt, the tokenizer or the preprocessor's configuration.
    #[error(transparent)]
    Processor(#[from] florence2_processor::Error),
    /// A folder lacks a file of the preprocessor or the tokenizer.
    #[error("{source}; the option `processor` (--processor) names another folder that has it")]
    ProcessorFiles {
        /// The missing file.
        source: florence2_processor::Error,
    },
    /// The weights, the configuration or the generation.
    #[error(transparent)]
    Model(#[from] florence2_core::Error),
    /// One request of a batch.
    #[error("requests[{index}]: {source}")]
    Request {
        /// The request's place in the batch, from 0.
        index: usize,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// The threads of a model could not be started.
    #[error("threads: {found} could not be started: {reason}")]
    Threads {
        /// How many were asked for.
        found: usize,
        /// Why not.
        reason: String,
    },
    /// This process was forked after a model was loaded, and lacks the threads of its parent.
    #[error(
        "process {process}: found a fork of process {parent}, which had loaded a model before, \
         expected a process that loads its models itself"
    )]
    Forked {
        /// The process that loaded the first model.
        parent: u32,
        /// This process.
        process: u32,
    },
    /// A model on the hub, or one of its files.
    #[cfg(feature = "hub")]
    #[error("{what}: cannot be pulled: {reason}")]
    Hub {
        /// The model or file, as `ORG/NAME/FILE`.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The device does not exist in this build.
    #[error("device: found `{found}`, expected one of {expected}")]
    Device {
        /// What was asked for.
        found: String,
        /// The devices of this build on this machine.
        expected: String,
    },
    /// The device exists in this build, but cannot compute on this machine.
    #[error("device `{device}`: {reason}")]
    DeviceUnavailable {
        /// What was asked for.
        device: String,
        /// What was found and expected.
        reason: String,
    },
    /// The device failed at its work: its memory ran out, or its driver refused. The model gives no
    /// more answers; one that is loaded anew does.
    #[error("device `{device}`: failed: {reason}")]
    DeviceFailed {
        /// The device.
        device: String,
        /// What was found and expected.
        reason: String,
    },
    /// The device works, but not with weights of this type.
    #[error("dtype: found {found}, expected {} on device `{device}`", Precision::choice(.expected))]
    Dtype {
        /// The device.
        device: String,
        /// What was asked for.
        found: Precision,
        /// What the device has.
        expected: Vec<Precision>,
    },
}

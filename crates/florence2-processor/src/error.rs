//! The errors of invalid inputs.

use std::path::PathBuf;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the input. Its message is one line that names the file or argument, what was found
/// and what was expected.
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
    /// An image could not be decoded.
    #[error("{name}: not a readable image: {reason}")]
    Image {
        /// The file, or `image` for bytes.
        name: String,
        /// The message of the decoder.
        reason: String,
    },
    /// An image file has more pixels than the limit.
    #[error("{name}: {width}x{height} pixels, expected at most {limit} in all (max_pixels)")]
    TooManyPixels {
        /// The file, or `image` for bytes.
        name: String,
        /// The width in pixels.
        width: u32,
        /// The height in pixels.
        height: u32,
        /// [`crate::DecodeOptions::max_pixels`].
        limit: u64,
    },
    /// A pixel buffer is too short, its stride is too small, or its region is empty or lies outside
    /// the image.
    #[error("pixel buffer `{field}`: found {found}, expected {expected}")]
    PixelBuffer {
        /// The field.
        field: &'static str,
        /// The value.
        found: String,
        /// The accepted values.
        expected: String,
    },
    /// A configuration or tokenizer file is malformed.
    #[error("{file}: {reason}")]
    Malformed {
        /// The file, or the name of the buffer.
        file: String,
        /// The value found and the value expected.
        reason: String,
    },
    /// The task is not one of Florence-2's tasks.
    #[error("task: found `{0}`, expected one of Florence-2's tasks, such as <OD> or OD")]
    UnknownTask(String),
    /// The task takes no input, but an input was passed.
    #[error("task {task}: input `{input}` given, expected none")]
    UnexpectedInput {
        /// The task's token.
        task: &'static str,
        /// The input.
        input: String,
    },
    /// The task requires an input, but none was passed.
    #[error("task {task}: no input given, expected {expected}")]
    MissingInput {
        /// The task's token.
        task: &'static str,
        /// The required input.
        expected: &'static str,
    },
    /// The input is not of the kind that the task requires.
    #[error("task {task}: found the input `{found}`, expected {expected}")]
    InputKind {
        /// The task's token.
        task: &'static str,
        /// The input.
        found: String,
        /// The required input.
        expected: &'static str,
    },
    /// A prompt requires a location token that is not in the model's vocabulary.
    #[error("task {task}: the tokenizer has no token `{token}`, expected <loc_0> to <loc_999>")]
    MissingToken {
        /// The task's token.
        task: &'static str,
        /// The location token.
        token: String,
    },
    /// A region is not a valid box within the image.
    #[error("region: found {found}, expected {expected}")]
    Region {
        /// The box.
        found: String,
        /// The accepted values.
        expected: String,
    },
}

impl Error {
    pub(crate) fn malformed(file: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Malformed {
            file: file.into(),
            reason: reason.to_string(),
        }
    }
}

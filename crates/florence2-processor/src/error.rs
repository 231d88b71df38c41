//! Every way in which an input can be refused.

use std::path::PathBuf;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the input: one line that names the file or argument, what was found and what was
/// expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// An image could not be decoded.
    #[error("{name}: not a readable image: {reason}")]
    Image {
        /// The file, or `image` for bytes.
        name: String,
        /// What the decoder says.
        reason: String,
    },
    /// An image file has more pixels than the limit.
    #[error("{name}: {width}x{height} pixels, expected at most {limit} in all (max_pixels)")]
    TooManyPixels {
        /// The file, or `image` for bytes.
        name: String,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// [`crate::DecodeOptions::max_pixels`].
        limit: u64,
    },
    /// A pixel buffer does not hold the image that it is said to hold.
    #[error("pixel buffer `{field}`: found {found}, expected {expected}")]
    PixelBuffer {
        /// The field.
        field: &'static str,
        /// The value.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// A configuration or tokenizer file is not what its name promises.
    #[error("{file}: {reason}")]
    Malformed {
        /// The file, or the name of the buffer.
        file: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// The task is none of Florence-2's.
    #[error("task: found `{0}`, expected one of Florence-2's tasks, such as <OD> or OD")]
    UnknownTask(String),
    /// A task that takes no input was given one.
    #[error("task {task}: input `{input}` given, expected none")]
    UnexpectedInput {
        /// The task's token.
        task: &'static str,
        /// The input.
        input: String,
    },
    /// A task that needs an input was given none.
    #[error("task {task}: no input given, expected {expected}")]
    MissingInput {
        /// The task's token.
        task: &'static str,
        /// What the task needs.
        expected: &'static str,
    },
    /// A prompt needs a location token that the model's vocabulary lacks.
    #[error("task {task}: the tokenizer has no token `{token}`, expected <loc_0> to <loc_999>")]
    MissingToken {
        /// The task's token.
        task: &'static str,
        /// The location token.
        token: String,
    },
    /// A region is no box within the image.
    #[error("region: found {found}, expected {expected}")]
    Region {
        /// The box.
        found: String,
        /// What would be accepted.
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

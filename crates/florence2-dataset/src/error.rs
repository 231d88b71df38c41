//! Errors that end the reading of a data set.

use std::path::PathBuf;

use crate::report::Report;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that ends the reading of a data set. Faults of single entries are findings of a
/// [`Report`] instead. The message is one line that names the file or the option, what was found and
/// what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or a folder could not be opened or read.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file that the whole data set depends on is malformed.
    #[error("{path}: found {found}, expected {expected}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The value that was found.
        found: String,
        /// The values that are accepted.
        expected: String,
    },
    /// The folder has none of the layouts, or several files that could be the annotations.
    #[error("{path}: found {found}, expected {expected}")]
    Layout {
        /// The folder.
        path: PathBuf,
        /// The value that was found.
        found: String,
        /// The values that are accepted.
        expected: String,
    },
    /// An option is missing or does not fit the data set.
    #[error("{option}: found {found}, expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// The value that was found.
        found: String,
        /// The values that are accepted.
        expected: String,
    },
    /// No example can be used.
    #[error("{path}: found no usable example, expected at least one{}", first_finding(.report))]
    NoExamples {
        /// The data set.
        path: PathBuf,
        /// All findings.
        report: Box<Report>,
    },
    /// The regions of an augmented example cannot be written.
    #[error("{example}: the augmented regions cannot be written: {reason}")]
    Augment {
        /// The source of the example.
        example: String,
        /// The error of the writer.
        reason: florence2_postprocess::WriteError,
    },
    /// A cropped image could not be created.
    #[error("{example}: {source}")]
    Image {
        /// The source of the example.
        example: String,
        /// The error of the processor.
        source: florence2_processor::Error,
    },
}

/// The first of several findings, for the message of an error that has them all.
fn first_finding(report: &Report) -> String {
    match report.findings.as_slice() {
        [] => String::new(),
        [first] => format!("; {first}"),
        [first, rest @ ..] => format!("; {first}; and {} more findings", rest.len()),
    }
}

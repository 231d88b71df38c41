//! The errors that end a command.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// An error that ends a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// An error of the library.
    #[error(transparent)]
    Florence2(#[from] florence2::Error),
    /// A file could not be written.
    #[error("{path}: cannot be written: {reason}")]
    Write { path: String, reason: String },
    /// Standard output could not be written.
    #[error("standard output: cannot be written: {0}")]
    Output(io::Error),
    /// No model was specified, and this build has no demo model.
    #[cfg(not(feature = "demo"))]
    #[error("--model: found none, expected a folder (this build has no demo model)")]
    NoModel,
    /// A revision was specified for a model that is not on the hub.
    #[cfg(feature = "hub")]
    #[error("--revision: found `{revision}` with `{model}`, expected a model of the hub, ORG/NAME")]
    Revision { revision: String, model: String },
    /// There are more scales than adapters.
    #[error("--adapter-scale: found {found}, expected at most {expected}, one per --adapter")]
    AdapterScales { found: usize, expected: usize },
    /// Some images failed. Their errors have been printed.
    #[error("{failed} of {total} images failed")]
    Images { failed: usize, total: usize },
    /// The file of `verify --cases` cannot be read.
    #[error("--cases {path}: {reason}")]
    Cases { path: String, reason: String },
    /// The folder of `verify --images` does not exist.
    #[error("--images: found `{0}`, expected a folder")]
    ImageFolder(String),
    /// No case was published for a model of this width.
    #[error(
        "model: found d_model {found}, expected {expected}, the models that have cases \
         (Florence-2-base has 768, Florence-2-large 1024); --cases FILE names other cases"
    )]
    NoCases { found: usize, expected: String },
    /// Answers differ from the published outputs, or no case could be run. The cases have been
    /// printed.
    #[error("verification: found {passed} passed, {failed} failed, {skipped} skipped")]
    Verification {
        passed: usize,
        failed: usize,
        skipped: usize,
    },
    /// Arguments are invalid.
    #[error(transparent)]
    Arguments(#[from] florence2_train::InvalidArguments),
    /// A data set cannot be opened.
    #[error(transparent)]
    Dataset(#[from] florence2_dataset::Error),
    /// A training failed.
    #[error(transparent)]
    Training(#[from] florence2_train::Error),
    /// No example of a data set can be used. The report has been printed.
    #[error("{dataset}: found no usable example, expected at least one")]
    Unusable { dataset: String },
    /// The output folder of a training is not empty.
    #[error("--output {path}: found {found}, expected {expected}")]
    OutputFolder {
        path: String,
        found: String,
        expected: &'static str,
    },
    /// The handler of Ctrl-C cannot be installed.
    #[error("Ctrl-C: the handler cannot be installed: {0}")]
    Interrupt(String),
    /// The user ended a training.
    #[error(
        "stopped after step {step} of {total}; the checkpoint: {}; continue with: {command}",
        .checkpoint.display()
    )]
    Interrupted {
        step: u64,
        total: u64,
        checkpoint: PathBuf,
        command: String,
    },
    /// A metric cannot be computed.
    #[error(transparent)]
    Evaluation(#[from] florence2_eval::Error),
    /// The user ended an evaluation.
    #[error("interrupted after {answered} of {total} samples; no metric was computed")]
    EvaluationInterrupted { answered: usize, total: usize },
    /// The checkpoint does not fit its configuration. The differences have been printed.
    #[error("the checkpoint does not fit its configuration")]
    Unfit,
}

impl Failure {
    /// The message of the failure and of its sources, in one line. The messages of some errors already
    /// include those of their sources.
    pub(crate) fn message(&self) -> String {
        let mut message = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            let reason = error.to_string();
            if !message.ends_with(&reason) {
                message = format!("{message}: {reason}");
            }
            source = error.source();
        }
        message
    }
}

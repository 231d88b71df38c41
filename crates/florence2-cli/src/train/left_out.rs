//! The examples that a training leaves out.

use std::collections::BTreeMap;
use std::path::Path;

use florence2_dataset::{Dataset, Finding, Severity};
use florence2_train::{DatasetSource, ExampleError};

/// The faults for which the reader left out entries or parts of them.
pub(crate) fn reader_errors(dataset: &Dataset) -> Vec<&Finding> {
    let findings = dataset.report().findings.iter();
    findings
        .filter(|finding| finding.severity == Severity::Error)
        .collect()
}

/// Prints the examples of a data set that the reader or the training left out.
pub(crate) fn print_left_out(
    path: &Path,
    source: &DatasetSource<'_>,
    skipped: &BTreeMap<usize, ExampleError>,
) {
    let errors = reader_errors(source.dataset());
    if errors.is_empty() && skipped.is_empty() {
        return;
    }
    eprintln!("florence2: left out of {}:", path.display());
    for error in errors {
        eprintln!("  {error}");
    }
    for error in skipped.values() {
        eprintln!("  {error}");
    }
}

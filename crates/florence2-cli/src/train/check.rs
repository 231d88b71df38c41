//! `train --check`: reads whole data sets and reports what is wrong with them.

use std::ops::ControlFlow;
use std::path::Path;

use florence2_dataset::Report;
use florence2_train::DatasetSource;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::args::ReportFormat;
use crate::failure::Failure;
use crate::output::print;

/// Decodes all images of a data set, counts the tokens of all texts, and prints the report.
///
/// # Errors
/// [`Failure::Unusable`] if no example can be used.
pub(crate) fn check(
    path: &Path,
    source: &DatasetSource<'_>,
    format: ReportFormat,
) -> Result<(), Failure> {
    // INVARIANT: the template is a constant that parses.
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} images, {eta} left")
        .expect("a valid template");
    let bar = ProgressBar::new(0).with_style(style);
    let report = source.check(&mut |checked, images| {
        bar.set_length(images as u64);
        bar.set_position(checked as u64);
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    let mut usable = source.dataset().clone();
    usable.retain_valid(&report);
    print_report(path, &report, usable.len(), format)
}

/// Prints a report.
///
/// # Errors
/// [`Failure::Unusable`] if no example can be used.
pub(crate) fn print_report(
    path: &Path,
    report: &Report,
    usable: usize,
    format: ReportFormat,
) -> Result<(), Failure> {
    let dataset = path.display().to_string();
    match format {
        ReportFormat::Text => {
            print(format_args!("{dataset}"))?;
            print(report)?;
            print(format_args!("usable examples: {usable}"))?;
        }
        ReportFormat::Json => {
            // INVARIANT: a report is a struct of texts and numbers.
            let mut json = serde_json::to_value(report).expect("a report");
            json["dataset"] = Value::from(dataset.as_str());
            json["usable_examples"] = Value::from(usable);
            print(json)?;
        }
    }
    if usable == 0 {
        return Err(Failure::Unusable { dataset });
    }
    Ok(())
}

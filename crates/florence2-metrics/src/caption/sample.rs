//! Input of the metrics.

use crate::error::{InvalidValue, MetricsError};

/// A generated caption, and the reference captions of its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionSample {
    /// The generated caption.
    pub candidate: String,
    /// The reference captions, at least one.
    pub references: Vec<String>,
}

impl CaptionSample {
    /// Returns an error if there are no samples, or if samples have no references.
    pub(super) fn check(samples: &[Self]) -> Result<(), MetricsError> {
        if samples.is_empty() {
            return Err(MetricsError::NoSamples);
        }
        let without_references = samples
            .iter()
            .enumerate()
            .filter(|(_, sample)| sample.references.is_empty());
        let invalid = without_references.map(|(index, _)| InvalidValue {
            entry: format!("samples[{index}]"),
            field: "references",
            found: "none".to_owned(),
            expected: "at least one".to_owned(),
        });
        MetricsError::check(invalid.collect())
    }
}

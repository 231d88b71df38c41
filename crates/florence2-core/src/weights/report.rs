//! The differences between a checkpoint and a configuration.

use std::fmt;

/// A tensor whose shape is not the configured one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShapeMismatch {
    /// The checkpoint's key.
    pub key: String,
    /// The shape in the checkpoint.
    pub found: Vec<usize>,
    /// The shape that the configuration requires.
    pub expected: Vec<usize>,
}

/// All differences between a checkpoint and a configuration, found in one pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WeightsReport {
    /// The checkpoint's name, for messages.
    pub checkpoint: String,
    /// Keys that the model requires and the checkpoint lacks.
    pub missing: Vec<String>,
    /// Keys of the checkpoint that no module reads. They are not an error.
    pub unexpected: Vec<String>,
    /// Tensors with another shape.
    pub mismatched: Vec<ShapeMismatch>,
    /// Tensors with NaN or infinite values.
    pub not_finite: Vec<String>,
}

impl WeightsReport {
    /// Returns whether the checkpoint fits the configured model. Unexpected tensors are not an
    /// error.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.mismatched.is_empty() && self.not_finite.is_empty()
    }
}

impl fmt::Display for WeightsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: weights do not fit the configuration",
            self.checkpoint
        )?;
        list(f, "missing", &self.missing)?;
        list(f, "unexpected", &self.unexpected)?;
        let mismatched: Vec<String> = self
            .mismatched
            .iter()
            .map(|tensor| {
                let ShapeMismatch {
                    key,
                    found,
                    expected,
                } = tensor;
                format!("{key} found {found:?} expected {expected:?}")
            })
            .collect();
        list(f, "mis-shaped", &mismatched)?;
        list(f, "not finite", &self.not_finite)
    }
}

fn list(f: &mut fmt::Formatter<'_>, kind: &str, names: &[String]) -> fmt::Result {
    if names.is_empty() {
        return Ok(());
    }
    write!(f, "; {} {kind}: {}", names.len(), names.join(", "))
}

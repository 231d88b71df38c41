//! Checkpoints of either layout into a model: nothing is guessed, nothing is left random.

mod cast;
mod keys;
mod load;
mod lora;

use std::fmt;

pub use florence2_checkpoint::{Checkpoint, StoredTensor};

pub use cast::cast;
pub use keys::{KeyLayout, to_hugging_face_key};
pub use load::{LoadMonitor, LoadProgress, inspect, load, load_monitored};
pub use lora::Adapter;

/// A tensor whose shape is not the configured one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// The checkpoint's key.
    pub key: String,
    /// The shape in the checkpoint.
    pub found: Vec<usize>,
    /// The shape that the configuration asks for.
    pub expected: Vec<usize>,
}

/// Everything that is wrong between a checkpoint and a configuration, found in one pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WeightsReport {
    /// The checkpoint's name, for messages.
    pub checkpoint: String,
    /// Keys that the model needs and the checkpoint lacks.
    pub missing: Vec<String>,
    /// Keys of the checkpoint that no module takes.
    pub unexpected: Vec<String>,
    /// Tensors of another shape.
    pub mismatched: Vec<ShapeMismatch>,
    /// Tensors with NaN or infinite values.
    pub not_finite: Vec<String>,
}

impl WeightsReport {
    /// Whether checkpoint and configuration agree.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.mismatched.is_empty()
            && self.not_finite.is_empty()
    }
}

/// How many names of one kind a message lists before it only counts.
const LISTED: usize = 8;

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
    let shown = names[..names.len().min(LISTED)].join(", ");
    let more = names.len().saturating_sub(LISTED);
    write!(f, "; {} {kind}: {shown}", names.len())?;
    if more > 0 {
        write!(f, " and {more} more")?;
    }
    Ok(())
}

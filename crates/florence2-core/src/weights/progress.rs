//! The progress of loading.

use crate::error::Result;

/// The progress of loading a model's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LoadProgress {
    /// The number of the model's tensors that are loaded.
    pub tensors: usize,
    /// The number of the model's tensors.
    pub total_tensors: usize,
    /// The number of values in the loaded tensors.
    pub parameters: u64,
    /// The number of values in all tensors.
    pub total_parameters: u64,
}

/// A callback for the progress, called before the first tensor and after each. Its error ends the
/// loading.
pub type LoadMonitor<'a> = dyn FnMut(LoadProgress) -> Result<()> + 'a;

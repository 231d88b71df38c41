//! Inspection of model folders without loading them.

use std::path::Path;

use florence2_core::Florence2Config;
use florence2_core::weights::{self, Checkpoint, WeightsReport};
use florence2_kernels::Backend;

use crate::device::InspectBackend;
use crate::error::Result;
use crate::model_folder::ModelFolder;

/// Reads the configuration of a model folder and the headers of its weights, and compares them.
/// The values of the weights are not read, so their checksums are not verified.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) with the file that is missing or damaged, and with the
/// tensors whose values are missing.
pub fn inspect(
    directory: impl AsRef<Path>,
) -> Result<(Florence2Config, Checkpoint, WeightsReport)> {
    inspect_with(directory, None)
}

/// [`inspect`] with a weights file in place of those in the folder; see
/// [`LoadOptions::weights`](crate::LoadOptions::weights).
///
/// # Errors
/// Those of [`inspect`].
pub fn inspect_with(
    directory: impl AsRef<Path>,
    weights: Option<&Path>,
) -> Result<(Florence2Config, Checkpoint, WeightsReport)> {
    let folder = ModelFolder::new(directory.as_ref());
    let config_name = folder.config_path().display().to_string();
    let config = Florence2Config::from_json(&folder.config()?, &config_name)?;
    let checkpoint = folder.checkpoint(weights)?;
    let report = compare::<InspectBackend>(&config, &checkpoint)?;
    Ok((config, checkpoint, report))
}

/// Compares the names and shapes of the tensors.
fn compare<B: Backend>(config: &Florence2Config, checkpoint: &Checkpoint) -> Result<WeightsReport> {
    let report = weights::inspect::<B>(config, checkpoint, &B::Device::default())?;
    Ok(report)
}

//! Loads the model and the adapters of a command.

use std::path::{Path, PathBuf};

#[cfg(feature = "hub")]
use florence2::Hub;
use florence2::{AdapterOptions, Florence2, LoadOptions};

use crate::args::ModelArgs;
use crate::failure::Failure;
#[cfg(feature = "hub")]
use crate::pull;

/// Loads the specified model, otherwise the demo model.
pub(crate) fn load(args: &ModelArgs) -> Result<Florence2, Failure> {
    let mut options = LoadOptions::default()
        .device(&args.device)
        .dtype(args.dtype);
    options.weights.clone_from(&args.weights);
    options.processor.clone_from(&args.processor);
    options.adapters = adapters(&args.adapter, &args.adapter_scale)?;
    match &args.model {
        Some(model) => Ok(Florence2::load_with(
            folder(model, args.revision.as_deref())?,
            &options,
        )?),
        None => demo(&options),
    }
}

/// The adapters with their scales.
pub(crate) fn adapters(
    adapters: &[PathBuf],
    scales: &[f32],
) -> Result<Vec<AdapterOptions>, Failure> {
    if scales.len() > adapters.len() {
        return Err(Failure::AdapterScales {
            found: scales.len(),
            expected: adapters.len(),
        });
    }
    let scales = scales.iter().copied().chain(std::iter::repeat(1.0));
    let adapters = adapters
        .iter()
        .zip(scales)
        .map(|(folder, scale)| Ok(AdapterOptions::from(adapter_folder(folder)?).scale(scale)));
    adapters.collect()
}

/// Returns the folder of a model. A name `ORG/NAME` that is not an existing path is a model of the
/// hub; any other path is returned unchanged.
#[cfg(feature = "hub")]
pub(crate) fn folder(model: &Path, revision: Option<&str>) -> Result<PathBuf, Failure> {
    match (hub_id(model), revision) {
        (Some(id), revision) => pull::resolve(id, revision.unwrap_or(pull::REVISION)),
        (None, None) => Ok(model.to_owned()),
        (None, Some(revision)) => Err(Failure::Revision {
            revision: revision.to_owned(),
            model: model.display().to_string(),
        }),
    }
}

/// The path as the name of a model or adapter on the hub, if it is one and does not exist as a
/// file.
#[cfg(feature = "hub")]
fn hub_id(path: &Path) -> Option<&str> {
    path.to_str().filter(|id| !path.exists() && Hub::is_id(id))
}

/// Returns the folder of a LoRA adapter. A name `ORG/NAME` that is not an existing path is an
/// adapter of the hub; any other path is returned unchanged.
#[cfg(feature = "hub")]
fn adapter_folder(adapter: &Path) -> Result<PathBuf, Failure> {
    match hub_id(adapter) {
        Some(id) => pull::resolve_adapter(id),
        None => Ok(adapter.to_owned()),
    }
}

#[cfg(not(feature = "hub"))]
pub(crate) fn folder(model: &Path, _revision: Option<&str>) -> Result<PathBuf, Failure> {
    Ok(model.to_owned())
}

#[cfg(not(feature = "hub"))]
fn adapter_folder(adapter: &Path) -> Result<PathBuf, Failure> {
    Ok(adapter.to_owned())
}

#[cfg(feature = "demo")]
fn demo(options: &LoadOptions) -> Result<Florence2, Failure> {
    eprintln!(
        "florence2: using the demo model, which recognises only coloured shapes and short words"
    );
    Ok(Florence2::demo_with(options)?)
}

#[cfg(not(feature = "demo"))]
fn demo(_options: &LoadOptions) -> Result<Florence2, Failure> {
    Err(Failure::NoModel)
}

//! The model that a command asks for.

use std::path::{Path, PathBuf};

#[cfg(feature = "hub")]
use florence2::Hub;
use florence2::{Florence2, LoadOptions};

use crate::Failure;
use crate::args::ModelArgs;
#[cfg(feature = "hub")]
use crate::pull;

/// Loads the named model, else the demo model.
pub(crate) fn load(args: &ModelArgs) -> Result<Florence2, Failure> {
    let options = LoadOptions {
        device: args.device.clone(),
        dtype: args.dtype,
        adapters: args.adapter.clone(),
        ..LoadOptions::default()
    };
    match &args.model {
        Some(model) => Ok(Florence2::load_with(folder(model)?, &options)?),
        None => demo(&options),
    }
}

/// A name that is no folder but has the hub's form is the hub's.
#[cfg(feature = "hub")]
pub(crate) fn folder(model: &Path) -> Result<PathBuf, Failure> {
    match model.to_str() {
        Some(id) if !model.exists() && Hub::is_id(id) => pull::cached_or_pull(id),
        _ => Ok(model.to_owned()),
    }
}

#[cfg(not(feature = "hub"))]
pub(crate) fn folder(model: &Path) -> Result<PathBuf, Failure> {
    Ok(model.to_owned())
}

#[cfg(feature = "demo")]
fn demo(options: &LoadOptions) -> Result<Florence2, Failure> {
    eprintln!(
        "florence2: the demo model answers: it knows coloured shapes and short words, nothing else"
    );
    Ok(Florence2::demo_with(options)?)
}

#[cfg(not(feature = "demo"))]
fn demo(_options: &LoadOptions) -> Result<Florence2, Failure> {
    Err(Failure::NoModel)
}

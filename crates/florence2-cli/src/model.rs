//! The model that a command asks for.

use florence2::{Florence2, LoadOptions};

use crate::Failure;
use crate::args::ModelArgs;

/// Loads the named model, else the demo model.
pub(crate) fn load(args: &ModelArgs) -> Result<Florence2, Failure> {
    let options = LoadOptions {
        device: args.device.clone(),
        adapters: args.adapter.clone(),
        ..LoadOptions::default()
    };
    match &args.model {
        Some(directory) => Ok(Florence2::load_with(directory, &options)?),
        None => demo(&options),
    }
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

//! Devices by name. The backend is selected at run time among those of the build.

use std::ops::ControlFlow;

use crate::engine::{Engine, LoadedModel};
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu;
use crate::options::LoadOptions;
use florence2_core::weights::{Adapter, Checkpoint};
use florence2_core::{Florence2Config, Warning, weights};
use florence2_kernels::Backend;

/// Returns the devices of this machine that this build supports, best first: GPUs, the CPU, and
/// last the software implementations of a GPU. `auto` selects the first that works.
pub fn devices() -> Vec<String> {
    let cpus = cpus().into_iter().map(str::to_owned);
    #[cfg(feature = "gpu")]
    {
        let names = |software| {
            let gpus = gpu::gpus().filter(move |gpu| gpu.software == software);
            gpus.map(|gpu| gpu.name.clone())
        };
        names(false).chain(cpus).chain(names(true)).collect()
    }
    #[cfg(not(feature = "gpu"))]
    cpus.collect()
}

/// The CPU backends, best first.
fn cpus() -> Vec<&'static str> {
    let mut devices = Vec::new();
    if cfg!(feature = "flex") {
        devices.push("cpu");
    }
    if cfg!(feature = "ndarray") {
        devices.push("ndarray");
    }
    devices
}

/// Returns true if a device of this name is a CPU backend.
pub(crate) fn is_cpu(name: &str) -> bool {
    cpus().contains(&name)
}

/// A loaded model, the name of its device, and the warnings about its weights.
pub(crate) type Loaded = (String, Box<dyn Engine>, Vec<Warning>);

/// Loads weights onto a device. The result includes the device's name.
pub(crate) fn load(
    options: &LoadOptions,
    config: &Florence2Config,
    checkpoint: &Checkpoint,
    adapters: &[Adapter],
) -> Result<Loaded> {
    #[cfg(feature = "gpu")]
    if let Some(loaded) = gpu::load(options, config, checkpoint, adapters)? {
        return Ok(loaded);
    }
    let name = match options.device.as_str() {
        "auto" => cpus().first().copied().unwrap_or("auto"),
        name => name,
    };
    let engine = match name {
        #[cfg(feature = "flex")]
        "cpu" => load_on_cpu::<burn_flex::Flex>(name, options, config, checkpoint, adapters),
        #[cfg(feature = "ndarray")]
        "ndarray" => {
            load_on_cpu::<burn_ndarray::NdArray>(name, options, config, checkpoint, adapters)
        }
        _ => Err(Error::Device {
            found: options.device.clone(),
            expected: format!("auto, {}", devices().join(", ")),
        }),
    };
    let (engine, warnings) = engine?;
    Ok((name.to_owned(), engine, warnings))
}

fn load_on_cpu<B: Backend>(
    name: &str,
    options: &LoadOptions,
    config: &Florence2Config,
    checkpoint: &Checkpoint,
    adapters: &[Adapter],
) -> Result<(Box<dyn Engine>, Vec<Warning>)> {
    let precision = options.dtype;
    if !B::precisions().contains(&precision) {
        return Err(Error::Dtype {
            device: name.to_owned(),
            found: precision,
            expected: B::precisions().to_vec(),
        });
    }
    let device = B::Device::default();
    let (model, warnings) = {
        let mut monitor = load_monitor(options);
        weights::load_monitored::<B>(
            config,
            checkpoint,
            adapters,
            precision,
            &device,
            &mut monitor,
        )?
    };
    Ok((Box::new(LoadedModel(model)), warnings))
}

/// Reports the progress of loading weights to the caller's callback, and stops the loading if the
/// callback or the cancel token requests it.
pub(crate) fn load_monitor(
    options: &LoadOptions,
) -> impl FnMut(weights::LoadProgress) -> florence2_core::Result<()> {
    move |progress| {
        options.cancel.check()?;
        match options.progress.call(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(florence2_core::Error::Cancelled),
        }
    }
}

/// Compares names and shapes with any backend of the build: nothing is computed.
pub(crate) fn inspect(
    config: &Florence2Config,
    checkpoint: &Checkpoint,
) -> Result<weights::WeightsReport> {
    #[cfg(feature = "flex")]
    return Ok(weights::inspect::<burn_flex::Flex>(
        config,
        checkpoint,
        &burn_flex::FlexDevice,
    )?);
    #[cfg(all(feature = "ndarray", not(feature = "flex")))]
    return Ok(weights::inspect::<burn_ndarray::NdArray>(
        config,
        checkpoint,
        &burn_ndarray::NdArrayDevice::Cpu,
    )?);
    #[cfg(not(any(feature = "flex", feature = "ndarray")))]
    compile_error!("florence2 needs a backend: enable the feature flex or ndarray");
}

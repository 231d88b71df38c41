//! Devices by name. The device, and with it the backend, is selected at run time.

use florence2_kernels::Backend;

use crate::engine::Loaded;
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu;
use crate::load_input::LoadInput;

/// The backend of [`inspect`](crate::inspect()), which computes nothing.
#[cfg(feature = "flex")]
pub(crate) type InspectBackend = burn_flex::Flex;
#[cfg(all(feature = "ndarray", not(feature = "flex")))]
pub(crate) type InspectBackend = burn_ndarray::NdArray;
#[cfg(not(any(feature = "flex", feature = "ndarray")))]
compile_error!("florence2 needs a backend: enable the feature flex or ndarray");

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

/// Loads a model onto the device of its options.
pub(crate) fn load(input: &LoadInput<'_>) -> Result<Loaded> {
    #[cfg(feature = "gpu")]
    if let Some(loaded) = gpu::load(input)? {
        return Ok(loaded);
    }
    let device = input.options.device.as_str();
    let name = match device {
        "auto" => cpus().first().copied().unwrap_or("auto"),
        name => name,
    };
    match name {
        #[cfg(feature = "flex")]
        "cpu" => load_on_cpu::<burn_flex::Flex>(name, input),
        #[cfg(feature = "ndarray")]
        "ndarray" => load_on_cpu::<burn_ndarray::NdArray>(name, input),
        _ => Err(Error::Device {
            found: device.to_owned(),
            expected: format!("auto, {}", devices().join(", ")),
        }),
    }
}

fn load_on_cpu<B: Backend>(name: &str, input: &LoadInput<'_>) -> Result<Loaded> {
    input.check_dtype(name, B::dtypes())?;
    let (model, warnings) =
        input.load::<B>(&B::Device::default(), &mut input.options.load_monitor())?;
    Ok(Loaded {
        device: name.to_owned(),
        engine: Box::new(model),
        warnings,
    })
}

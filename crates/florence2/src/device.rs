//! Devices by name. The device, and with it the backend, is selected at run time.

use florence2_kernels::Backend;

use crate::device_work::DeviceWork;
use crate::engine::Loaded;
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu;
use crate::load_input::{LoadInput, check_dtype};
use crate::load_options::LoadOptions;

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
    match cpu(&input.options.device) {
        #[cfg(feature = "flex")]
        "cpu" => load_on_cpu::<burn_flex::Flex>("cpu", input),
        #[cfg(feature = "ndarray")]
        "ndarray" => load_on_cpu::<burn_ndarray::NdArray>("ndarray", input),
        _ => Err(unknown(&input.options.device)),
    }
}

/// Runs work on the device of the options.
pub(crate) fn run<W: DeviceWork>(options: &LoadOptions, work: W) -> Result<W::Output> {
    #[cfg(feature = "gpu")]
    if let Some(gpu) = gpu::select(options)? {
        return gpu.run(work);
    }
    match cpu(&options.device) {
        #[cfg(feature = "flex")]
        "cpu" => run_on_cpu::<burn_flex::Flex, W>("cpu", options, work),
        #[cfg(feature = "ndarray")]
        "ndarray" => run_on_cpu::<burn_ndarray::NdArray, W>("ndarray", options, work),
        _ => Err(unknown(&options.device)),
    }
}

/// The name of the CPU backend for a device that is no GPU.
fn cpu(device: &str) -> &str {
    match device {
        "auto" => cpus().first().copied().unwrap_or("auto"),
        name => name,
    }
}

fn unknown(device: &str) -> Error {
    Error::Device {
        found: device.to_owned(),
        expected: format!("auto, {}", devices().join(", ")),
    }
}

fn load_on_cpu<B: Backend>(name: &str, input: &LoadInput<'_>) -> Result<Loaded> {
    check_dtype(name, input.options.dtype, B::dtypes())?;
    let (model, warnings) =
        input.load::<B>(&B::Device::default(), &mut input.options.load_monitor())?;
    Ok(Loaded {
        device: name.to_owned(),
        engine: Box::new(model),
        warnings,
    })
}

fn run_on_cpu<B: Backend, W: DeviceWork>(
    name: &str,
    options: &LoadOptions,
    work: W,
) -> Result<W::Output> {
    check_dtype(name, options.dtype, B::dtypes())?;
    Ok(work.run::<B>(&B::Device::default()))
}

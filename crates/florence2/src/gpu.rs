//! GPUs by name: the GPUs that the backends of this build find, and their selection.

use std::sync::OnceLock;

#[cfg(feature = "cuda")]
use florence2_kernels::gpu::cuda::{self, Cuda, CudaDevice};
#[cfg(feature = "rocm")]
use florence2_kernels::gpu::rocm::{self, Rocm, RocmDevice};
#[cfg(feature = "wgpu")]
use florence2_kernels::gpu::wgpu::{self, Wgpu, WgpuDevice};
use florence2_kernels::gpu::{self as backends, Unavailable};
use florence2_kernels::{Dtype, tensor_dtype};

use crate::device_work::DeviceWork;
use crate::engine::Loaded;
use crate::error::{Error, Result};
use crate::gpu_engine::{load_on, run_on, start_on};
use crate::load_input::LoadInput;
use crate::load_options::LoadOptions;

/// A GPU of this machine.
pub(crate) struct Gpu {
    /// The backend and the GPU's index in it, such as `cuda:0`.
    pub(crate) name: String,
    /// True for a software implementation of a GPU, which is slower than the CPU backends.
    pub(crate) software: bool,
    device: Device,
}

enum Device {
    #[cfg(feature = "cuda")]
    Cuda(CudaDevice),
    #[cfg(feature = "rocm")]
    Rocm(RocmDevice),
    #[cfg(feature = "wgpu")]
    Wgpu(WgpuDevice),
}

/// A GPU backend of this build, and the GPUs that it found on this machine.
struct Found {
    names: &'static [&'static str],
    gpus: Result<Vec<Gpu>, Unavailable>,
}

/// Queries every backend once, because a driver takes time to respond.
fn found() -> &'static [Found] {
    static FOUND: OnceLock<Vec<Found>> = OnceLock::new();
    FOUND.get_or_init(|| {
        vec![
            #[cfg(feature = "cuda")]
            found_by(&["cuda"], cuda::adapters(), Device::Cuda),
            #[cfg(feature = "rocm")]
            found_by(&["rocm"], rocm::adapters(), Device::Rocm),
            #[cfg(feature = "wgpu")]
            found_by(&[wgpu::API, "wgpu"], wgpu::adapters(), Device::Wgpu),
        ]
    })
}

fn found_by<D>(
    names: &'static [&'static str],
    adapters: Result<Vec<backends::Adapter<D>>, Unavailable>,
    device: fn(D) -> Device,
) -> Found {
    let gpu = |(index, adapter): (usize, backends::Adapter<D>)| {
        let name = format!("{}:{index}", names[0]);
        log::debug!("device {name}: {}", adapter.name);
        Gpu {
            name,
            software: adapter.software,
            device: device(adapter.device),
        }
    };
    Found {
        names,
        gpus: adapters.map(|adapters| adapters.into_iter().enumerate().map(gpu).collect()),
    }
}

/// The GPUs of this machine that this build can use, best first.
pub(crate) fn gpus() -> impl Iterator<Item = &'static Gpu> {
    found()
        .iter()
        .filter_map(|found| found.gpus.as_deref().ok())
        .flatten()
}

/// The reason why no GPU is used, for each backend.
fn missing(dtype: Dtype) -> impl Iterator<Item = String> {
    found().iter().map(move |found| {
        let reason = match &found.gpus {
            Err(reason) => reason.to_string(),
            Ok(gpus) if gpus.iter().all(|gpu| gpu.software) => {
                "found only software implementations of a GPU".to_owned()
            }
            Ok(_) => format!("no GPU can load the model in {dtype}"),
        };
        format!("{}: {reason}", found.names[0])
    })
}

/// Returns the GPU of a name; `cuda` is `cuda:0`. `None` if the name is not that of a GPU backend
/// of this build.
fn by_name(name: &str) -> Result<Option<&'static Gpu>> {
    let (backend, index) = name.split_once(':').unwrap_or((name, "0"));
    let Some(found) = found().iter().find(|found| found.names.contains(&backend)) else {
        return Ok(None);
    };
    let Ok(index) = index.parse::<usize>() else {
        return Ok(None);
    };
    let unavailable = |reason| Error::DeviceUnavailable {
        device: name.to_owned(),
        reason,
    };
    let gpus = found
        .gpus
        .as_ref()
        .map_err(|reason| unavailable(reason.to_string()))?;
    let Some(gpu) = gpus.get(index) else {
        let count = gpus.len();
        let reason = format!("found {count} GPUs of this backend, expected an index below {count}");
        return Err(unavailable(reason));
    };
    Ok(Some(gpu))
}

/// Loads a model onto the GPU of a device name; `auto` selects the best that works. `None` if the
/// name is not that of a GPU, or if `auto` finds no GPU that supports the data type of the weights.
pub(crate) fn load(input: &LoadInput<'_>) -> Result<Option<Loaded>> {
    match input.options.device.as_str() {
        "auto" => load_on_best(input),
        name => {
            let gpu = by_name(name)?;
            gpu.map(|gpu| gpu.load(input)).transpose()
        }
    }
}

fn load_on_best(input: &LoadInput<'_>) -> Result<Option<Loaded>> {
    first_usable(input.options.dtype, |gpu| gpu.load(input))
}

/// Starts the GPU of a device name for work, as [`load`] selects it.
pub(crate) fn select(options: &LoadOptions) -> Result<Option<&'static Gpu>> {
    let start = |gpu: &'static Gpu| gpu.start(options.dtype).map(|()| gpu);
    match options.device.as_str() {
        "auto" => first_usable(options.dtype, start),
        name => by_name(name)?.map(start).transpose(),
    }
}

/// The result for the best GPU for which `attempt` succeeds.
fn first_usable<T>(dtype: Dtype, attempt: impl Fn(&'static Gpu) -> Result<T>) -> Result<Option<T>> {
    // A driver takes time to start, so no GPU is queried for a dtype that no GPU supports.
    if tensor_dtype(dtype).is_none() {
        log::info!("device auto: no GPU supports {dtype}, the CPU is used");
        return Ok(None);
    }
    for gpu in gpus().filter(|gpu| !gpu.software) {
        match attempt(gpu) {
            Err(error @ (Error::DeviceUnavailable { .. } | Error::Dtype { .. })) => {
                log::warn!("device auto: {} is not used: {error}", gpu.name);
            }
            result => return result.map(Some),
        }
    }
    let missing: Vec<String> = missing(dtype).collect();
    log::warn!(
        "device auto: no GPU is usable, the CPU is used: {}",
        missing.join("; ")
    );
    Ok(None)
}

impl Gpu {
    fn load(&self, input: &LoadInput<'_>) -> Result<Loaded> {
        match &self.device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => load_on::<Cuda>(&self.name, device, input),
            #[cfg(feature = "rocm")]
            Device::Rocm(device) => load_on::<Rocm>(&self.name, device, input),
            #[cfg(feature = "wgpu")]
            Device::Wgpu(device) => load_on::<Wgpu>(&self.name, device, input),
        }
    }

    fn start(&self, dtype: Dtype) -> Result<()> {
        match &self.device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => start_on::<Cuda>(&self.name, device, dtype),
            #[cfg(feature = "rocm")]
            Device::Rocm(device) => start_on::<Rocm>(&self.name, device, dtype),
            #[cfg(feature = "wgpu")]
            Device::Wgpu(device) => start_on::<Wgpu>(&self.name, device, dtype),
        }
    }

    /// Runs work on the GPU, which has been started.
    pub(crate) fn run<W: DeviceWork>(&self, work: W) -> Result<W::Output> {
        match &self.device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => run_on::<Cuda, W>(&self.name, device, work),
            #[cfg(feature = "rocm")]
            Device::Rocm(device) => run_on::<Rocm, W>(&self.name, device, work),
            #[cfg(feature = "wgpu")]
            Device::Wgpu(device) => run_on::<Wgpu, W>(&self.name, device, work),
        }
    }
}

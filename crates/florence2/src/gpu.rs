//! GPUs: their names and their backends.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;

use florence2_core::generate::{CancelToken, GeneratedSequence, GenerationObserver};
use florence2_core::weights::{self, Adapter, Checkpoint};
use florence2_core::{Error as ModelError, Florence2Config, Warning};
use florence2_kernels::Precision;
#[cfg(feature = "cuda")]
use florence2_kernels::gpu::cuda::{self, Cuda, CudaDevice};
#[cfg(feature = "rocm")]
use florence2_kernels::gpu::rocm::{self, Rocm, RocmDevice};
#[cfg(feature = "wgpu")]
use florence2_kernels::gpu::wgpu::{self, Wgpu, WgpuDevice};
use florence2_kernels::gpu::{
    self as backends, GpuBackend, Unavailable, precisions, start, watched,
};
use florence2_processor::{PixelValues, TokenizedPrompts};

use crate::device::{Loaded, load_monitor};
use crate::engine::{Engine, FeatureRow, Features, Generation, LoadedModel, TargetScore};
use crate::error::{Error, Result};
use crate::options::LoadOptions;

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
            ask(&["cuda"], cuda::adapters(), Device::Cuda),
            #[cfg(feature = "rocm")]
            ask(&["rocm"], rocm::adapters(), Device::Rocm),
            #[cfg(feature = "wgpu")]
            ask(&[wgpu::API, "wgpu"], wgpu::adapters(), Device::Wgpu),
        ]
    })
}

fn ask<D>(
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
fn missing(precision: Precision) -> impl Iterator<Item = String> {
    found().iter().map(move |found| {
        let reason = match &found.gpus {
            Err(reason) => reason.to_string(),
            Ok(gpus) if gpus.iter().all(|gpu| gpu.software) => {
                "found only a CPU that plays a GPU".to_owned()
            }
            Ok(_) => format!("no GPU takes the model in {precision}"),
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
        let reason = format!("found {count} of its kind, expected a number below {count}");
        return Err(unavailable(reason));
    };
    Ok(Some(gpu))
}

/// Loads weights onto the GPU of a device name; `auto` selects the best that works. The result
/// includes the GPU's name. `None` if the name is not that of a GPU, or if `auto` finds no GPU that
/// supports the precision.
pub(crate) fn load(
    options: &LoadOptions,
    config: &Florence2Config,
    checkpoint: &Checkpoint,
    adapters: &[Adapter],
) -> Result<Option<Loaded>> {
    let precision = options.dtype;
    let load = |gpu: &Gpu| {
        let loaded = match &gpu.device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => {
                load_on::<Cuda>(gpu, device, config, checkpoint, adapters, options)
            }
            #[cfg(feature = "rocm")]
            Device::Rocm(device) => {
                load_on::<Rocm>(gpu, device, config, checkpoint, adapters, options)
            }
            #[cfg(feature = "wgpu")]
            Device::Wgpu(device) => {
                load_on::<Wgpu>(gpu, device, config, checkpoint, adapters, options)
            }
        };
        let (engine, warnings) = loaded?;
        Ok(Some((gpu.name.clone(), engine, warnings)))
    };
    if options.device != "auto" {
        return by_name(&options.device)?.map_or(Ok(None), load);
    }
    // A driver takes time to start, so no GPU is queried for a precision that no GPU supports.
    if precision.dtype().is_none() {
        log::info!("device auto: the CPU computes, GPUs keep no weights in {precision}");
        return Ok(None);
    }
    for gpu in gpus().filter(|gpu| !gpu.software) {
        match load(gpu) {
            Err(error @ (Error::DeviceUnavailable { .. } | Error::Dtype { .. })) => {
                log::warn!("device auto: not {}: {error}", gpu.name);
            }
            loaded => return loaded,
        }
    }
    let missing: Vec<String> = missing(precision).collect();
    log::warn!(
        "device auto: no GPU to compute on, the CPU does: {}",
        missing.join("; ")
    );
    Ok(None)
}

fn load_on<B: GpuBackend>(
    gpu: &Gpu,
    device: &B::Device,
    config: &Florence2Config,
    checkpoint: &Checkpoint,
    adapters: &[Adapter],
    options: &LoadOptions,
) -> Result<(Box<dyn Engine>, Vec<Warning>)> {
    let precision = options.dtype;
    let unavailable = |reason: String| Error::DeviceUnavailable {
        device: gpu.name.clone(),
        reason,
    };
    let refused = |reason: Unavailable| unavailable(reason.to_string());
    let expected = precisions::<B>(device).map_err(refused)?;
    let taken = expected.contains(&precision);
    let Some(dtype) = precision.dtype().filter(|_| taken) else {
        return Err(Error::Dtype {
            device: gpu.name.clone(),
            found: precision,
            expected,
        });
    };
    start::<B>(device, dtype).map_err(refused)?;
    let loaded = watched::<B, _>(device, || {
        // A panic of the caller's callback is not a failure of the device.
        let mut panic = None;
        let mut monitor = load_monitor(options);
        let mut forward = |progress| {
            catch_unwind(AssertUnwindSafe(|| monitor(progress))).unwrap_or_else(|payload| {
                panic = Some(payload);
                Err(ModelError::Cancelled)
            })
        };
        let loaded = weights::load_monitored::<B>(
            config,
            checkpoint,
            adapters,
            precision,
            device,
            &mut forward,
        );
        (loaded, panic)
    });
    let (loaded, panic) = loaded.map_err(refused)?;
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
    let (model, warnings) = loaded.map_err(|error| match error {
        ModelError::TooLarge { .. } => unavailable(error.to_string()),
        error => Error::Model(error),
    })?;
    let engine = OnGpu {
        name: gpu.name.clone(),
        device: device.clone(),
        model: LoadedModel(model),
        failure: OnceLock::new(),
    };
    Ok((Box::new(engine), warnings))
}

/// A model on a GPU. Each call waits until its work on the device is complete. After a failure of
/// the device, this call and all later ones return an error: the operations that the backend could
/// not complete would disturb others on the same weights.
struct OnGpu<B: GpuBackend> {
    name: String,
    device: B::Device,
    model: LoadedModel<B>,
    failure: OnceLock<String>,
}

impl<B: GpuBackend> OnGpu<B> {
    fn watched<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.failure.get().is_none() {
            match watched::<B, _>(&self.device, work) {
                Ok(done) => return done,
                Err(reason) => drop(self.failure.set(reason.to_string())),
            }
        }
        Err(Error::DeviceFailed {
            device: self.name.clone(),
            reason: self.failure.get().cloned().unwrap_or_default(),
        })
    }
}

impl<B: GpuBackend> Engine for OnGpu<B> {
    fn config(&self) -> &Florence2Config {
        self.model.config()
    }

    fn encode_image(&self, pixel_values: PixelValues, cancel: &CancelToken) -> Result<Features> {
        self.watched(|| self.model.encode_image(pixel_values, cancel))
    }

    fn generate(
        &self,
        images: &[FeatureRow<'_>],
        prompts: &TokenizedPrompts,
        options: &Generation<'_>,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Vec<GeneratedSequence>>> {
        // A panic of the caller's callback is not a failure of the device.
        let mut panic = None;
        let mut forward = |event| match catch_unwind(AssertUnwindSafe(|| observer.notify(event))) {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) => ControlFlow::Break(()),
            Err(said) => {
                panic = Some(said);
                ControlFlow::Break(())
            }
        };
        let mut observer = GenerationObserver::new(&mut forward);
        let answers = self.watched(|| self.model.generate(images, prompts, options, &mut observer));
        match panic {
            Some(panic) => resume_unwind(panic),
            None => answers,
        }
    }

    fn score(
        &self,
        image: FeatureRow<'_>,
        prompts: &TokenizedPrompts,
        labels: &[u32],
    ) -> Result<TargetScore> {
        self.watched(|| self.model.score(image, prompts, labels))
    }
}

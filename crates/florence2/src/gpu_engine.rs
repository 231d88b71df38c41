//! Models on a GPU: failures of the device become errors, at load time and during a run.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;

use florence2_core::generate::{CancelToken, GeneratedSequence, GenerationObserver};
use florence2_core::{Error as ModelError, Florence2Config, Warning};
use florence2_kernels::gpu::{GpuBackend, Unavailable, dtypes, run_checked, start};
use florence2_kernels::{Dtype, tensor_dtype};
use florence2_processor::{PixelValues, TokenizedPrompts};

use crate::device_work::DeviceWork;
use crate::engine::{Engine, FeatureRow, Features, Generation, Loaded, LoadedModel};
use crate::error::{Error, Result};
use crate::load_input::{LoadInput, check_dtype};

/// Loads a model onto the GPU `device` with the name `name`.
///
/// # Errors
/// [`Error::DeviceUnavailable`] if the GPU does not work or the model does not fit its memory,
/// [`Error::Dtype`] if it does not support the data type of the weights.
pub(crate) fn load_on<B: GpuBackend>(
    name: &str,
    device: &B::Device,
    input: &LoadInput<'_>,
) -> Result<Loaded> {
    let unavailable = |reason: String| Error::DeviceUnavailable {
        device: name.to_owned(),
        reason,
    };
    let refused = |reason: Unavailable| unavailable(reason.to_string());
    start_on::<B>(name, device, input.options.dtype)?;
    let loaded = load_weights::<B>(device, input).map_err(refused)?;
    let (model, warnings) = loaded.map_err(|error| match error {
        ModelError::TooLarge { .. } => unavailable(error.to_string()),
        error => Error::Model(error),
    })?;
    let engine = OnGpu {
        name: name.to_owned(),
        device: device.clone(),
        model,
        failure: OnceLock::new(),
    };
    Ok(Loaded {
        device: name.to_owned(),
        engine: Box::new(engine),
        warnings,
    })
}

/// Starts the GPU `device` with the name `name`.
///
/// # Errors
/// [`Error::DeviceUnavailable`] if the GPU does not work, [`Error::Dtype`] if it does not support
/// `dtype`.
pub(crate) fn start_on<B: GpuBackend>(name: &str, device: &B::Device, dtype: Dtype) -> Result<()> {
    let refused = |reason: Unavailable| Error::DeviceUnavailable {
        device: name.to_owned(),
        reason: reason.to_string(),
    };
    let supported = dtypes::<B>(device).map_err(refused)?;
    check_dtype(name, dtype, &supported)?;
    // INVARIANT: the dtypes of a GPU are those with a data type.
    let dtype = tensor_dtype(dtype).expect("a data type");
    start::<B>(device, dtype).map_err(refused)
}

/// Runs work on the GPU `device` with the name `name`, and waits until it is complete.
///
/// # Errors
/// [`Error::DeviceFailed`] if the device failed.
pub(crate) fn run_on<B: GpuBackend, W: DeviceWork>(
    name: &str,
    device: &B::Device,
    work: W,
) -> Result<W::Output> {
    run_checked::<B, _>(device, || work.run::<B>(device)).map_err(|reason| Error::DeviceFailed {
        device: name.to_owned(),
        reason: reason.to_string(),
    })
}

type LoadedWeights<B> = florence2_core::Result<(LoadedModel<B>, Vec<Warning>)>;

/// Loads the weights. The outer error is a failure of the device. A panic of the caller's callback
/// is not one: it is resumed.
fn load_weights<B: GpuBackend>(
    device: &B::Device,
    input: &LoadInput<'_>,
) -> Result<LoadedWeights<B>, Unavailable> {
    let mut panic = None;
    let loaded = run_checked::<B, _>(device, || {
        let mut monitor = input.options.load_monitor();
        let mut forward = |progress| {
            catch_unwind(AssertUnwindSafe(|| monitor(progress))).unwrap_or_else(|payload| {
                panic = Some(payload);
                Err(ModelError::Cancelled)
            })
        };
        input.load::<B>(device, &mut forward)
    })?;
    match panic {
        Some(panic) => resume_unwind(panic),
        None => Ok(loaded),
    }
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
    fn run_checked<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.failure.get().is_none() {
            match run_checked::<B, _>(&self.device, work) {
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
        self.run_checked(|| self.model.encode_image(pixel_values, cancel))
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
            Err(payload) => {
                panic = Some(payload);
                ControlFlow::Break(())
            }
        };
        let mut observer = GenerationObserver::new(&mut forward);
        let answers =
            self.run_checked(|| self.model.generate(images, prompts, options, &mut observer));
        match panic {
            Some(panic) => resume_unwind(panic),
            None => answers,
        }
    }

    fn log_probs(
        &self,
        image: FeatureRow<'_>,
        prompt: &TokenizedPrompts,
        labels: &[u32],
    ) -> Result<Vec<f32>> {
        self.run_checked(|| self.model.log_probs(image, prompt, labels))
    }
}

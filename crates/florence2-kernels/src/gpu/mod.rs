//! The GPUs of this machine: asked for before a backend is touched, since the backends panic where a
//! driver is missing.

#[cfg(feature = "cuda")]
pub mod cuda;
mod kernel_cache;
#[cfg(feature = "rocm")]
pub mod rocm;
#[cfg(feature = "wgpu")]
pub mod wgpu;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{DType, Tensor, activation, backend::Backend as BurnBackend};

use crate::{Backend, Precision};

/// A GPU backend has nothing to compute on: one line that says what was found and what expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unavailable {
    reason: String,
}

impl Unavailable {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// Something to compute on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter<D> {
    /// The backend's own name of it.
    pub device: D,
    /// The maker's name of it, for people.
    pub name: String,
    /// Whether it is a CPU that plays a GPU.
    pub software: bool,
}

/// Starts a backend on a device: keeps its caches on disk, and has it compile and run a first kernel.
///
/// # Errors
/// [`Unavailable`] when the device cannot compute, or not with numbers of this type.
pub fn start<B: BurnBackend>(device: &B::Device, dtype: DType) -> Result<(), Unavailable> {
    kernel_cache::keep_on_disk();
    let first_kernel = || {
        if !B::supports_dtype(device, dtype) {
            return Err(Unavailable::new(format!(
                "no arithmetic with {dtype:?}, expected another number type"
            )));
        }
        let two = Tensor::<B, 1>::full([4], 2.0, (device, dtype));
        let sums: Vec<f32> = (two.clone() + two).into_data().iter::<f32>().collect();
        match sums.iter().all(|sum| *sum == 4.0) {
            true => Ok(()),
            false => Err(Unavailable::new(format!(
                "2 + 2 gave {sums:?}, expected 4.0"
            ))),
        }
    };
    // The one place where a backend's panic is caught: what a driver refuses at its start reaches
    // burn as `unwrap`. Nothing of ours is shared with it, and the backend's own state is a thread
    // that it starts anew at the next attempt.
    catch_unwind(AssertUnwindSafe(first_kernel)).unwrap_or_else(|panic| {
        let said = message(panic.as_ref());
        Err(Unavailable::new(format!(
            "the driver failed at the first kernel: {said}"
        )))
    })
}

/// The precisions in which a device computes.
///
/// # Errors
/// [`Unavailable`] when the device cannot compute at all.
pub fn precisions<B: Backend>(device: &B::Device) -> Result<Vec<Precision>, Unavailable> {
    start::<B>(device, DType::F32)?;
    let computes = |precision: &Precision| {
        let dtype = precision.dtype();
        dtype.is_some_and(|dtype| B::supports_dtype(device, dtype))
    };
    Ok(B::precisions().iter().copied().filter(computes).collect())
}

/// See [`crate::Backend::likeliest`].
pub(crate) fn likeliest<B: BurnBackend>(logits: Tensor<B, 2>, count: usize) -> Tensor<B, 2> {
    let log_probs = activation::log_softmax(logits.cast(DType::F32), 1);
    let entries = log_probs.clone().argtopk(count, 1);
    let largest = log_probs.gather(1, entries.clone());
    // f32 holds every number up to 2^24, and no vocabulary is as large.
    Tensor::cat(vec![largest, entries.float().cast(DType::F32)], 1)
}

/// The first line of what a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let said = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "no message",
    };
    said.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("no message")
}

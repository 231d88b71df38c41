//! The GPUs of this machine. They are queried before a backend is used, since backends panic if a
//! driver is missing.

mod backends;
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
use cubecl::Runtime;
use cubecl::future::block_on;
use cubecl::stream_id::StreamId;

use crate::{Backend, Dtype, tensor_dtype};

/// A GPU backend has no device, or its device failed. The message is one line with what was found
/// and what was expected.
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

/// A device that computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter<D> {
    /// The backend's identifier of the device.
    pub device: D,
    /// The manufacturer's name of the device, for display.
    pub name: String,
    /// True for a software driver, which runs on the CPU.
    pub software: bool,
}

/// Starts a backend on a device: configures its caches on disk, and compiles and runs a first
/// kernel.
///
/// # Errors
/// [`Unavailable`] if the device cannot compute, or not in this data type.
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
    catch_panic(first_kernel).unwrap_or_else(|message| {
        Err(Unavailable::new(format!(
            "the driver failed at the first kernel: {message}"
        )))
    })
}

/// A backend for GPUs.
pub trait GpuBackend: Backend {
    /// The runtime of its kernels.
    type Runtime: Runtime<Device = Self::Device>;
}

/// Runs work on a device, and waits until the device has completed it.
///
/// If a buffer is too large or memory runs out, a backend skips operations and returns stale
/// memory, or panics. Only waiting shows whether a result is valid. Later work of this thread is
/// not affected.
///
/// # Errors
/// [`Unavailable`] if the device failed, whatever the work returned.
pub fn run_checked<B: GpuBackend, T>(
    device: &B::Device,
    work: impl FnOnce() -> T,
) -> Result<T, Unavailable> {
    let done = catch_panic(work);
    let waited = catch_panic(|| B::sync(device));
    let message = match (waited, done) {
        (Ok(Ok(())), Ok(done)) => return Ok(done),
        (Ok(Err(error)), _) => cause(&error.to_string()).to_owned(),
        (Err(panic), _) | (_, Err(panic)) => device_error::<B>(device).unwrap_or(panic),
    };
    drop(catch_panic(|| B::memory_cleanup(device)));
    leave_stream();
    let limit = catch_panic(|| largest_buffer::<B>(device));
    let limit = limit.map_or(String::new(), |limit| {
        format!(", in buffers of at most {limit} bytes")
    });
    Err(Unavailable::new(format!(
        "{message}; expected enough memory{limit}"
    )))
}

/// The error below burn's fusion, which does not report it after a panic.
fn device_error<B: GpuBackend>(device: &B::Device) -> Option<String> {
    let waited = catch_panic(|| block_on(B::Runtime::client(device).sync()));
    let error = waited.ok()?.err()?;
    Some(cause(&error.to_string()).to_owned())
}

/// Switches this thread to another stream of operations. In the old one, later work would begin with
/// the operations that a panic left there.
#[allow(unsafe_code)]
fn leave_stream() {
    // The stream of a thread that has ended is not used any more.
    if let Ok(unused) = std::thread::spawn(StreamId::current).join() {
        // SAFETY: only this thread's operations go through its stream, from the next one on.
        unsafe { StreamId::swap(unused) };
    }
}

/// The maximum size of a buffer on a device, in bytes.
pub(crate) fn largest_buffer<B: GpuBackend>(device: &B::Device) -> u64 {
    B::Runtime::client(device).properties().memory.max_page_size
}

/// The only place where a backend's panics are caught: burn calls `unwrap` on the errors of a
/// driver. The state that the backend shares with other work belongs to its own threads, which
/// survive a panic.
fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| cause(message(panic.as_ref())).to_owned())
}

/// The dtypes in which a device computes.
///
/// # Errors
/// [`Unavailable`] if the device cannot compute at all.
pub fn dtypes<B: Backend>(device: &B::Device) -> Result<Vec<Dtype>, Unavailable> {
    start::<B>(device, DType::F32)?;
    let computes = |dtype: &Dtype| {
        let dtype = tensor_dtype(*dtype);
        dtype.is_some_and(|dtype| B::supports_dtype(device, dtype))
    };
    Ok(B::dtypes().iter().copied().filter(computes).collect())
}

/// See [`crate::Backend::top_k_log_softmax`].
pub(crate) fn top_k_log_softmax<B: BurnBackend>(
    logits: Tensor<B, 2>,
    count: usize,
) -> Tensor<B, 2> {
    let log_probs = activation::log_softmax(logits.cast(DType::F32), 1);
    let entries = log_probs.clone().argtopk(count, 1);
    let largest = log_probs.gather(1, entries.clone());
    // f32 represents every integer up to 2^24, and no vocabulary is as large.
    Tensor::cat(vec![largest, entries.float().cast(DType::F32)], 1)
}

/// The message of a panic.
fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "",
    }
}

/// The line of a message that states the root cause. cubecl's errors are lists of causes of several
/// lines each, and arrive in the panic message of `unwrap`.
fn cause(message: &str) -> &str {
    let bottom = message.rsplit("Caused by:").next().unwrap_or(message);
    let line = bottom.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or("no message").trim_start_matches("[Io(");
    line.rsplit("on an `Err` value: ").next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_at_the_bottom() {
        let message = "\nAn error happened\nCaused by:\n  The server is in an invalid state\n\
                    Caused by:\n  [Io(couldn't find resource\nNo backtrace), Io(another)]";
        assert_eq!(cause(message), "couldn't find resource");
        assert_eq!(
            cause("called `Result::unwrap()` on an `Err` value: CallError"),
            "CallError"
        );
        assert_eq!(cause("no adapter\nfound"), "no adapter");
        assert_eq!(cause(" \n"), "no message");
    }
}

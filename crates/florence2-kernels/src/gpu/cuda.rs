//! NVIDIA GPUs. The driver (libcuda) and the kernel compiler (NVRTC) are loaded at run time, the
//! latter with the headers of the CUDA toolkit. None of them is needed to build.

pub use burn_cuda::{Cuda, CudaDevice};

use std::path::PathBuf;

use cudarc::driver::{result as driver, sys as libcuda};
use cudarc::nvrtc::sys as nvrtc;

use super::{Adapter, Unavailable};

/// The header that every kernel includes.
const HEADER: &str = "include/cuda_runtime.h";

/// Lists the GPUs that CUDA reports, in its order.
///
/// # Errors
/// [`Unavailable`] if the driver, the kernel compiler, its headers or a GPU is missing.
pub fn adapters() -> Result<Vec<Adapter<CudaDevice>>, Unavailable> {
    if !is_driver_present() {
        let reason = "no CUDA driver found, expected libcuda.so.1 (nvcuda.dll on Windows)";
        return Err(Unavailable::new(reason));
    }
    if !is_nvrtc_present() {
        let reason = "no kernel compiler found, expected libnvrtc.so of a CUDA toolkit";
        return Err(Unavailable::new(reason));
    }
    find_headers()?;
    let failed = |error| Unavailable::new(format!("the CUDA driver refused: {error}"));
    driver::init().map_err(failed)?;
    let count = driver::device::get_count().map_err(failed)?;
    if count == 0 {
        return Err(Unavailable::new("the CUDA driver has no GPU, expected one"));
    }
    let adapter = |ordinal| {
        let name = driver::device::get(ordinal)
            .and_then(driver::device::get_name)
            .map_err(failed)?;
        Ok(Adapter {
            device: CudaDevice::new(ordinal as usize),
            name,
            software: false,
        })
    };
    (0..count).map(adapter).collect()
}

/// Checks for the headers in the places where cubecl searches, because cubecl panics if it finds
/// none.
fn find_headers() -> Result<(), Unavailable> {
    let folder: Option<PathBuf> = cubecl::cuda::install::cuda_path();
    match folder {
        Some(folder) if folder.join(HEADER).is_file() => Ok(()),
        Some(folder) => Err(Unavailable::new(format!(
            "no CUDA headers found in {}, expected {HEADER} there or below CUDA_PATH",
            folder.display()
        ))),
        None => Err(Unavailable::new(format!(
            "no CUDA headers found, expected {HEADER} below CUDA_PATH, /usr/local/cuda or /opt/cuda"
        ))),
    }
}

#[allow(unsafe_code)]
fn is_driver_present() -> bool {
    // SAFETY: loads the driver's library, as the first call into it would.
    unsafe { libcuda::is_culib_present() }
}

#[allow(unsafe_code)]
fn is_nvrtc_present() -> bool {
    // SAFETY: loads the compiler's library, as the first call into it would.
    unsafe { nvrtc::is_culib_present() }
}

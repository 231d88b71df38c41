//! AMD GPUs. The libraries of ROCm are loaded at run time.

pub use burn_rocm::{Rocm, RocmDevice};

use cubecl::Runtime;
use cubecl::hip::HipRuntime;

use super::{Adapter, Unavailable};

/// Lists the GPUs that ROCm reports, in its order.
///
/// # Errors
/// [`Unavailable`] if its libraries or a GPU is missing.
pub fn adapters() -> Result<Vec<Adapter<RocmDevice>>, Unavailable> {
    if !cubecl_hip_sys::is_available() {
        let reason = "no ROCm found, expected libamdhip64.so and libhiprtc.so";
        return Err(Unavailable::new(reason));
    }
    let found = HipRuntime::enumerate_all_devices(&());
    if found.is_empty() {
        return Err(Unavailable::new("ROCm has no GPU, expected one"));
    }
    let adapter = |index| Adapter {
        device: RocmDevice::new(index),
        name: format!("AMD GPU {index}"),
        software: false,
    };
    Ok((0..found.len()).map(adapter).collect())
}

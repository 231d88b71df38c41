//! Settings and effects that the whole process shares.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char};
use std::sync::{Mutex, PoisonError};

use crate::arguments;
use crate::boundary;
use crate::error::florence2_error;
use crate::failure::Failure;
use crate::status::florence2_status;
use crate::text::c_string;
use crate::version::FLORENCE2_ABI_VERSION;

/// Frees memory that the library keeps for later runs: buffers between layers, and freed memory that
/// its allocator has not yet returned to the system. Models, images and results stay. The next runs
/// allocate again. Waits until the threads of all models have done so; callable from any thread, also
/// while models run.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_trim() {
    boundary::value((), florence2::trim);
}

/// The library and the machine as a JSON object, for reports of faults: "version", "abi_version",
/// "os", "arch", "simd_level" (of the CPU's instructions in use), "threads" (of the process's pool),
/// "features" (of this build) and "devices". UTF-8, static. It looks for GPUs at the first call.
/// Callable from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_system_info_json() -> *const c_char {
    boundary::value(c"{}".as_ptr(), || keep(system_info()).as_ptr())
}

/// Sets the SIMD level of the device "cpu" for the whole process: the highest instruction set that it
/// uses. Callable before the first model is loaded; a later call succeeds for the level in use alone.
///
/// `level`: "portable"; on x86-64 "avx2", "avx2-vnni", "avx512", "avx512-vnni", "avx512-dot" or
/// "amx"; on AArch64 "neon" or "neon-dot". Without a call, the environment variable
/// FLORENCE2_CPU_LEVEL names the level, and without that it is the processor's highest. Below "amx",
/// the library does not request the permission to use AMX from Linux.
/// Fails with FLORENCE2_STATUS_INVALID_ARGUMENT when the processor lacks the level, no level has the
/// name, or another level is in use. Callable from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_simd_level_set(
    level: *const c_char,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header requires a string and a writable error or NULL.
    unsafe {
        boundary::call(error, || {
            let level = arguments::text("level", level)?;
            florence2::set_cpu_level(level)
                .map_err(|error| Failure::argument("level", error.found, error.expected))
        })
    }
}

fn system_info() -> CString {
    let mut info = florence2::SystemInfo::new().to_json();
    info["abi_version"] = FLORENCE2_ABI_VERSION.into();
    if (cfg!(feature = "handle-checks") || cfg!(debug_assertions))
        && let Some(features) = info["features"].as_array_mut()
    {
        features.push("handle-checks".into());
    }
    c_string(&info.to_string())
}

/// Keeps a text for as long as the process lives, each once.
fn keep(text: CString) -> &'static CStr {
    static TEXTS: Mutex<BTreeSet<&'static CStr>> = Mutex::new(BTreeSet::new());
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(&kept) = texts.get(text.as_c_str()) {
        return kept;
    }
    let kept: &'static CStr = Box::leak(text.into_boxed_c_str());
    texts.insert(kept);
    kept
}

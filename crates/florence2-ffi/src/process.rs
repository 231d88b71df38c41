//! Settings and effects that apply to the whole process.

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

/// Frees the memory that the library keeps for later runs: buffers between layers, and freed memory
/// that its allocator has not yet returned to the system.
///
/// Models, images, features and results remain valid. The next runs allocate memory again. The
/// function waits until the threads of all models have freed theirs. Any thread may call it, also
/// while models run.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_trim() {
    boundary::value((), florence2::trim);
}

/// Describes the library and the machine for a bug report.
///
/// Returns a JSON object as a static string with the keys "version", "abi_version", "os", "arch",
/// "simd_level" (of the device "cpu"), "threads" (of the shared pool), "features" (of this build)
/// and "devices". The first call searches for GPUs.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_system_info_json() -> *const c_char {
    boundary::value(c"{}".as_ptr(), || keep(system_info()).as_ptr())
}

/// Sets the SIMD level of the device "cpu" for the whole process: the highest instruction set that
/// it uses.
///
/// Call it before the first model is loaded. Later, it succeeds only for the level in use.
///
/// - `level`: the name of the level. Required. On x86-64 "portable", "avx2", "avx2-vnni", "avx512",
///   "avx512-vnni", "avx512-dot" or "amx"; on AArch64 "portable", "neon" or "neon-dot".
///
/// Without a call, the environment variable FLORENCE2_CPU_LEVEL selects the level. Without the
/// variable, it is the highest level that the processor has and the operating system permits. With
/// a level below "amx", the library does not request the AMX permission from Linux.
///
/// Returns FLORENCE2_STATUS_INVALID_ARGUMENT if no level has the name, if the processor lacks the
/// level, or if another level is in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_simd_level_set(
    level: *const c_char,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 3 and 5 of lib.rs.
    unsafe {
        boundary::call(error, || {
            let level = arguments::text("level", level)?;
            florence2::set_cpu_level(level)
                .map_err(|error| Failure::argument("level", error.found, error.expected))
        })
    }
}

/// The JSON object of [`florence2_system_info_json`].
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

/// Returns a copy of a text that lives until the process ends. Equal texts share one copy.
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

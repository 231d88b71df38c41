//! The devices on which a model can be loaded.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use crate::boundary;
use crate::text::c_string;

/// The names of the devices. The first call searches for GPUs.
fn devices() -> &'static [CString] {
    static DEVICES: OnceLock<Vec<CString>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        florence2::devices()
            .iter()
            .map(|name| c_string(name))
            .collect()
    })
}

/// Returns the number of devices of this machine that this build supports.
///
/// The first call of this function or of florence2_device_name searches for GPUs, which starts
/// their drivers.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_device_count() -> usize {
    boundary::value(0, || devices().len())
}

/// Returns the name of a device for the field `device` of florence2_load_options.
///
/// - `index`: 0 to florence2_device_count() - 1. The best device is first: GPUs such as "cuda:0",
///   then CPUs such as "cpu", then software implementations of a GPU.
///
/// Returns a static string, or NULL if `index` is out of range.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_device_name(index: usize) -> *const c_char {
    boundary::value(std::ptr::null(), || {
        let name = devices().get(index);
        name.map_or(std::ptr::null(), |name| name.as_ptr())
    })
}

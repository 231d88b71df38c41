//! The devices that a model can be loaded onto.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use crate::boundary;
use crate::text::c_string;

fn devices() -> &'static [CString] {
    static DEVICES: OnceLock<Vec<CString>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        florence2::devices()
            .iter()
            .map(|name| c_string(name))
            .collect()
    })
}

/// The number of devices that this build can use on this machine. Callable from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_device_count() -> usize {
    boundary::value(0, || devices().len())
}

/// The name of a device, best first, as the field `device` of florence2_load_options takes it: static.
/// NULL when there is no such index. Callable from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_device_name(index: usize) -> *const c_char {
    boundary::value(std::ptr::null(), || {
        let name = devices().get(index);
        name.map_or(std::ptr::null(), |name| name.as_ptr())
    })
}

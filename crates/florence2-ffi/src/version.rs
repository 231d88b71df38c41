//! Which library and which ABI this is.

use std::ffi::{CStr, c_char};

use crate::boundary;

/// The ABI that this header describes. It grows only when a program built against an older header
/// would no longer work; the SONAME carries it. New functions, statuses and option fields do not
/// change it.
pub const FLORENCE2_ABI_VERSION: u32 = 1;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("Cargo's version holds no NUL"),
    };

/// The ABI of the loaded library: a program may go on when it equals FLORENCE2_ABI_VERSION.
/// Callable from any thread, before anything else.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_abi_version() -> u32 {
    boundary::value(FLORENCE2_ABI_VERSION, || FLORENCE2_ABI_VERSION)
}

/// The version of the loaded library, such as "1.2.3": static.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_version() -> *const c_char {
    boundary::value(VERSION.as_ptr(), || VERSION.as_ptr())
}

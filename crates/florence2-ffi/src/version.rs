//! The versions of the library and of its ABI.

use std::ffi::{CStr, c_char};

use crate::boundary;

/// The version of the ABI that this header declares. It increases only if programs that were built
/// with an older header no longer work. The SONAME of the shared library contains it. New
/// functions, statuses and fields of option structs do not change it.
pub const FLORENCE2_ABI_VERSION: u32 = 1;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("Cargo's version holds no NUL"),
    };

/// Returns the ABI version of the loaded library. A program works with the library if this equals
/// FLORENCE2_ABI_VERSION.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_abi_version() -> u32 {
    boundary::value(FLORENCE2_ABI_VERSION, || FLORENCE2_ABI_VERSION)
}

/// Returns the version of the loaded library, such as "1.2.3", as a static string.
/// FLORENCE2_VERSION_STRING is the version of the header.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_version() -> *const c_char {
    boundary::value(VERSION.as_ptr(), || VERSION.as_ptr())
}

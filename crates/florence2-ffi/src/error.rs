//! Errors as C programs read them.

use std::ffi::{CString, c_char};

use crate::boundary::{self, ErrorHandle};
use crate::failure::Failure;
use crate::handle::Handle;
use crate::status::florence2_status;
use crate::text::c_string;

/// An error: a status, and a message of one line that names the argument, file or key, the value
/// found and the value expected.
///
/// Ownership: the failed call creates it; the caller frees it with florence2_error_free. Thread
/// safety: immutable; any number of threads may read it at the same time.
pub struct florence2_error {
    status: florence2_status,
    message: CString,
}

impl Handle for florence2_error {
    const NAME: &'static str = "error";
}

impl ErrorHandle for florence2_error {}

impl From<Failure> for florence2_error {
    fn from(failure: Failure) -> Self {
        Self {
            status: failure.status,
            message: c_string(&failure.message),
        }
    }
}

/// Returns the error's status; FLORENCE2_STATUS_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_error_status(error: *const florence2_error) -> florence2_status {
    // SAFETY: the header requires a live error or NULL.
    unsafe { boundary::read(error, florence2_status::Ok, |error| error.status) }
}

/// Returns the error's message.
///
/// Returns one line of UTF-8, borrowed from the error; the empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_error_message(error: *const florence2_error) -> *const c_char {
    // SAFETY: the header requires a live error or NULL.
    unsafe { boundary::read(error, c"".as_ptr(), |error| error.message.as_ptr()) }
}

/// Frees an error. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_error_free(error: *mut florence2_error) {
    // SAFETY: the header requires an error that no other thread uses, or NULL.
    unsafe { boundary::free(error) };
}

/// Returns the name of a status, such as "FLORENCE2_STATUS_IO".
///
/// `status`: a florence2_status.
/// Returns a static string; NULL if no status has the number. Thread safety: callable from any
/// thread.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_status_name(status: i32) -> *const c_char {
    boundary::value(std::ptr::null(), || {
        let status = florence2_status::from_number(status);
        status.map_or(std::ptr::null(), |status| status.name().as_ptr())
    })
}

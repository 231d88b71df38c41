//! Errors as C programs read them.

use std::ffi::{CString, c_char};

use crate::boundary::{self, ErrorHandle};
use crate::failure::Failure;
use crate::handle::Handle;
use crate::status::florence2_status;
use crate::text::c_string;

/// An error: a status and a message. The message is one line. It names the argument, file or key,
/// the value that was found and the value that was expected.
///
/// - Ownership: a failed call creates it. The caller frees it with florence2_error_free.
/// - Threads: it is immutable. Any number of threads may read it at the same time.
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

/// Returns the status of an error; FLORENCE2_STATUS_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_error_status(error: *const florence2_error) -> florence2_status {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(error, florence2_status::Ok, |error| error.status) }
}

/// Returns the message of an error: one line, borrowed from the error; the empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_error_message(error: *const florence2_error) -> *const c_char {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(error, c"".as_ptr(), |error| error.message.as_ptr()) }
}

/// Frees an error. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_error_free(error: *mut florence2_error) {
    // SAFETY: rules 1 and 2 of lib.rs.
    unsafe { boundary::free(error) };
}

/// Returns the name of a status, such as "FLORENCE2_STATUS_IO".
///
/// - `status`: a florence2_status.
///
/// Returns a static string, or NULL if no status has the number.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_status_name(status: i32) -> *const c_char {
    boundary::value(std::ptr::null(), || {
        let status = florence2_status::from_number(status);
        status.map_or(std::ptr::null(), |status| status.name().as_ptr())
    })
}

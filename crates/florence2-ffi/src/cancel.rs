//! Cancellation of calls.

use florence2::CancelToken;

use crate::boundary;
use crate::error::florence2_error;
use crate::handle::Handle;
use crate::status::florence2_status;

/// A cancel token. It ends calls before they are complete.
///
/// - Ownership: florence2_cancel_new creates it. The caller frees it with florence2_cancel_free
///   after the calls that use it have returned.
/// - Threads: any number of threads may use it at the same time.
///
/// The calls that use a token name it in the field `cancel` of florence2_load_options or
/// florence2_run_options. One token may serve any number of calls. A fired token stays fired.
pub struct florence2_cancel {
    pub(crate) token: CancelToken,
}

impl Handle for florence2_cancel {
    const NAME: &'static str = "cancel";
}

/// Creates a cancel token that is not fired.
///
/// - `cancel`: receives the token. Required. Free it with florence2_cancel_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_cancel_new(
    cancel: *mut *mut florence2_cancel,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rule 5 of lib.rs.
    unsafe {
        boundary::create(cancel, error, || {
            let token = CancelToken::default();
            Ok(florence2_cancel { token })
        })
    }
}

/// Cancels all calls that use a token, and all later calls with it. They fail with
/// FLORENCE2_STATUS_CANCELLED at their next check: before a tensor is loaded, a stage of the vision
/// tower, or a generated token.
///
/// - `cancel`: the token. If it is NULL, the function does nothing.
///
/// Any thread may call this function at any time, any number of times.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_cancel_fire(cancel: *const florence2_cancel) {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(cancel, (), |cancel| cancel.token.cancel()) }
}

/// Returns true if a token was fired; false for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_cancel_is_fired(cancel: *const florence2_cancel) -> bool {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(cancel, false, |cancel| cancel.token.is_cancelled()) }
}

/// Frees a cancel token. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_cancel_free(cancel: *mut florence2_cancel) {
    // SAFETY: rules 1 and 2 of lib.rs.
    unsafe { boundary::free(cancel) };
}

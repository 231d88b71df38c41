//! The boundary between C and Rust. Every exported function consists of one call of a function of
//! this module, which catches panics, checks handles and writes outputs.

use crate::failure::{Failure, Outcome};
use crate::handle::{Handle, borrow, drop_handle, into_handle};
use crate::option_struct::{MAX_OPTIONS_SIZE, Options};
use crate::panics::catch;
use crate::status::florence2_status;

/// The handle through which a caller receives a [`Failure`].
pub(crate) trait ErrorHandle: Handle + From<Failure> {}

/// Runs the body of an exported function that creates a handle. Writes the handle to `output`, or
/// the failure or panic to `error`.
///
/// # Safety
/// `output` and `error` are null or writable.
pub(crate) unsafe fn create<T: Handle, E: ErrorHandle>(
    output: *mut *mut T,
    error: *mut *mut E,
    body: impl FnOnce() -> Outcome<T>,
) -> florence2_status {
    // SAFETY: guaranteed by the caller.
    unsafe {
        call(error, || {
            write(output, std::ptr::null_mut());
            if output.is_null() {
                return Err(Failure::argument(
                    T::NAME,
                    "NULL",
                    "a pointer for the output",
                ));
            }
            let handle = into_handle(body()?);
            output.write(handle);
            Ok(())
        })
    }
}

/// Runs the body of an exported function that returns a status and creates no handle. Writes its
/// failure or panic to `error`.
///
/// # Safety
/// `error` is null or writable.
pub(crate) unsafe fn call<E: ErrorHandle>(
    error: *mut *mut E,
    body: impl FnOnce() -> Outcome<()>,
) -> florence2_status {
    // SAFETY: guaranteed by the caller.
    unsafe { write(error, std::ptr::null_mut()) };
    let Err(failure) = catch(body).and_then(|outcome| outcome) else {
        return florence2_status::Ok;
    };
    let status = failure.status;
    let report = || {
        log::debug!("{status:?}: {}", failure.message);
        // SAFETY: guaranteed by the caller.
        unsafe {
            if !error.is_null() {
                error.write(into_handle(E::from(failure)));
            }
        }
    };
    // If reporting the failure panics, the caller still receives the status.
    let _ = catch(report);
    status
}

/// Runs the body of an exported function that has neither outputs nor errors. Returns `otherwise`
/// if it panics.
pub(crate) fn value<R>(otherwise: R, body: impl FnOnce() -> R) -> R {
    catch(body).unwrap_or(otherwise)
}

/// Reads a value from a handle. Returns `otherwise` if the handle is null, or known to be freed, or
/// if `body` panics.
///
/// # Safety
/// `handle` is null, or points to a live `T` that outlives `'a`.
pub(crate) unsafe fn read<'a, T: Handle + 'a, R>(
    handle: *const T,
    otherwise: R,
    body: impl FnOnce(&'a T) -> R,
) -> R {
    // SAFETY: guaranteed by the caller.
    let read = catch(|| unsafe { borrow(handle) }.map(body));
    read.and_then(|read| read).unwrap_or(otherwise)
}

/// Takes the ownership of a handle from the caller and drops its value. Null is allowed.
///
/// # Safety
/// `handle` is null, or was returned by [`into_handle`] and not freed. No other thread uses it.
pub(crate) unsafe fn free<T: Handle>(handle: *mut T) {
    value((), || {
        if handle.is_null() {
            return;
        }
        // SAFETY: guaranteed by the caller.
        if !unsafe { drop_handle(handle) } {
            log::error!("{}: freed twice, or not made by this library", T::NAME);
        }
    });
}

/// Clears an option struct and sets its `struct_size`. Does nothing if `options` is null or if
/// `size` cannot be the size of an option struct.
///
/// # Safety
/// `options` is null, or `size` bytes are writable there.
pub(crate) unsafe fn init_struct<T: Options>(options: *mut T, size: usize) {
    value((), || {
        if options.is_null() || !(size_of::<usize>()..=MAX_OPTIONS_SIZE).contains(&size) {
            return;
        }
        // SAFETY: guaranteed by the caller. `size` includes the field `struct_size`.
        unsafe {
            std::ptr::write_bytes(options.cast::<u8>(), 0, size);
            options.cast::<usize>().write(size);
        }
    });
}

/// Writes a value to `place`, unless it is null.
///
/// # Safety
/// `place` is null or writable.
unsafe fn write<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: guaranteed by the caller.
        unsafe { place.write(value) };
    }
}

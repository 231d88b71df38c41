//! Handles: values on the heap to which C programs have opaque pointers.

use crate::failure::{Failure, Outcome};
use crate::registry::{self, Owner};

/// A type that C programs use through opaque pointers.
pub(crate) trait Handle {
    /// The argument's name in the header.
    const NAME: &'static str;
}

/// Moves a value to the heap and returns the pointer, which the caller owns.
pub(crate) fn into_handle<T: Handle>(value: T) -> *mut T {
    let handle = Box::into_raw(Box::new(value));
    registry::insert(handle, Owner::Caller);
    handle
}

/// Drops the value of a handle. Returns false, and drops nothing, if the registry does not contain
/// the handle or if another handle owns it.
///
/// # Safety
/// `handle` was returned by [`into_handle`] and is not freed. No other thread uses it.
pub(crate) unsafe fn drop_handle<T: Handle>(handle: *mut T) -> bool {
    let is_owned = registry::remove(handle, Owner::Caller);
    if is_owned {
        // SAFETY: guaranteed by the caller.
        drop(unsafe { Box::from_raw(handle) });
    }
    is_owned
}

/// Registers a value that a handle owns, so that callers may pass pointers to it to the library.
pub(crate) fn register_borrowed<T: Handle>(value: &T) {
    registry::insert(value, Owner::Handle);
}

/// Reverts [`register_borrowed`].
pub(crate) fn unregister_borrowed<T: Handle>(value: &T) {
    registry::remove(value, Owner::Handle);
}

/// Returns a reference to the value behind a handle. Null is an error.
///
/// # Safety
/// `handle` is null, or points to a live `T` that outlives `'a`.
pub(crate) unsafe fn borrow<'a, T: Handle>(handle: *const T) -> Outcome<&'a T> {
    // SAFETY: guaranteed by the caller.
    unsafe { borrow_optional(handle) }?
        .ok_or_else(|| Failure::argument(T::NAME, "NULL", "a pointer that this library returned"))
}

/// Returns a reference to the value behind a handle, or `None` for null.
///
/// # Safety
/// `handle` is null, or points to a live `T` that outlives `'a`.
pub(crate) unsafe fn borrow_optional<'a, T: Handle>(handle: *const T) -> Outcome<Option<&'a T>> {
    if !handle.is_null() && !registry::contains(handle) {
        let expected = "a pointer that this library returned and that is not freed";
        return Err(Failure::argument(T::NAME, "an unknown pointer", expected));
    }
    // SAFETY: guaranteed by the caller.
    Ok(unsafe { handle.as_ref() })
}

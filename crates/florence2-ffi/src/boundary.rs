//! The boundary between C and Rust. It catches panics, checks pointers and clears outputs. Every
//! exported function consists of one call of a function of this module.

use std::ffi::{CStr, c_char};

use crate::error::{Failure, florence2_error, florence2_status};
use crate::panics::catch;

/// The result of the body of an exported function.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// The maximum length of an array. A larger length is an error, which is returned before memory is
/// read.
pub(crate) const MAX_COUNT: usize = 65_536;

/// Runs the body of an exported function that creates a handle. Writes the handle to `output`, or
/// the failure or panic to `error`.
///
/// # Safety
/// `output` and `error` are null or writable.
pub(crate) unsafe fn create<T: Handle>(
    output: *mut *mut T,
    error: *mut *mut florence2_error,
    body: impl FnOnce() -> Outcome<T>,
) -> florence2_status {
    // SAFETY: the caller guarantees it.
    unsafe {
        call(error, || {
            write(output, std::ptr::null_mut());
            if output.is_null() {
                return Err(Failure::argument(T::NAME, "NULL", "a place for the output"));
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
pub(crate) unsafe fn call(
    error: *mut *mut florence2_error,
    body: impl FnOnce() -> Outcome<()>,
) -> florence2_status {
    // SAFETY: the caller guarantees it.
    unsafe { write(error, std::ptr::null_mut()) };
    let Err(failure) = catch(body).and_then(|outcome| outcome) else {
        return florence2_status::Ok;
    };
    let status = failure.status;
    let report = || {
        log::debug!("{status:?}: {}", failure.message);
        // SAFETY: the caller guarantees it.
        unsafe {
            if !error.is_null() {
                error.write(into_handle(florence2_error::from(failure)));
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
    // SAFETY: the caller guarantees it.
    let read = catch(|| unsafe { borrow(handle) }.map(body));
    read.and_then(|read| read).unwrap_or(otherwise)
}

/// A type to which callers own pointers.
pub(crate) trait Handle {
    /// The argument's name in the header.
    const NAME: &'static str;
}

/// Moves a value to the heap and passes its ownership to the caller.
pub(crate) fn into_handle<T: Handle>(value: T) -> *mut T {
    let handle = Box::into_raw(Box::new(value));
    live::insert(handle, live::Owner::Caller);
    handle
}

/// Registers a value that a handle owns, so that the caller may read it, until [`take_back`].
pub(crate) fn lend<T: Handle>(value: &T) {
    live::insert(value, live::Owner::Handle);
}

/// Ends the registration by [`lend`].
pub(crate) fn take_back<T: Handle>(value: &T) {
    live::remove(value, live::Owner::Handle);
}

/// Returns a reference to the value behind a handle. Null is an error.
///
/// # Safety
/// `handle` is null, or points to a live `T` that outlives `'a`.
pub(crate) unsafe fn borrow<'a, T: Handle>(handle: *const T) -> Outcome<&'a T> {
    // SAFETY: the caller guarantees it.
    unsafe { borrow_optional(handle) }?
        .ok_or_else(|| Failure::argument(T::NAME, "NULL", "a pointer from this library"))
}

/// Returns a reference to the value behind a handle, or `None` for null.
///
/// # Safety
/// `handle` is null, or points to a live `T` that outlives `'a`.
pub(crate) unsafe fn borrow_optional<'a, T: Handle>(handle: *const T) -> Outcome<Option<&'a T>> {
    if !handle.is_null() && !live::contains(handle) {
        let expected = "one that this library made and that is not freed";
        return Err(Failure::argument(T::NAME, "an unknown pointer", expected));
    }
    // SAFETY: the caller guarantees it.
    Ok(unsafe { handle.as_ref() })
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
        if !live::remove(handle, live::Owner::Caller) {
            log::error!("{}: freed twice, or not made by this library", T::NAME);
            return;
        }
        // SAFETY: the caller guarantees it.
        drop(unsafe { Box::from_raw(handle) });
    });
}

/// Returns the text of a caller's string, or `None` for null. Text that is not UTF-8 is an error.
///
/// # Safety
/// `string` is null, or ends with a NUL and does not change during `'a`.
pub(crate) unsafe fn optional_text<'a>(
    argument: &str,
    string: *const c_char,
) -> Outcome<Option<&'a str>> {
    if string.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller guarantees it.
    let bytes = unsafe { CStr::from_ptr(string) };
    match bytes.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let found = format!("no UTF-8 after {} bytes", error.valid_up_to());
            Err(Failure::argument(argument, found, "UTF-8"))
        }
    }
}

/// Returns the text of a caller's string. Null is an error.
///
/// # Safety
/// Those of [`optional_text`].
pub(crate) unsafe fn text<'a>(argument: &str, string: *const c_char) -> Outcome<&'a str> {
    // SAFETY: the caller guarantees it.
    unsafe { optional_text(argument, string) }?
        .ok_or_else(|| Failure::argument(argument, "NULL", "a string"))
}

/// Returns a caller's byte buffer as a slice.
///
/// # Safety
/// `data` is null, or `len` bytes are readable there and do not change during `'a`.
pub(crate) unsafe fn bytes<'a>(argument: &str, data: *const u8, len: usize) -> Outcome<&'a [u8]> {
    // SAFETY: the caller guarantees it.
    unsafe { slice(argument, data, len, isize::MAX as usize) }
}

/// Returns a caller's array of at most [`MAX_COUNT`] elements as a slice.
///
/// # Safety
/// `data` is null, or `len` values are readable there and do not change during `'a`.
pub(crate) unsafe fn array<'a, T>(argument: &str, data: *const T, len: usize) -> Outcome<&'a [T]> {
    // SAFETY: the caller guarantees it.
    unsafe { slice(argument, data, len, MAX_COUNT) }
}

/// # Safety
/// Those of [`array`].
unsafe fn slice<'a, T>(
    argument: &str,
    data: *const T,
    len: usize,
    limit: usize,
) -> Outcome<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if len > limit {
        let length = format!("{argument}_len");
        return Err(Failure::argument(&length, len, format!("at most {limit}")));
    }
    if data.is_null() {
        let expected = format!("{len} of them, as {argument}_len says");
        return Err(Failure::argument(argument, "NULL", expected));
    }
    // SAFETY: the caller guarantees it; not null, and no longer than a slice may be.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// An option struct. Later versions of the library append fields to it.
///
/// # Safety
/// The type is `repr(C)`, its first field is `struct_size`, and it is valid if all its bytes are
/// zero.
pub(crate) unsafe trait Options: Copy {
    /// The argument's name in the header.
    const NAME: &'static str;
    /// The size of the struct in the first version of the ABI: a constant, which does not change
    /// when the struct gets new fields.
    const FIRST_SIZE: usize;
}

/// Returns the size for the target's pointer width.
pub(crate) const fn first_size(on_64_bit: usize, on_32_bit: usize) -> usize {
    if cfg!(target_pointer_width = "64") {
        on_64_bit
    } else {
        on_32_bit
    }
}

/// The maximum size of an option struct. A larger `struct_size` is uninitialised memory.
const MAX_OPTIONS_SIZE: usize = 4096;

/// Copies a caller's option struct to this version's struct. Fields that the caller's version lacks
/// are zero. Fields that this version lacks must be zero. Returns `None` for null.
///
/// # Safety
/// `options` is null, or the number of bytes in its `struct_size` is readable there.
pub(crate) unsafe fn options<T: Options>(options: *const T) -> Outcome<Option<T>> {
    const { assert!(T::FIRST_SIZE <= size_of::<T>()) };
    if options.is_null() {
        return Ok(None);
    }
    // SAFETY: every options struct begins with its size.
    let size = unsafe { options.cast::<usize>().read() };
    check_size::<T>(size)?;
    // SAFETY: the caller guarantees it.
    let given = unsafe { std::slice::from_raw_parts(options.cast::<u8>(), size) };
    let (known, unknown) = given.split_at(size.min(size_of::<T>()));
    if unknown.iter().any(|byte| *byte != 0) {
        let known = size_of::<T>();
        return refuse_size::<T, _>(
            size,
            &format!("zeros after byte {known}: this library is older than the header"),
        );
    }
    // SAFETY: zero is valid for every options struct, and so is what a caller put into it.
    unsafe {
        let mut value = std::mem::zeroed::<T>();
        std::ptr::copy_nonoverlapping(known.as_ptr(), (&raw mut value).cast(), known.len());
        Ok(Some(value))
    }
}

/// Checks the size of an option struct, before further fields are read.
pub(crate) fn check_size<T: Options>(size: usize) -> Outcome<()> {
    if (T::FIRST_SIZE..=MAX_OPTIONS_SIZE).contains(&size) {
        return Ok(());
    }
    let expected = format!("sizeof(*{}), {} here", T::NAME, size_of::<T>());
    refuse_size::<T, _>(size, &expected)
}

fn refuse_size<T: Options, R>(size: usize, expected: &str) -> Outcome<R> {
    let name = format!("{}.struct_size", T::NAME);
    Err(Failure::argument(&name, size, expected))
}

/// Checks that a reserved field is zero. A later version may define the field.
pub(crate) fn reserved(argument: &str, value: u32) -> Outcome<()> {
    match value {
        0 => Ok(()),
        other => Err(Failure::argument(argument, other, 0)),
    }
}

/// Clears an option struct and sets its size.
///
/// # Safety
/// `options` is null, or `size` bytes are writable there.
pub(crate) unsafe fn init_options<T: Options>(options: *mut T, size: usize) {
    value((), || {
        if options.is_null() || !(size_of::<usize>()..=MAX_OPTIONS_SIZE).contains(&size) {
            return;
        }
        // SAFETY: the caller guarantees it; there is room for the size.
        unsafe {
            std::ptr::write_bytes(options.cast::<u8>(), 0, size);
            options.cast::<usize>().write(size);
        }
    });
}

/// # Safety
/// `place` is null or writable.
unsafe fn write<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: the caller guarantees it.
        unsafe { place.write(value) };
    }
}

/// The registry of the values to which callers may point. It checks pointers in debug builds and
/// with the feature `handle-checks`, and does nothing otherwise.
mod live {
    /// The owner, which frees a value.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Owner {
        Caller,
        Handle,
    }

    #[cfg(any(debug_assertions, feature = "handle-checks"))]
    mod checked {
        use std::any::type_name;
        use std::collections::BTreeMap;
        use std::sync::{Mutex, MutexGuard, PoisonError};

        use super::Owner;

        /// Owners by address and type name: a value and its first field have the same address.
        type Values = BTreeMap<(usize, &'static str), Owner>;

        static VALUES: Mutex<Values> = Mutex::new(Values::new());

        fn values() -> MutexGuard<'static, Values> {
            VALUES.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn key<T>(value: *const T) -> (usize, &'static str) {
            (value.addr(), type_name::<T>())
        }

        pub(crate) fn insert<T>(value: *const T, owner: Owner) {
            values().insert(key(value), owner);
        }

        pub(crate) fn contains<T>(value: *const T) -> bool {
            values().contains_key(&key(value))
        }

        pub(crate) fn remove<T>(value: *const T, owner: Owner) -> bool {
            let mut values = values();
            let found = values.get(&key(value)) == Some(&owner);
            if found {
                values.remove(&key(value));
            }
            found
        }
    }

    #[cfg(not(any(debug_assertions, feature = "handle-checks")))]
    mod unchecked {
        use super::Owner;

        pub(crate) fn insert<T>(_: *const T, _: Owner) {}

        pub(crate) fn contains<T>(_: *const T) -> bool {
            true
        }

        pub(crate) fn remove<T>(_: *const T, _: Owner) -> bool {
            true
        }
    }

    #[cfg(any(debug_assertions, feature = "handle-checks"))]
    pub(crate) use checked::{contains, insert, remove};
    #[cfg(not(any(debug_assertions, feature = "handle-checks")))]
    pub(crate) use unchecked::{contains, insert, remove};
}

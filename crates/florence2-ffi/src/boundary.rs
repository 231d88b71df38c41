//! The boundary between C and Rust: it catches panics, checks pointers and clears outputs. Every
//! exported function consists of one call of a function of this module.

use std::ffi::{CStr, c_char};

use crate::error::{Failure, florence2_error, florence2_status};
use crate::panics::catch;

/// The result of an exported function's body.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// The largest count of anything. A larger one is refused before memory is read.
pub(crate) const MAX_COUNT: usize = 65_536;

/// Runs the body of an exported function that makes a handle: its value becomes the output, its
/// failure or panic the error.
///
/// # Safety
/// `output` and `error` are null, or may be written.
pub(crate) unsafe fn create<T: Handle>(
    output: *mut *mut T,
    error: *mut *mut florence2_error,
    body: impl FnOnce() -> Outcome<T>,
) -> florence2_status {
    // SAFETY: as this function's.
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

/// [`create`] for a function whose output is no handle.
///
/// # Safety
/// `error` is null, or may be written.
pub(crate) unsafe fn call(
    error: *mut *mut florence2_error,
    body: impl FnOnce() -> Outcome<()>,
) -> florence2_status {
    // SAFETY: as this function's.
    unsafe { write(error, std::ptr::null_mut()) };
    let Err(failure) = catch(body).and_then(|outcome| outcome) else {
        return florence2_status::Ok;
    };
    let status = failure.status;
    let report = || {
        log::debug!("{status:?}: {}", failure.message);
        // SAFETY: as this function's.
        unsafe {
            if !error.is_null() {
                error.write(into_handle(florence2_error::from(failure)));
            }
        }
    };
    // A failure that cannot be reported still has its status.
    let _ = catch(report);
    status
}

/// Runs the body of an exported function that has neither outputs nor errors. Returns `otherwise`
/// when it panics.
pub(crate) fn value<R>(otherwise: R, body: impl FnOnce() -> R) -> R {
    catch(body).unwrap_or(otherwise)
}

/// Reads something of a handle; `otherwise` when the handle is null or was freed.
///
/// # Safety
/// `handle` is null, or points to a living `T`, which outlives `'a`.
pub(crate) unsafe fn read<'a, T: Handle + 'a, R>(
    handle: *const T,
    otherwise: R,
    body: impl FnOnce(&'a T) -> R,
) -> R {
    // SAFETY: as this function's.
    let read = catch(|| unsafe { borrow(handle) }.map(body));
    read.and_then(|read| read).unwrap_or(otherwise)
}

/// A type of which callers own pointers.
pub(crate) trait Handle {
    /// The argument's name, as in the header.
    const NAME: &'static str;
}

/// Gives a value to the caller.
pub(crate) fn into_handle<T: Handle>(value: T) -> *mut T {
    let handle = Box::into_raw(Box::new(value));
    live::insert(handle, live::Owner::Caller);
    handle
}

/// Lets the caller read a value that one of its handles holds, until [`take_back`].
pub(crate) fn lend<T: Handle>(value: &T) {
    live::insert(value, live::Owner::Handle);
}

/// Ends [`lend`].
pub(crate) fn take_back<T: Handle>(value: &T) {
    live::remove(value, live::Owner::Handle);
}

/// The value that the caller points to.
///
/// # Safety
/// `handle` is null, or points to a living `T`, which outlives `'a`.
pub(crate) unsafe fn borrow<'a, T: Handle>(handle: *const T) -> Outcome<&'a T> {
    // SAFETY: as this function's.
    unsafe { borrow_optional(handle) }?
        .ok_or_else(|| Failure::argument(T::NAME, "NULL", "a pointer from this library"))
}

/// [`borrow`] where null is allowed.
///
/// # Safety
/// As [`borrow`].
pub(crate) unsafe fn borrow_optional<'a, T: Handle>(handle: *const T) -> Outcome<Option<&'a T>> {
    if !handle.is_null() && !live::contains(handle) {
        let expected = "one that this library made and that is not freed";
        return Err(Failure::argument(T::NAME, "an unknown pointer", expected));
    }
    // SAFETY: as this function's.
    Ok(unsafe { handle.as_ref() })
}

/// Takes a value back from the caller and drops it.
///
/// # Safety
/// `handle` is null, or was made by [`into_handle`] and not freed; nobody uses it any more.
pub(crate) unsafe fn free<T: Handle>(handle: *mut T) {
    value((), || {
        if handle.is_null() {
            return;
        }
        if !live::remove(handle, live::Owner::Caller) {
            log::error!("{}: freed twice, or not made by this library", T::NAME);
            return;
        }
        // SAFETY: as this function's.
        drop(unsafe { Box::from_raw(handle) });
    });
}

/// The text that a caller's string holds; none when it is null.
///
/// # Safety
/// `string` is null, or ends with a NUL and stays unchanged during `'a`.
pub(crate) unsafe fn optional_text<'a>(
    argument: &str,
    string: *const c_char,
) -> Outcome<Option<&'a str>> {
    if string.is_null() {
        return Ok(None);
    }
    // SAFETY: as this function's.
    let bytes = unsafe { CStr::from_ptr(string) };
    match bytes.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let found = format!("no UTF-8 after {} bytes", error.valid_up_to());
            Err(Failure::argument(argument, found, "UTF-8"))
        }
    }
}

/// [`optional_text`] that must be there.
///
/// # Safety
/// As [`optional_text`].
pub(crate) unsafe fn text<'a>(argument: &str, string: *const c_char) -> Outcome<&'a str> {
    // SAFETY: as this function's.
    unsafe { optional_text(argument, string) }?
        .ok_or_else(|| Failure::argument(argument, "NULL", "a string"))
}

/// A caller's bytes.
///
/// # Safety
/// `data` is null, or `len` bytes can be read there, unchanged during `'a`.
pub(crate) unsafe fn bytes<'a>(argument: &str, data: *const u8, len: usize) -> Outcome<&'a [u8]> {
    // SAFETY: as this function's.
    unsafe { slice(argument, data, len, isize::MAX as usize) }
}

/// A caller's array.
///
/// # Safety
/// `data` is null, or `len` values can be read there, unchanged during `'a`.
pub(crate) unsafe fn array<'a, T>(argument: &str, data: *const T, len: usize) -> Outcome<&'a [T]> {
    // SAFETY: as this function's.
    unsafe { slice(argument, data, len, MAX_COUNT) }
}

/// # Safety
/// As [`array`].
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
    // SAFETY: as this function's; not null, and no longer than a slice may be.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// A struct of options, which later versions of this library lengthen at its end.
///
/// # Safety
/// The type is `repr(C)`, begins with its `struct_size`, and is valid with every byte zero.
pub(crate) unsafe trait Options: Copy {
    /// The argument's name, as in the header.
    const NAME: &'static str;
    /// The size of the struct in the ABI's first version: a number, which does not change when the
    /// struct gets new fields.
    const FIRST_SIZE: usize;
}

/// A size that depends on the size of pointers.
pub(crate) const fn first_size(on_64_bit: usize, on_32_bit: usize) -> usize {
    if cfg!(target_pointer_width = "64") {
        on_64_bit
    } else {
        on_32_bit
    }
}

/// No struct of options grows this large; a greater size was never set.
const MAX_OPTIONS_SIZE: usize = 4096;

/// A caller's options as this version has them: what the caller's version lacks is zero, what only
/// a newer version knows must be.
///
/// # Safety
/// `options` is null, or as many bytes as its `struct_size` says can be read there.
pub(crate) unsafe fn options<T: Options>(options: *const T) -> Outcome<Option<T>> {
    const { assert!(T::FIRST_SIZE <= size_of::<T>()) };
    if options.is_null() {
        return Ok(None);
    }
    // SAFETY: every options struct begins with its size.
    let size = unsafe { options.cast::<usize>().read() };
    check_size::<T>(size)?;
    // SAFETY: as this function's.
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

/// Checks the size of a struct of options, before more of it is read.
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

/// A field that a later version may give a meaning.
pub(crate) fn reserved(argument: &str, value: u32) -> Outcome<()> {
    match value {
        0 => Ok(()),
        other => Err(Failure::argument(argument, other, 0)),
    }
}

/// Clears a struct of options and sets its size.
///
/// # Safety
/// `options` is null, or `size` bytes can be written there.
pub(crate) unsafe fn init_options<T: Options>(options: *mut T, size: usize) {
    value((), || {
        if options.is_null() || !(size_of::<usize>()..=MAX_OPTIONS_SIZE).contains(&size) {
            return;
        }
        // SAFETY: as this function's; there is room for the size.
        unsafe {
            std::ptr::write_bytes(options.cast::<u8>(), 0, size);
            options.cast::<usize>().write(size);
        }
    });
}

/// # Safety
/// `place` is null, or may be written.
unsafe fn write<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: as this function's.
        unsafe { place.write(value) };
    }
}

/// Which values callers may point to: looked up in debug builds and with the feature
/// `handle-checks`.
mod live {
    /// The owner of a value, who frees it.
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

        /// Addresses, each with its type's name: a value and its first field share one.
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

//! Arguments of C callers: strings, buffers and arrays.

use std::ffi::{CStr, c_char};

use crate::failure::{Failure, Outcome};

/// The maximum length of an array. A larger length is an error, which is returned before memory is
/// read.
pub(crate) const MAX_COUNT: usize = 65_536;

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
    // SAFETY: guaranteed by the caller.
    let bytes = unsafe { CStr::from_ptr(string) };
    match bytes.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let found = format!("invalid UTF-8 at byte {}", error.valid_up_to());
            Err(Failure::argument(argument, found, "UTF-8"))
        }
    }
}

/// Returns the text of a caller's string. Null is an error.
///
/// # Safety
/// Those of [`optional_text`].
pub(crate) unsafe fn text<'a>(argument: &str, string: *const c_char) -> Outcome<&'a str> {
    // SAFETY: guaranteed by the caller.
    unsafe { optional_text(argument, string) }?
        .ok_or_else(|| Failure::argument(argument, "NULL", "a string"))
}

/// Returns a caller's byte buffer as a slice.
///
/// # Safety
/// `data` is null, or `len` bytes are readable there and do not change during `'a`.
pub(crate) unsafe fn bytes<'a>(argument: &str, data: *const u8, len: usize) -> Outcome<&'a [u8]> {
    // SAFETY: guaranteed by the caller.
    unsafe { slice(argument, data, len, isize::MAX as usize) }
}

/// Returns a caller's array of at most [`MAX_COUNT`] elements as a slice.
///
/// # Safety
/// `data` is null, or `len` values are readable there and do not change during `'a`.
pub(crate) unsafe fn array<'a, T>(argument: &str, data: *const T, len: usize) -> Outcome<&'a [T]> {
    // SAFETY: guaranteed by the caller.
    unsafe { slice(argument, data, len, MAX_COUNT) }
}

/// Returns a caller's array of at most `limit` elements as a slice.
///
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
        let expected = format!("{len} elements, as in `{argument}_len`");
        return Err(Failure::argument(argument, "NULL", expected));
    }
    // SAFETY: guaranteed by the caller. It is not null, and at most `isize::MAX` bytes long.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

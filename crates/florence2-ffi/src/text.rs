//! Rust's texts as C strings.

use std::ffi::CString;

/// A text for C, where a NUL would end it: each becomes U+FFFD.
pub(crate) fn c_string(text: &str) -> CString {
    let text = match text.contains('\0') {
        true => text.replace('\0', "\u{FFFD}"),
        false => text.to_owned(),
    };
    // INVARIANT: its NULs have just been replaced.
    CString::new(text).expect("a text without NUL")
}

//! Conversion of Rust strings to C strings.

use std::ffi::CString;

/// Converts a text to a C string. NUL characters become U+FFFD.
pub(crate) fn c_string(text: &str) -> CString {
    let text = match text.contains('\0') {
        true => text.replace('\0', "\u{FFFD}"),
        false => text.to_owned(),
    };
    // INVARIANT: the text contains no NUL any more.
    CString::new(text).expect("a text without NUL")
}

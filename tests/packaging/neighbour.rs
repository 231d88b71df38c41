//! A second Rust library that is linked into a program together with libflorence2.

/// Panics, catches the panic with this library's copy of Rust's runtime, and returns whether that
/// succeeded.
#[unsafe(no_mangle)]
pub extern "C" fn neighbour_catches() -> bool {
    std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(1))).is_err()
}

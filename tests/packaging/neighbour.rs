//! A second Rust library that a program links beside libflorence2.

/// Catches its own panic, with its own copy of Rust's runtime.
#[unsafe(no_mangle)]
pub extern "C" fn neighbour_catches() -> bool {
    std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(1))).is_err()
}

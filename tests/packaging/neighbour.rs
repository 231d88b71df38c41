//! A Rust library beside libflorence2 in one program.

/// Catches a panic of its own, by its own copy of Rust's runtime.
#[unsafe(no_mangle)]
pub extern "C" fn neighbour_catches() -> bool {
    std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(1))).is_err()
}

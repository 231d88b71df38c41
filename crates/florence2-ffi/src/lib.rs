//! libflorence2: the C API of the `florence2` crate.
//!
//! `cargo xtask header` generates `include/florence2.h` from this crate. The comments of exported
//! items become the header's documentation, so they are written for C programmers. Exported items
//! have their C names in Rust too. The order of the modules is the order of the header.
//!
//! Every exported function consists of one call of a function of [`boundary`], which converts a
//! panic to a status, checks handles and writes outputs. A test of xtask enforces this.
//!
//! # Safety
//!
//! Exported functions rely on these rules, which the header states. Comments cite them by number.
//!
//! 1. A pointer to a handle is NULL, or this library returned it and it is not freed before the
//!    call returns.
//! 2. No other thread uses a handle that is passed to its `_free` function, and nothing uses it
//!    afterwards.
//! 3. A pointer to a string is NULL or the string ends with NUL. A pointer to a buffer or an
//!    array is NULL or has the number of readable elements in the argument or field `_len`. This
//!    includes pointers in structs. Nothing changes this memory during the call.
//! 4. A pointer to an option struct is NULL, or `struct_size` bytes are readable there. For an
//!    `_init` function, `size` bytes are writable there.
//! 5. A pointer to an output is NULL or writable. An array of outputs has an element for each
//!    request.
//! 6. A callback is NULL, or a function of the declared type that does not unwind and that
//!    accepts the field or argument `user`. Any thread may call the log callback.
#![allow(non_camel_case_types, unsafe_code)]
// The rules above are the safety contract of all exported functions.
#![allow(clippy::missing_safety_doc)]
// The header documents the statuses that a function returns.
#![allow(clippy::missing_errors_doc)]

mod arguments;
mod boundary;
mod failure;
mod generation_options;
mod handle;
mod option_struct;
mod option_values;
mod panics;
mod registry;
mod run_options;
mod text;
mod unload;

// The modules of the C API, in the order of the header. Blank lines keep rustfmt from sorting them.
pub mod version;

pub mod error;
pub mod status;

pub mod log;

pub mod process;

pub mod device;
pub mod task;

pub mod image;
pub mod yuv;

pub mod cancel;

pub mod model;

pub mod request;

pub mod options;
pub mod run;

pub mod result;

pub mod score;

/// cbindgen:ignore
#[cfg(feature = "test-hooks")]
pub mod test_hooks;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: florence2::Allocator = florence2::Allocator;

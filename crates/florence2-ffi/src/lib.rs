//! libflorence2: the C API over the `florence2` crate.
//!
//! `include/florence2.h` is made of this crate by `cargo xtask header`: the comments on exported
//! items are its documentation, and are written for callers in C. Names are C's, on both sides.
//!
//! Every exported function consists of one call of [`boundary`], which turns a panic into a status,
//! checks pointers and clears outputs. A test of xtask enforces it.
#![allow(non_camel_case_types, unsafe_code)]
// The header states of every pointer what it must be: that is the safety contract.
#![allow(clippy::missing_safety_doc)]
// The status and the error say it, in the same words for all functions, at the header's beginning.
#![allow(clippy::missing_errors_doc)]

mod boundary;
pub mod device;
pub mod error;
pub mod image;
pub mod log;
pub mod model;
pub mod options;
mod panics;
pub mod process;
pub mod request;
pub mod result;
pub mod run;
pub mod score;
pub mod task;
#[cfg(feature = "test-hooks")]
pub mod test_hooks;
mod text;
pub mod version;
pub mod yuv;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: florence2::Allocator = florence2::Allocator;

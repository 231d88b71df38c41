//! libflorence2: the C API of the `florence2` crate.
//!
//! `cargo xtask header` generates `include/florence2.h` from this crate. The comments of exported
//! items become the header's documentation, so they are written for C programmers. Exported items
//! have their C names in Rust too.
//!
//! Every exported function consists of one call of a function of [`boundary`], which converts a
//! panic to a status, checks pointers and clears outputs. A test of xtask enforces this rule.
#![allow(non_camel_case_types, unsafe_code)]
// The header documents the requirements on every pointer, which are the safety contract.
#![allow(clippy::missing_safety_doc)]
// The header documents the errors of all functions at its beginning.
#![allow(clippy::missing_errors_doc)]

mod arguments;
mod boundary;
pub mod device;
pub mod error;
mod failure;
mod handle;
pub mod image;
pub mod log;
pub mod model;
mod option_struct;
pub mod options;
mod panics;
pub mod process;
mod registry;
pub mod request;
pub mod result;
pub mod run;
pub mod score;
pub mod status;
pub mod task;
#[cfg(feature = "test-hooks")]
pub mod test_hooks;
mod text;
pub mod version;
pub mod yuv;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: florence2::Allocator = florence2::Allocator;

//! The microkernels: a few rows (MR) times up to 32 columns (NR), with the sums in registers.
//!
//! Both operands consist of 32-bit words. A word holds one f32, two bf16 or four int8 values, which
//! one instruction multiplies and accumulates. `k` counts words. f16 columns have words of half the
//! size, which are multiplied by f32 rows. If no instruction multiplies bf16 or int8 columns, they
//! are multiplied by f32 rows as well: each value of a word by a word of the row. AMX multiplies
//! f32 rows as three slices of int8 each.
//!
//! Data flows from the top of this list to the bottom:
//!
//! - [`args`]: the operands, and the contract of the microkernels.
//! - [`microkernel`]: the generic microkernel over the vector operations of a format.
//! - [`widened`]: formats that are converted to f32 as they are read.
//! - [`entry`]: the safe entry point, which checks the contract.
//! - `vector`: the kernels of AVX2 and NEON over a description of the instruction set.
//! - One file per instruction set: [`portable`], `avx2`, `avx512`, `neon`, `amx`.
//! - [`select`]: the kernel of a pair of formats at the SIMD level in use.

#[cfg(target_arch = "x86_64")]
mod amx;
mod args;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod entry;
mod microkernel;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod select;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector;
mod widened;

pub(crate) use args::{Lhs, Rhs};
pub(crate) use select::{f32_kernel, kernel};

//! AMX: products in tile registers of 16 rows by 16 words.
//!
//! - [`tiles`]: the tile configuration and the epilogue that all kernels share.
//! - [`assembly`]: the parts of the `asm!` blocks, and their contract.
//! - [`few_rows`]: bf16 products of up to 3 rows in AVX-512 vectors, with the sums of AMX.
//! - [`bf16_int8`]: products of bf16 and of int8.
//! - [`split_int8`]: f32 products as sums of int8 products.

mod assembly;
pub(crate) mod bf16_int8;
mod few_rows;
pub(crate) mod split_int8;
mod tiles;

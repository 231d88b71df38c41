//! Matrix products of rows and packed weights.
//!
//! In the order of dependency (a file imports only from the files above it):
//!
//! 1. [`quantise`], [`bf16`] and [`split_int8`]: the encoding of f32 values in words of 32 bits.
//! 2. [`format`] and [`epilogue`]: the formats of the operands, and the operations on the sums.
//! 3. [`prefetch`]: software prefetching.
//! 4. [`kernel`]: the microkernels, and the selection of one for the SIMD level in use.
//! 5. [`lhs`]: the encoding of rows.
//! 6. [`pack`]: the packing of weights into panels of 32 outputs.
//! 7. [`driver`]: the loops over blocks and panels, and the division of a product among threads.

pub(crate) mod bf16;
pub(crate) mod driver;
pub(crate) mod epilogue;
pub(crate) mod format;
pub(crate) mod kernel;
pub(crate) mod lhs;
pub(crate) mod pack;
pub(crate) mod prefetch;
pub(crate) mod quantise;
pub(crate) mod split_int8;

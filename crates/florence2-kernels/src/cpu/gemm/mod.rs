//! Matrix products of rows and packed weights.

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

//! The parameters of int8 quantisation, and the functions of rows that compute scales.

use crate::cpu::simd::vectorised;

/// The largest magnitude of an int8 value.
pub(crate) const QMAX: f32 = 127.0;

/// The zero point of int8 activations: x86's dot products take unsigned bytes, ARM's signed ones.
pub(crate) const ZERO_POINT: i32 = if cfg!(target_arch = "aarch64") {
    0
} else {
    128
};

/// Rounds to the nearest integer, of up to 8 bits with or without sign, and returns it as a byte.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be vectorised with its caller"
)]
pub(crate) fn round_to_byte(value: f32) -> u8 {
    /// Adding this constant leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    (value + ROUND).to_bits() as u8
}

/// The largest absolute value; NaN if any value is NaN.
pub(crate) fn max_abs(row: &[f32]) -> f32 {
    vectorised(
        #[inline(always)]
        |_| {
            // Without the sign, the bits of floats have the order of their values, NaN above all.
            let bits = row.iter().map(|value| value.to_bits() & (u32::MAX >> 1));
            f32::from_bits(bits.fold(0, u32::max))
        },
    )
}

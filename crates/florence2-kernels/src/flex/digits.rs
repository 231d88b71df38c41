//! f32 as whole numbers of three digits, which have a unit in common.
//!
//! The unit is a power of two, a 4-millionth to an 8-millionth of the largest of the numbers: what is
//! rounded off is less than what a sum loses to which the largest belongs. Digits are of base 256, from
//! -128 to 127.

use super::line::LINE;

/// Digits of a number.
pub(super) const DIGITS: usize = 3;

/// Numbers whose digits lie in a line each: the first ones, the second ones and the third ones. A word has
/// those of every sixteenth number.
pub(super) const NUMBERS: usize = 4 * LINE;

/// Added to a number, and taken from its second and third digit as bytes again, it makes all digits
/// signed.
#[cfg(target_arch = "x86_64")]
pub(super) const CARRY: u32 = 0x8080;

/// Words of so many numbers.
pub(super) fn words(numbers: usize) -> usize {
    numbers.div_ceil(NUMBERS) * DIGITS * LINE
}

/// What numbers have in common that are no larger.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    /// None that is finite, where the largest is none: what is multiplied by it is not lost.
    pub(super) value: f32,
    /// How many of them are 1.
    pub(super) inverse: f32,
}

#[cfg(target_arch = "x86_64")]
impl Unit {
    /// Of the largest magnitude.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "it must be vectorised with its caller"
    )]
    pub(super) fn of(largest: f32) -> Self {
        /// The largest number of three digits is this factor below 2^23.
        const MARGIN: f32 = 1.003_95;
        /// Bits below an exponent.
        const MANTISSA: u32 = 23;
        const ONE: u32 = 127;
        // Below these exponents a unit, or its inverse, would not be a normal number.
        let exponent = ((largest * MARGIN).to_bits() >> MANTISSA).max(MANTISSA) - (MANTISSA - 1);
        let unit = f32::from_bits(exponent << MANTISSA);
        Self {
            value: if largest.is_finite() { unit } else { largest },
            inverse: f32::from_bits((2 * ONE - exponent) << MANTISSA),
        }
    }
}

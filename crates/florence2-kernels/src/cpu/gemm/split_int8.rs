//! f32 values as integers of three 8-bit digits with a common unit (the Ozaki scheme).
//!
//! The unit is a power of two, between a 4-millionth and an 8-millionth of the largest magnitude.
//! The rounding error is smaller than the rounding error of an f32 sum that contains the largest
//! value. Digits have base 256 and range from -128 to 127.

use crate::cpu::cache_line::LINE;

/// The count of digits of a number.
pub(crate) const DIGITS: usize = 3;

/// The count of numbers whose digits fill one cache line each: one line of first digits, one of
/// second digits and one of third digits. A word holds the digits of every sixteenth number.
pub(crate) const NUMBERS: usize = 4 * LINE;

/// Added to a number, and subtracted from the bytes of its second and third digits, it makes all
/// digits signed.
#[cfg(target_arch = "x86_64")]
pub(crate) const CARRY: u32 = 0x8080;

/// The count of words that hold `numbers` numbers.
pub(crate) fn words(numbers: usize) -> usize {
    numbers.div_ceil(NUMBERS) * DIGITS * LINE
}

/// The common unit of numbers up to a largest magnitude.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    /// The unit. It is not finite if the largest magnitude is not, so that products are not finite
    /// either.
    pub(crate) value: f32,
    /// The number of units in 1.
    pub(crate) inverse: f32,
}

#[cfg(target_arch = "x86_64")]
impl Unit {
    /// The unit for a largest magnitude.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "it must be vectorised with its caller"
    )]
    pub(crate) fn of(largest: f32) -> Self {
        /// 2^23 divided by the largest number of three digits, rounded up.
        const MARGIN: f32 = 1.003_95;
        /// The number of bits below the exponent.
        const MANTISSA: u32 = 23;
        const ONE: u32 = 127;
        // With a smaller exponent, the unit or its inverse would not be a normal number.
        let exponent = ((largest * MARGIN).to_bits() >> MANTISSA).max(MANTISSA) - (MANTISSA - 1);
        let unit = f32::from_bits(exponent << MANTISSA);
        Self {
            value: if largest.is_finite() { unit } else { largest },
            inverse: f32::from_bits((2 * ONE - exponent) << MANTISSA),
        }
    }
}

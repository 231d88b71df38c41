//! The exponential function, written so that the compiler vectorises loops over it.

use crate::multiply_add::MultiplyAdd;

/// `e^x` for `x <= 0`, with a relative error of 2e-7. Below -87, close to the end of f32's normal
/// numbers, it returns `e^-87`.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be vectorised with its caller"
)]
pub fn exp(x: f32) -> f32 {
    exp_with(MultiplyAdd::PORTABLE, x)
}

/// [`exp`] with the multiply-add of a SIMD level.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be vectorised with its caller"
)]
pub(crate) fn exp_with(multiply_add: MultiplyAdd, x: f32) -> f32 {
    const LOWEST: f32 = -87.0;
    /// Adding this constant leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 as the sum of two parts. The product of the first part and an exponent is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = if x < LOWEST { LOWEST } else { x };
    let rounded = multiply_add.of(x, std::f32::consts::LOG2_E, ROUND);
    let exponent = rounded - ROUND;
    let rest = multiply_add.of(exponent, -LN_2[0], x);
    let rest = multiply_add.of(exponent, -LN_2[1], rest);
    let mut power = 1.0 / 5040.0;
    for coefficient in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        power = multiply_add.of(power, rest, coefficient);
    }
    f32::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 23))
}

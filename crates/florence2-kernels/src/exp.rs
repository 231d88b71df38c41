//! The exponential function, written so that loops of it are vectorised.

use crate::multiply_add::MultiplyAdd;

/// `e^x` for `x` up to 0, to 2e-7 of itself; what is below f32's normal numbers is the least one.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be vectorised with its caller"
)]
pub fn exp(x: f32) -> f32 {
    exp_with(MultiplyAdd::PORTABLE, x)
}

/// As [`exp`], with a level's arithmetic.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be vectorised with its caller"
)]
pub(crate) fn exp_with(multiply_add: MultiplyAdd, x: f32) -> f32 {
    const LOWEST: f32 = -87.0;
    /// Adding it leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, of which the first times an exponent is exact.
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

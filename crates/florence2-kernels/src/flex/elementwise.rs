//! Functions of rows, written so that the compiler vectorises them, and compiled once per
//! instruction set. The set is chosen when they run.

use multiversion::multiversion;

use super::parameters::Norm;

/// burn's and the model's default.
const EPSILON: f32 = 1e-5;

/// Sums are kept in this many parts: the widest vector.
const LANES: usize = 16;

/// The sum of `value(x)` over a row.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
fn sum(row: &[f32], value: impl Fn(f32) -> f32) -> f32 {
    let mut parts = [0.0; LANES];
    let chunks = row.chunks_exact(LANES);
    let tail: f32 = chunks.remainder().iter().map(|x| value(*x)).sum();
    for chunk in chunks {
        for (part, x) in parts.iter_mut().zip(chunk) {
            *part += value(*x);
        }
    }
    parts.iter().sum::<f32>() + tail
}

/// Layer norm of rows of `gamma.len()` channels.
pub(super) fn layer_norm(input: &[f32], norm: &Norm, output: &mut [f32]) {
    layer_norm_rows(input, norm.gamma(), norm.beta(), output);
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl",
    "x86_64+avx2",
    "aarch64+neon"
))]
fn layer_norm_rows(input: &[f32], gamma: &[f32], beta: Option<&[f32]>, output: &mut [f32]) {
    let channels = gamma.len();
    let rows = input.chunks_exact(channels);
    for (input, output) in rows.zip(output.chunks_exact_mut(channels)) {
        let mean = sum(input, |x| x) / channels as f32;
        let variance = sum(input, |x| (x - mean) * (x - mean)) / channels as f32;
        let inverse = 1.0 / (variance + EPSILON).sqrt();
        for ((output, x), gamma) in output.iter_mut().zip(input).zip(gamma) {
            *output = (x - mean) * inverse * gamma;
        }
        if let Some(beta) = beta {
            for (output, beta) in output.iter_mut().zip(beta) {
                *output += beta;
            }
        }
    }
}

/// The exact GELU, `x / 2 (1 + erf(x / sqrt 2))`.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl",
    "x86_64+avx2",
    "aarch64+neon"
))]
pub(super) fn gelu(values: &mut [f32]) {
    for x in values {
        let half = 0.5 * *x;
        *x = half + half * erf(*x * std::f32::consts::FRAC_1_SQRT_2);
    }
}

/// The error function as a ratio of polynomials, to 5e-7: the coefficients are Eigen's.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
fn erf(x: f32) -> f32 {
    // Comparisons that keep a NaN.
    let x = if x > 4.0 { 4.0 } else { x };
    let x = if x < -4.0 { -4.0 } else { x };
    let square = x * x;
    let mut numerator = -2.726_142_4e-10_f32;
    for coefficient in [
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        numerator = numerator * square + coefficient;
    }
    let mut denominator = -1.456_607_2e-5_f32;
    for coefficient in [
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_473_9e-2,
    ] {
        denominator = denominator * square + coefficient;
    }
    x * numerator / denominator
}

/// `softmax(scale * row)` of every row.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl",
    "x86_64+avx2",
    "aarch64+neon"
))]
pub(super) fn softmax(values: &mut [f32], columns: usize, scale: f32) {
    for row in values.chunks_exact_mut(columns) {
        let mut parts = [f32::NEG_INFINITY; LANES];
        let chunks = row.chunks_exact(LANES);
        let tail = chunks.remainder().iter();
        let mut maximum = tail.fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a });
        for chunk in chunks {
            for (part, x) in parts.iter_mut().zip(chunk) {
                *part = if *x > *part { *x } else { *part };
            }
        }
        for part in parts {
            maximum = maximum.max(part);
        }
        for x in row.iter_mut() {
            *x = exp(scale * (*x - maximum));
        }
        let inverse = 1.0 / sum(row, |x| x);
        for x in row.iter_mut() {
            *x *= inverse;
        }
    }
}

/// `e^x` for `x` up to 0, to 2e-7 of itself; what is below f32's normal numbers is the least one.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.0;
    /// Adding it leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, of which the first times an exponent is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = if x < LOWEST { LOWEST } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let exponent = rounded - ROUND;
    let rest = x - exponent * LN_2[0] - exponent * LN_2[1];
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
        power = power * rest + coefficient;
    }
    f32::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 23))
}

/// `output += input`.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl",
    "x86_64+avx2",
    "aarch64+neon"
))]
pub(super) fn add(output: &mut [f32], input: &[f32]) {
    for (output, input) in output.iter_mut().zip(input) {
        *output += input;
    }
}

/// `output += a * b`, per channel.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
pub(super) fn add_scaled(output: &mut [f32], a: &[f32], b: &[f32]) {
    for ((output, a), b) in output.iter_mut().zip(a).zip(b) {
        *output += a * b;
    }
}

//! Seeds of random numbers that do not depend on what was drawn before.

/// Derives a seed from that of a training and from two numbers, such as a step and a micro-batch:
/// SplitMix64 of each.
pub(crate) fn mixed_seed(seed: u64, first: u64, second: u64) -> u64 {
    let mix = |state: u64| {
        let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    mix(mix(mix(seed) ^ first) ^ second)
}

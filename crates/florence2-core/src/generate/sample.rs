//! Random sampling of tokens by their probability.

use florence2_kernels::top_k;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Creates a random number generator with the same numbers on every machine. Streams of one seed are
/// independent.
pub(super) fn seeded_rng(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// Samples `count` indices without replacement by their probability, and returns each with its
/// log-probability, in the order of sampling.
///
/// This is the Gumbel-max trick: the index of the largest sum of log-probability and Gumbel noise is
/// a sample.
pub(super) fn sample_without_replacement(
    log_probs: &[f32],
    count: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<(usize, f32)> {
    let keys: Vec<f32> = log_probs
        .iter()
        .map(|log_prob| {
            let uniform = (f64::from(rng.next_u32()) + 0.5) / (f64::from(u32::MAX) + 1.0);
            log_prob + (-(-uniform.ln()).ln()) as f32
        })
        .collect();
    top_k(&keys, count)
        .into_iter()
        .map(|(index, _)| (index, log_probs[index]))
        .collect()
}

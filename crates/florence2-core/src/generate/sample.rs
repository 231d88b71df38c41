//! Random draws of tokens by their probability.

use florence2_kernels::top_k;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A generator that gives the same random numbers on every machine.
pub(super) fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    generator
}

/// Draws `count` indices without replacement by their probability, in the order drawn.
///
/// By the Gumbel-max trick, the largest of log-probability + Gumbel noise is a draw.
pub(super) fn draw(
    log_probs: &[f32],
    count: usize,
    generator: &mut ChaCha8Rng,
) -> Vec<(usize, f32)> {
    let keys: Vec<f32> = log_probs
        .iter()
        .map(|log_prob| {
            let uniform = (f64::from(generator.next_u32()) + 0.5) / (f64::from(u32::MAX) + 1.0);
            log_prob + (-(-uniform.ln()).ln()) as f32
        })
        .collect();
    top_k(&keys, count)
        .into_iter()
        .map(|(index, _)| (index, log_probs[index]))
        .collect()
}

//! [`DropoutMask`]: the random factors of dropout.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The number of values that 16 random bits distinguish. A probability is rounded to a multiple of
/// the inverse.
const LEVELS: f64 = 65_536.0;
/// Random values per word of the generator.
const PER_WORD: usize = 2;

/// Factors of dropout: zero with a probability, else the inverse of the probability to keep a value.
/// They depend on the seed and on the place only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutMask {
    /// The probability of zero.
    pub probability: f64,
    /// The seed of the factors.
    pub seed: u64,
}

impl DropoutMask {
    /// Writes the factors from place `first` on.
    pub fn fill(&self, first: usize, factors: &mut [f32]) {
        let dropped = (self.probability * LEVELS).round().min(LEVELS);
        let kept = (LEVELS / (LEVELS - dropped)) as f32;
        let skipped = first % PER_WORD;
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_word_pos((first / PER_WORD) as u128);
        let mut bytes = vec![0; 2 * (skipped + factors.len())];
        random.fill_bytes(&mut bytes);
        let levels = bytes.as_chunks::<2>().0[skipped..].iter();
        for (factor, level) in factors.iter_mut().zip(levels) {
            let is_dropped = f64::from(u16::from_le_bytes(*level)) < dropped;
            *factor = if is_dropped { 0.0 } else { kept };
        }
    }

    /// The factors of `count` places.
    pub fn factors(&self, count: usize) -> Vec<f32> {
        let mut factors = vec![0.0; count];
        self.fill(0, &mut factors);
        factors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(probability: f64, seed: u64) -> DropoutMask {
        DropoutMask { probability, seed }
    }

    #[test]
    fn a_mask_has_the_probability_and_keeps_the_expectation() {
        for probability in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let factors = mask(probability, 7).factors(100_000);
            let dropped = factors.iter().filter(|factor| **factor == 0.0).count() as f64;
            assert!((dropped / 1e5 - probability).abs() < 0.01, "{probability}");
            let mean = factors.iter().map(|factor| f64::from(*factor)).sum::<f64>() / 1e5;
            let expected = if probability == 1.0 { 0.0 } else { 1.0 };
            assert!((mean - expected).abs() < 0.03, "{probability}: {mean}");
        }
        assert_ne!(mask(0.5, 1).factors(64), mask(0.5, 2).factors(64));
    }

    #[test]
    fn a_part_of_a_mask_equals_the_whole() {
        let whole = mask(0.4, 3).factors(1_000);
        for (first, count) in [(0, 7), (1, 8), (33, 500), (998, 2), (512, 488)] {
            let mut part = vec![0.0; count];
            mask(0.4, 3).fill(first, &mut part);
            assert_eq!(part, whole[first..first + count]);
        }
    }
}

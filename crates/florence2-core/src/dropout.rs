//! Dropout and drop path, the random parts of training: torch's `nn.functional.dropout` and HF
//! `Florence2DropPath`.
//!
//! Each place of the model draws its mask from a seed of its own, so that the masks of a forward
//! pass depend on one number only and a pass can be repeated. The masks are drawn on the host and are
//! the same on every backend and device. They differ from torch's.

use burn::tensor::backend::Backend as BurnBackend;
use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Sets values to zero with a probability in training, and multiplies the others so that the
/// expectation is unchanged.
#[derive(Debug, Clone, Default)]
pub struct Dropout {
    probability: f64,
    /// `None` outside training.
    seed: Option<u64>,
}

/// Sets whole entries of the batch to zero with a probability in training: stochastic depth
/// (arXiv:1603.09382).
#[derive(Debug, Clone, Default)]
pub struct DropPath(Dropout);

/// Skips a whole layer with a probability in training: LayerDrop (arXiv:1909.11556).
#[derive(Debug, Clone, Default)]
pub struct LayerDrop(Dropout);

/// The seeds of a forward pass, one per place: a stream that one seed determines, or none outside
/// training.
#[derive(Debug)]
pub struct Seeds(Option<ChaCha8Rng>);

impl Seeds {
    /// The seeds that `seed` determines, or none.
    pub fn new(seed: Option<u64>) -> Self {
        Self(seed.map(ChaCha8Rng::seed_from_u64))
    }

    /// The seed of the next place.
    pub(crate) fn draw(&mut self) -> Option<u64> {
        self.0.as_mut().map(Rng::next_u64)
    }
}

impl Dropout {
    /// Creates a dropout that is not in training.
    pub fn new(probability: f64) -> Self {
        Self {
            probability,
            seed: None,
        }
    }

    /// A dropout of a given seed.
    pub(crate) fn with_seed(probability: f64, seed: Option<u64>) -> Self {
        Self { probability, seed }
    }

    /// Takes the seed of the next forward pass.
    pub fn take_seeds(&mut self, seeds: &mut Seeds) {
        self.seed = seeds.draw();
    }

    /// Applies the dropout to each value. Returns the input outside training and without autodiff.
    pub fn forward<B: BurnBackend, const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        let shape = x.dims();
        self.drop(x, shape)
    }

    /// Multiplies by a mask of the given shape, which is expanded to that of `x`.
    fn drop<B: BurnBackend, const D: usize>(
        &self,
        x: Tensor<B, D>,
        shape: [usize; D],
    ) -> Tensor<B, D> {
        let device = x.device();
        let Some(seed) = self.seed else {
            return x;
        };
        if self.probability == 0.0 || !B::ad_enabled(&device) {
            return x;
        }
        let mask = TensorData::new(mask(shape.iter().product(), self.probability, seed), shape);
        x * Tensor::from_data(mask, &device)
    }
}

impl DropPath {
    /// Creates a drop path that is not in training.
    pub fn new(probability: f64) -> Self {
        Self(Dropout::new(probability))
    }

    /// Takes the seed of the next forward pass.
    pub fn take_seeds(&mut self, seeds: &mut Seeds) {
        self.0.take_seeds(seeds);
    }

    /// Applies the drop path to each entry of the batch, the first dimension.
    pub fn forward<B: BurnBackend, const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        let mut shape = [1; D];
        shape[0] = x.dims()[0];
        self.0.drop(x, shape)
    }
}

impl LayerDrop {
    /// Creates a layer drop that is not in training.
    pub fn new(probability: f64) -> Self {
        Self(Dropout::new(probability))
    }

    /// Takes the seed of the next forward pass.
    pub fn take_seeds(&mut self, seeds: &mut Seeds) {
        self.0.take_seeds(seeds);
    }

    /// Returns whether the forward pass skips the layer.
    pub fn is_skipped(&self) -> bool {
        self.0
            .seed
            .is_some_and(|seed| mask(1, self.0.probability, seed) == [0.0])
    }
}

/// The number of values that 16 random bits distinguish. A probability is rounded to a multiple of
/// the inverse.
const LEVELS: f64 = 65_536.0;

/// Zeros with a probability, else the inverse of the probability to keep a value.
fn mask(values: usize, probability: f64, seed: u64) -> Vec<f32> {
    let dropped = (probability * LEVELS).round().min(LEVELS);
    let kept = (LEVELS / (LEVELS - dropped)) as f32;
    let mut bits = vec![0; 2 * values];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bits);
    bits.chunks_exact(2)
        .map(|pair| {
            let level = u16::from_le_bytes([pair[0], pair[1]]);
            if f64::from(level) < dropped {
                0.0
            } else {
                kept
            }
        })
        .collect()
}

/// The probability of drop path per block of a network: from 0 at the first to `rate` at the last;
/// torch's `linspace`.
pub(crate) fn drop_path_rates(rate: f64, blocks: usize) -> impl Iterator<Item = f64> {
    let last = blocks.saturating_sub(1).max(1) as f64;
    (0..blocks).map(move |block| rate * block as f64 / last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_the_probability_and_keeps_the_expectation() {
        for probability in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let mask = mask(100_000, probability, 7);
            let dropped = mask.iter().filter(|value| **value == 0.0).count() as f64;
            assert!((dropped / 1e5 - probability).abs() < 0.01, "{probability}");
            let mean = mask.iter().map(|value| f64::from(*value)).sum::<f64>() / 1e5;
            let expected = if probability == 1.0 { 0.0 } else { 1.0 };
            assert!((mean - expected).abs() < 0.03, "{probability}: {mean}");
        }
        assert_eq!(mask(64, 0.5, 1), mask(64, 0.5, 1));
        assert_ne!(mask(64, 0.5, 1), mask(64, 0.5, 2));
    }

    #[test]
    fn rates_rise_to_the_last_block() {
        let rates: Vec<f64> = drop_path_rates(0.2, 5).collect();
        for (found, expected) in rates.iter().zip([0.0, 0.05, 0.1, 0.15, 0.2]) {
            assert!((found - expected).abs() < 1e-12, "{rates:?}");
        }
        assert_eq!(drop_path_rates(0.2, 1).collect::<Vec<_>>(), [0.0]);
    }
}

//! Dropout and drop path, the random parts of training: torch's `nn.functional.dropout` and HF
//! `Florence2DropPath`.
//!
//! Each place of the model draws its mask from a seed of its own, so that the masks of a forward
//! pass depend on one number only and a pass can be repeated. The masks are drawn on the host and are
//! the same on every backend and device. They differ from torch's.

use burn::tensor::backend::Backend as BurnBackend;
use burn::tensor::{Tensor, TensorData};
use florence2_kernels::DropoutMask;
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

    /// The mask of the next forward pass; `None` if nothing is dropped.
    pub(crate) fn mask<B: BurnBackend>(&self, device: &B::Device) -> Option<DropoutMask> {
        let seed = self.seed?;
        let is_active = self.probability > 0.0 && B::ad_enabled(device);
        is_active.then_some(DropoutMask {
            probability: self.probability,
            seed,
        })
    }

    /// Multiplies by a mask of the given shape, which is expanded to that of `x`.
    fn drop<B: BurnBackend, const D: usize>(
        &self,
        x: Tensor<B, D>,
        shape: [usize; D],
    ) -> Tensor<B, D> {
        let device = x.device();
        let Some(mask) = self.mask::<B>(&device) else {
            return x;
        };
        let factors = TensorData::new(mask.factors(shape.iter().product()), shape);
        x * Tensor::from_data(factors, &device)
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
        self.0.seed.is_some_and(|seed| {
            let probability = self.0.probability;
            DropoutMask { probability, seed }.factors(1) == [0.0]
        })
    }
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
    fn rates_rise_to_the_last_block() {
        let rates: Vec<f64> = drop_path_rates(0.2, 5).collect();
        for (found, expected) in rates.iter().zip([0.0, 0.05, 0.1, 0.15, 0.2]) {
            assert!((found - expected).abs() < 1e-12, "{rates:?}");
        }
        assert_eq!(drop_path_rates(0.2, 1).collect::<Vec<_>>(), [0.0]);
    }
}

//! The order of the examples: a seeded shuffle per epoch, batches, and the batches of each optimiser step.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// The sampler's position and the values that determine its order: all that a checkpoint stores of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerState {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The number of examples of the epoch that precede the next step. It is less than `examples`.
    pub position: usize,
    /// The number of examples of the data set.
    pub examples: usize,
    /// Examples per batch.
    pub batch_size: usize,
    /// Batches per step.
    pub gradient_accumulation_steps: usize,
    /// The seed of the shuffles.
    pub seed: u64,
}

/// The sampler cannot be created or continued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplerError {
    /// A size is 0.
    #[error("{argument}: found 0, expected at least 1")]
    Zero {
        /// `examples`, `batch_size` or `gradient_accumulation_steps`.
        argument: &'static str,
    },
    /// The run that continues has other examples, sizes or another seed than the checkpoint's.
    #[error("the order of the examples differs from the checkpoint's: {}", .differences.join("; "))]
    Differs {
        /// Each differing value as `NAME: found VALUE, expected VALUE`, where the expected value is the checkpoint's.
        differences: Vec<String>,
    },
    /// The position is not that of a step.
    #[error("position: found {found}, expected a multiple of {step} below {examples}")]
    Position {
        /// The position of the state.
        found: usize,
        /// The number of examples of a step.
        step: usize,
        /// The number of examples of the data set.
        examples: usize,
    },
}

/// The batches of one optimiser step.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateBatches {
    /// The examples of each batch, as indices into the data set. The last batch of an epoch may be smaller, and the last
    /// step of an epoch may have fewer batches than `gradient_accumulation_steps`.
    pub batches: Vec<Vec<usize>>,
    /// The number of epochs after the step, with the part of the current one: `epoch` of Hugging Face's `TrainerState`.
    pub epoch: f64,
    /// Whether the step is the last one of its epoch.
    pub epoch_ended: bool,
}

/// Returns the examples of each step in the order of a seeded shuffle per epoch, as Hugging Face's `Trainer` divides them
/// into batches and steps.
///
/// The order depends on the seed, the epoch and the number of examples only, and it is the same on every platform. It is a
/// Fisher-Yates shuffle: from the last place to the second one, each is exchanged with a random place up to itself. The
/// random numbers are those of ChaCha with 8 rounds. Its key is the seed and the epoch, each as 8 bytes with the lowest
/// first, and the 16 bytes `florence2 sample`. A number up to `n` is the upper half of the 128-bit product of 64 random bits
/// and `n + 1`. As in Lemire's method (<https://arxiv.org/abs/1805.10941>), products whose lower half is below
/// `2^64 mod (n + 1)` are drawn again, so that all numbers are equally likely.
#[derive(Clone, Debug)]
pub struct ExampleSampler {
    state: SamplerState,
    /// The order of the examples of the current epoch.
    order: Vec<usize>,
}

impl ExampleSampler {
    /// Starts at the first step of the first epoch.
    ///
    /// # Errors
    ///
    /// Fails if a size is 0.
    pub fn new(
        examples: usize,
        batch_size: usize,
        gradient_accumulation_steps: usize,
        seed: u64,
    ) -> Result<Self, SamplerError> {
        let sizes = [
            ("examples", examples),
            ("batch_size", batch_size),
            ("gradient_accumulation_steps", gradient_accumulation_steps),
        ];
        for (argument, size) in sizes {
            if size == 0 {
                return Err(SamplerError::Zero { argument });
            }
        }
        let state = SamplerState {
            epoch: 0,
            position: 0,
            examples,
            batch_size,
            gradient_accumulation_steps,
            seed,
        };
        let order = shuffled(examples, seed, 0);
        Ok(Self { state, order })
    }

    /// Continues at the position of `state`. The next step is the one that would have followed it.
    ///
    /// # Errors
    ///
    /// Fails if the examples, a size or the seed differ from those of `state`, and if its position is not that of a step.
    pub fn resume(mut self, state: SamplerState) -> Result<Self, SamplerError> {
        let differences = self.state.differences(&state);
        if !differences.is_empty() {
            return Err(SamplerError::Differs { differences });
        }
        let step = self.examples_per_step();
        if state.position >= state.examples || !state.position.is_multiple_of(step) {
            return Err(SamplerError::Position {
                found: state.position,
                step,
                examples: state.examples,
            });
        }
        if state.epoch != self.state.epoch {
            self.order = shuffled(state.examples, state.seed, state.epoch);
        }
        self.state = state;
        Ok(self)
    }

    /// The position of the next step.
    pub fn state(&self) -> SamplerState {
        self.state
    }

    /// Returns the batches of the next step. The epochs follow one another without end.
    pub fn next_update(&mut self) -> UpdateBatches {
        let SamplerState {
            position,
            examples,
            batch_size,
            ..
        } = self.state;
        let end = position
            .saturating_add(self.examples_per_step())
            .min(examples);
        let batches = self.order[position..end].chunks(batch_size);
        let batches: Vec<_> = batches.map(<[usize]>::to_vec).collect();
        let batches_done = end.div_ceil(batch_size) as f64;
        let batches_per_epoch = examples.div_ceil(batch_size) as f64;
        let epoch = self.state.epoch as f64 + batches_done / batches_per_epoch;
        let epoch_ended = end == examples;
        if epoch_ended {
            self.state.epoch += 1;
            self.state.position = 0;
            self.order = shuffled(examples, self.state.seed, self.state.epoch);
        } else {
            self.state.position = end;
        }
        UpdateBatches {
            batches,
            epoch,
            epoch_ended,
        }
    }

    fn examples_per_step(&self) -> usize {
        let SamplerState {
            batch_size,
            gradient_accumulation_steps,
            ..
        } = self.state;
        batch_size.saturating_mul(gradient_accumulation_steps)
    }
}

impl SamplerState {
    /// The values other than the position that differ from those of a checkpoint.
    fn differences(&self, checkpoint: &Self) -> Vec<String> {
        let values = [
            ("examples", self.examples as u64, checkpoint.examples as u64),
            (
                "batch_size",
                self.batch_size as u64,
                checkpoint.batch_size as u64,
            ),
            (
                "gradient_accumulation_steps",
                self.gradient_accumulation_steps as u64,
                checkpoint.gradient_accumulation_steps as u64,
            ),
            ("seed", self.seed, checkpoint.seed),
        ];
        values
            .into_iter()
            .filter(|(_, found, expected)| found != expected)
            .map(|(name, found, expected)| format!("{name}: found {found}, expected {expected}"))
            .collect()
    }
}

/// The order of an epoch: see [`ExampleSampler`].
fn shuffled(examples: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut key = *b"________________florence2 sample";
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&epoch.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    let mut order: Vec<usize> = (0..examples).collect();
    for place in (1..examples).rev() {
        order.swap(place, below(place as u64 + 1, &mut rng) as usize);
    }
    order
}

/// A uniform random number below `bound`, which is at least 1.
fn below(bound: u64, rng: &mut ChaCha8Rng) -> u64 {
    // 2^64 mod bound.
    let biased = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        if product as u64 >= biased {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(examples: usize, batch_size: usize, accumulation: usize) -> ExampleSampler {
        ExampleSampler::new(examples, batch_size, accumulation, 42).unwrap()
    }

    /// 11 examples in batches of 2, 4 batches per step: the last batch and the last step of an epoch are incomplete.
    #[test]
    fn incomplete_batches_and_steps_are_kept() {
        let mut sampler = sampler(11, 2, 4);
        let first = sampler.next_update();
        let last = sampler.next_update();
        let sizes =
            |update: &UpdateBatches| update.batches.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(&first), [2, 2, 2, 2]);
        assert_eq!(sizes(&last), [2, 1]);
        assert_eq!((first.epoch_ended, last.epoch_ended), (false, true));
        assert_eq!((first.epoch, last.epoch), (4.0 / 6.0, 1.0));
        let mut seen: Vec<_> = [first, last]
            .into_iter()
            .flat_map(|update| update.batches)
            .flatten()
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..11).collect::<Vec<_>>());
        assert_eq!(sampler.next_update().epoch, 1.0 + 4.0 / 6.0);
    }

    #[test]
    fn every_position_continues_with_the_same_steps() {
        let steps = 9;
        let mut whole = sampler(11, 2, 2);
        let mut states = vec![whole.state()];
        let mut updates = Vec::new();
        for _ in 0..steps {
            updates.push(whole.next_update());
            states.push(whole.state());
        }
        for (taken, state) in states.into_iter().enumerate() {
            let json = serde_json::to_string(&state).unwrap();
            let state = serde_json::from_str(&json).unwrap();
            let mut resumed = sampler(11, 2, 2).resume(state).unwrap();
            for update in &updates[taken..] {
                assert_eq!(&resumed.next_update(), update);
            }
        }
    }

    #[test]
    fn epochs_and_seeds_have_orders_of_their_own() {
        let order = |seed, epoch| shuffled(50, seed, epoch);
        assert_eq!(order(1, 1), order(1, 1));
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), order(0, 1));
        assert_ne!(order(1, 0), order(2, 0));
        assert_eq!(shuffled(1, 7, 0), [0]);
    }

    /// Each of 5 examples is at each place in a fifth of 20,000 epochs, within 4 standard deviations.
    #[test]
    fn all_orders_are_equally_likely() {
        let mut counts = [[0_i32; 5]; 5];
        for epoch in 0..20_000 {
            for (place, example) in shuffled(5, 3, epoch).into_iter().enumerate() {
                counts[place][example] += 1;
            }
        }
        let furthest = counts
            .into_iter()
            .flatten()
            .map(|count| (count - 4000).abs())
            .max();
        assert!(furthest.unwrap() < 4 * 57, "{counts:?}");
    }

    #[test]
    fn another_data_set_or_position_is_an_error() {
        let state = sampler(11, 2, 2).state();
        let other = ExampleSampler::new(12, 3, 2, 1).unwrap();
        assert_eq!(
            other.resume(state).unwrap_err().to_string(),
            "the order of the examples differs from the checkpoint's: examples: found 12, expected 11; \
             batch_size: found 3, expected 2; seed: found 1, expected 42"
        );
        for position in [3, 11, 12, usize::MAX] {
            let state = SamplerState { position, ..state };
            let error = sampler(11, 2, 2).resume(state).unwrap_err().to_string();
            let expected = format!("position: found {position}, expected a multiple of 4 below 11");
            assert_eq!(error, expected);
        }
        for (sizes, argument) in [
            ((0, 1, 1), "examples"),
            ((1, 0, 1), "batch_size"),
            ((1, 1, 0), "gradient_accumulation_steps"),
        ] {
            let error = ExampleSampler::new(sizes.0, sizes.1, sizes.2, 0).unwrap_err();
            assert_eq!(error, SamplerError::Zero { argument });
        }
    }

    #[test]
    fn sizes_do_not_overflow() {
        let update = sampler(3, usize::MAX, usize::MAX).next_update();
        assert_eq!(update.batches.len(), 1);
        assert!(update.epoch_ended);
    }
}

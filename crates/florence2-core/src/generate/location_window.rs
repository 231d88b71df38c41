//! The probability that a location token lies near the generated one.

use std::ops::Range;

/// The location tokens of a vocabulary (`<loc_0>`, `<loc_1>`, ..), whose ids are contiguous, and the
/// tolerance within which two of them count as the same location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocationWindow {
    /// The id of `<loc_0>`.
    pub first_id: u32,
    /// The number of location tokens.
    pub count: u32,
    /// The number of neighbours on each side that count as the same location, in bins. With 0, only
    /// the token itself counts.
    pub tolerance: u32,
}

impl LocationWindow {
    /// Creates the window of `count` location tokens from `first_id` on.
    pub fn new(first_id: u32, count: u32, tolerance: u32) -> Self {
        Self {
            first_id,
            count,
            tolerance,
        }
    }

    /// The ids of the location tokens that a vocabulary of `vocab_size` tokens contains.
    pub(super) fn ids(&self, vocab_size: usize) -> Range<usize> {
        let first = (self.first_id as usize).min(vocab_size);
        let end = first.saturating_add(self.count as usize).min(vocab_size);
        first..end
    }
}

/// The logits of the location tokens in one row of the model's scores, before logits processors.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LocationLogits {
    pub(super) window: LocationWindow,
    pub(super) logits: Vec<f32>,
}

impl LocationLogits {
    /// The log-probability that the location lies within the tolerance of `token_id`, whose own
    /// log-probability is `log_prob`: `log_prob` plus the logarithm of the window's probability over
    /// that of the token, both before the logits processors. Without active logits processors, this
    /// is the log-probability of the window. It is at most 0.
    ///
    /// Returns `log_prob` if the token is not a location.
    pub(super) fn log_prob(&self, token_id: u32, log_prob: f32) -> f32 {
        let Some(center) = token_id.checked_sub(self.window.first_id) else {
            return log_prob;
        };
        let (center, tolerance) = (center as usize, self.window.tolerance as usize);
        let Some(own) = self.logits.get(center) else {
            return log_prob;
        };
        let end = (center + 1).saturating_add(tolerance);
        let window = &self.logits[center.saturating_sub(tolerance)..end.min(self.logits.len())];
        let relative = log_sum_exp(window) - f64::from(*own);
        if relative.is_finite() && !log_prob.is_nan() {
            (f64::from(log_prob) + relative).min(0.0) as f32
        } else {
            log_prob
        }
    }
}

/// The logarithm of the sum of exponentials.
fn log_sum_exp(values: &[f32]) -> f64 {
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let max = f64::from(max);
    let sum: f64 = values.iter().map(|x| (f64::from(*x) - max).exp()).sum();
    max + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [0.5, -1.0, 2.0, 1.5, -0.25];
    /// The logits of a vocabulary's other tokens.
    const OTHERS: [f32; 2] = [1.0, 0.0];

    fn with_tolerance(tolerance: u32) -> LocationLogits {
        let window = LocationWindow {
            first_id: 10,
            count: 5,
            tolerance,
        };
        LocationLogits {
            window,
            logits: LOGITS.to_vec(),
        }
    }

    /// The log-probability of a location token in the vocabulary.
    fn log_prob(index: usize) -> f32 {
        let all = [LOGITS.as_slice(), OTHERS.as_slice()].concat();
        (f64::from(LOGITS[index]) - log_sum_exp(&all)) as f32
    }

    fn window_probability(tolerance: u32, index: usize) -> f32 {
        let own = log_prob(index);
        with_tolerance(tolerance)
            .log_prob(10 + index as u32, own)
            .exp()
    }

    #[test]
    fn without_tolerance_it_is_the_token_itself() {
        for index in 0..LOGITS.len() {
            let found = window_probability(0, index);
            assert!((found - log_prob(index).exp()).abs() < 1e-6);
        }
    }

    #[test]
    fn a_window_is_clipped_to_the_locations() {
        let sum = |range: Range<usize>| range.map(|index| log_prob(index).exp()).sum::<f32>();
        assert!((window_probability(1, 0) - sum(0..2)).abs() < 1e-6);
        assert!((window_probability(1, 2) - sum(1..4)).abs() < 1e-6);
        assert!((window_probability(2, 4) - sum(2..5)).abs() < 1e-6);
        for tolerance in [4, 1000, u32::MAX] {
            assert!((window_probability(tolerance, 3) - sum(0..5)).abs() < 1e-6);
        }
    }

    #[test]
    fn other_tokens_keep_their_log_probability() {
        let locations = with_tolerance(3);
        assert_eq!(locations.log_prob(9, -0.5), -0.5);
        assert_eq!(locations.log_prob(15, -0.5), -0.5);
    }

    #[test]
    fn processed_scores_do_not_exceed_one_nor_become_nan() {
        let mut locations = with_tolerance(1);
        assert_eq!(locations.log_prob(12, 0.0), 0.0);
        assert_eq!(locations.log_prob(12, f32::NEG_INFINITY), f32::NEG_INFINITY);
        assert!(locations.log_prob(12, f32::NAN).is_nan());
        locations.logits[2] = f32::NEG_INFINITY;
        assert_eq!(locations.log_prob(12, -3.0), -3.0);
        locations.logits.fill(f32::NEG_INFINITY);
        assert_eq!(locations.log_prob(12, -3.0), -3.0);
    }

    #[test]
    fn ids_stay_within_the_vocabulary() {
        let window = with_tolerance(0).window;
        assert_eq!(window.ids(100), 10..15);
        assert_eq!(window.ids(12), 10..12);
        assert_eq!(window.ids(3), 3..3);
    }
}

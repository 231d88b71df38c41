//! Confidences: exponentials of mean token log-probabilities.

use std::ops::Range;

use crate::{RegionScore, TokenSpan};

/// Sums of log-probabilities over any stretch of the text, in logarithmic time.
pub(crate) struct Scores<'a> {
    tokens: &'a [TokenSpan],
    /// Sum of the log-probabilities before each token; one entry more than tokens.
    sums: Vec<f64>,
}

/// Log-probabilities of some tokens.
#[derive(Clone, Copy, Default)]
pub(crate) struct LogProbs {
    sum: f64,
    count: usize,
}

impl<'a> Scores<'a> {
    pub(crate) fn new(tokens: &'a [TokenSpan]) -> Self {
        let mut sums = Vec::with_capacity(tokens.len() + 1);
        let mut sum = 0.0;
        sums.push(sum);
        for token in tokens {
            sum += f64::from(token.log_prob);
            sums.push(sum);
        }
        Self { tokens, sums }
    }

    /// The tokens that wrote any of these bytes of the source text.
    pub(crate) fn over(&self, range: &Range<usize>) -> LogProbs {
        let first = self
            .tokens
            .partition_point(|token| token.range.end <= range.start);
        let end = self
            .tokens
            .partition_point(|token| token.range.start < range.end);
        if range.is_empty() || first >= end {
            return LogProbs::default();
        }
        LogProbs {
            sum: self.sums[end] - self.sums[first],
            count: end - first,
        }
    }

    /// The score of a region, from the bytes of its label and of its locations.
    pub(crate) fn region(
        &self,
        label: &Range<usize>,
        locations: &Range<usize>,
    ) -> Option<RegionScore> {
        let (label, locations) = (self.over(label), self.over(locations));
        Some(RegionScore {
            overall: label.and(locations).score()?,
            label: label.score(),
            locations: locations.score()?,
        })
    }
}

impl LogProbs {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            sum: self.sum + other.sum,
            count: self.count + other.count,
        }
    }

    pub(crate) fn score(self) -> Option<f32> {
        (self.count > 0).then(|| (self.sum / self.count as f64).exp() as f32)
    }
}

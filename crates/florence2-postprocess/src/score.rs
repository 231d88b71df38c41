//! Confidences: mean probabilities of an answer's and a label's tokens, and the probability of the least
//! certain location.

use std::ops::Range;

use crate::region::RegionScore;
use crate::scanner::FRAME_TOKENS;
use crate::steps::count;
use crate::types::{ScoredText, TokenSpan};

/// The default location tolerance in bins: locations within this many bins on each side of the generated
/// one count as the same, in [`RegionScore::locations`].
pub const LOCATION_TOLERANCE: u32 = 50;

/// The tokens of an answer, searchable by the bytes of their text.
pub(crate) struct Scores<'a> {
    text: &'a str,
    /// Empty if the tokens are not known.
    tokens: &'a [TokenSpan],
}

/// Log-probabilities of some tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogProbs {
    sum: f64,
    count: usize,
}

impl<'a> Scores<'a> {
    pub(crate) fn new(answer: &'a ScoredText) -> Self {
        let tokens: &[TokenSpan] = if answer.has_token_spans() {
            &answer.tokens
        } else {
            &[]
        };
        Self {
            text: &answer.text,
            tokens,
        }
    }

    /// The log-probabilities of the tokens that produced any of these bytes of the source text.
    pub(crate) fn over(&self, range: &Range<usize>) -> LogProbs {
        self.tokens_of(range).map(|token| token.log_prob).collect()
    }

    /// The tokens that produced any of these bytes of the source text.
    ///
    /// A token without bytes (a part of a character that a later token completes) counts at its
    /// position.
    fn tokens_of(&self, range: &Range<usize>) -> impl Iterator<Item = &'a TokenSpan> {
        let Range { start, end } = *range;
        let is_before = |token: &TokenSpan| {
            token.range.end < start || (token.range.end == start && token.range.start < start)
        };
        let first = self.tokens.partition_point(is_before);
        count(1);
        self.tokens[first..]
            .iter()
            .take_while(move |token| token.range.start < end)
    }

    /// The confidence of the whole answer, without frame tokens.
    pub(crate) fn text(&self) -> Option<f32> {
        let is_frame = |token: &&TokenSpan| {
            let written = self.text.get(token.range.clone());
            written.is_some_and(|written| FRAME_TOKENS.contains(&written))
        };
        let tokens = self.tokens.iter().filter(|token| !is_frame(token));
        let log_probs = tokens.map(|token| token.location_log_prob);
        log_probs.collect::<LogProbs>().score()
    }

    /// The confidence of a region, from the tokens of its label and the bytes of its locations.
    pub(crate) fn region(&self, label: LogProbs, locations: &Range<usize>) -> Option<RegionScore> {
        let label = label.score();
        let locations = self.least_certain(locations)?;
        Some(RegionScore {
            overall: label.unwrap_or(1.0) * locations,
            label,
            locations,
        })
    }

    /// The probability of the least certain location within a range of bytes.
    fn least_certain(&self, locations: &Range<usize>) -> Option<f32> {
        let tokens = self.tokens_of(locations).inspect(|_| count(1));
        let log_probs = tokens.map(|token| token.location_log_prob);
        log_probs.reduce(f32::min).map(f32::exp)
    }
}

impl LogProbs {
    fn score(self) -> Option<f32> {
        (self.count > 0).then(|| (self.sum / self.count as f64).exp() as f32)
    }
}

impl FromIterator<f32> for LogProbs {
    fn from_iter<I: IntoIterator<Item = f32>>(values: I) -> Self {
        let mut log_probs = Self::default();
        for log_prob in values {
            count(1);
            log_probs.sum += f64::from(log_prob);
            log_probs.count += 1;
        }
        log_probs
    }
}

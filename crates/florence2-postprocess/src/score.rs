//! Confidences: exponentials of mean token log-probabilities.

use std::ops::Range;

use crate::scanner::FRAME_TOKENS;
use crate::steps::count;
use crate::types::{RegionScore, ScoredText, TokenSpan};

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
    ///
    /// A token without bytes (a part of a character that a later token completes) counts at its
    /// position.
    pub(crate) fn over(&self, range: &Range<usize>) -> LogProbs {
        let is_before = |token: &TokenSpan| {
            token.range.end < range.start
                || (token.range.end == range.start && token.range.start < range.start)
        };
        let first = self.tokens.partition_point(is_before);
        count(1);
        self.tokens[first..]
            .iter()
            .take_while(|token| token.range.start < range.end)
            .collect()
    }

    /// The confidence of the whole answer, without frame tokens.
    pub(crate) fn text(&self) -> Option<f32> {
        let is_frame = |token: &&TokenSpan| {
            let written = self.text.get(token.range.clone());
            written.is_some_and(|written| FRAME_TOKENS.contains(&written))
        };
        let tokens = self.tokens.iter().filter(|token| !is_frame(token));
        tokens.collect::<LogProbs>().score()
    }

    /// The confidence of a region, from the tokens of its label and the bytes of its locations.
    pub(crate) fn region(&self, label: LogProbs, locations: &Range<usize>) -> Option<RegionScore> {
        let locations = self.over(locations);
        let all = LogProbs {
            sum: label.sum + locations.sum,
            count: label.count + locations.count,
        };
        Some(RegionScore {
            overall: all.score()?,
            label: label.score(),
            locations: locations.score()?,
        })
    }
}

impl LogProbs {
    fn score(self) -> Option<f32> {
        (self.count > 0).then(|| (self.sum / self.count as f64).exp() as f32)
    }
}

impl<'a> FromIterator<&'a TokenSpan> for LogProbs {
    fn from_iter<I: IntoIterator<Item = &'a TokenSpan>>(tokens: I) -> Self {
        let mut log_probs = Self::default();
        for token in tokens {
            count(1);
            log_probs.sum += f64::from(token.log_prob);
            log_probs.count += 1;
        }
        log_probs
    }
}

//! The result of generation: a sequence of tokens with its score.

use serde::{Deserialize, Serialize};

/// One generated sequence.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct GeneratedSequence {
    /// The decoder's whole sequence, as transformers returns it: the start token, then the answer.
    pub token_ids: Vec<u32>,
    /// The log-probability of each of `token_ids`, after the logits processors; 0 for the start
    /// token and for forced tokens.
    pub log_probs: Vec<f32>,
    /// For each location token, the log-probability that the location lies within the tolerance of a
    /// [`LocationWindow`](super::LocationWindow) around it: its value in `log_probs` plus the
    /// logarithm of the window's probability over its own, both before the logits processors; at
    /// most 0. For every other token, and without a window, the value in `log_probs`.
    pub location_log_probs: Vec<f32>,
    /// Sum of log-probabilities over generated tokens ^ `length_penalty`: `sequences_scores`.
    pub score: f32,
    /// The reason why it ended.
    pub finish_reason: FinishReason,
}

/// The divisor of a sequence's score: the number of its new tokens ^ `length_penalty`.
pub(super) fn length_divisor(new_tokens: usize, length_penalty: f32) -> f32 {
    (new_tokens as f64).powf(f64::from(length_penalty)) as f32
}

/// The reason why a sequence ended, for every kind of search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model chose an end token, or completed a stop string.
    EndOfText,
    /// The sequence was cut off: `max_new_tokens`, `max_length` or `max_time` was reached. An end token
    /// that `forced_eos_token_id` appends at the maximum length does not change this reason.
    Length,
}

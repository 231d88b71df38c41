//! The result of generation: a sequence of tokens with its score.

use serde::{Deserialize, Serialize};

/// One generated sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedSequence {
    /// The decoder's whole sequence, as transformers returns it: the start token, then the answer.
    pub token_ids: Vec<u32>,
    /// The log-probability of each of `token_ids`, after the logits processors; 0 for the start
    /// token and for forced tokens.
    pub log_probs: Vec<f32>,
    /// Sum of log-probabilities over generated tokens ^ `length_penalty`: `sequences_scores`.
    pub score: f32,
    /// The reason why it ended.
    pub finish_reason: FinishReason,
}

/// The reason why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model generated an end token or a stop string.
    EndOfText,
    /// `max_new_tokens`, `max_length` or `max_time` was reached.
    Length,
}

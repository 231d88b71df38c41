//! The interface of the search algorithms: one [`Search`] chooses the tokens of one batch entry.

use super::logits_processor::LogitsProcessors;
use super::scores::ScoreRow;
use super::sequence::GeneratedSequence;
use super::stopping_criteria::StoppingCriteria;
use crate::error::Result;

/// The search of one batch entry. It has one decoder row per running sequence.
pub(super) trait Search {
    /// The number of a row's most likely tokens that suffice for the choice; `None` if any may be
    /// chosen.
    fn candidates_needed(&self, processors: &LogitsProcessors<'_>) -> Option<usize>;

    /// Chooses the next tokens from the scores of this search's rows.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) if a row has no usable score.
    fn advance(
        &mut self,
        scores: &mut [ScoreRow],
        processors: &LogitsProcessors<'_>,
        stopping: &StoppingCriteria<'_>,
    ) -> Result<Step>;

    /// The token just chosen and its log-probability; `None` if the choice is not final or if there
    /// are several sequences.
    fn last_token(&self) -> Option<(u32, f32)>;

    /// Ends the search and returns its sequences, best first.
    fn finish(self: Box<Self>) -> Vec<GeneratedSequence>;
}

/// The result of a search step.
pub(super) enum Step {
    /// Continue: each new row's parent among this search's rows, and its next token.
    Continue {
        parents: Vec<usize>,
        next_tokens: Vec<u32>,
    },
    /// The search has ended.
    Done,
}

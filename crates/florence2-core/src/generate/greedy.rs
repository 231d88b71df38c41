//! Greedy search and sampling: HF `_sample`.

use florence2_kernels::top_k;
use rand_chacha::ChaCha8Rng;

use super::config::GenerationConfig;
use super::logits_processor::LogitsProcessors;
use super::sample::{sample_without_replacement, seeded_rng};
use super::scores::ScoreRow;
use super::search::{Search, Step};
use super::sequence::{FinishReason, GeneratedSequence, length_divisor};
use super::stopping_criteria::StoppingCriteria;
use crate::error::Result;

/// The sequences of one batch entry, which grow independently.
pub(super) struct GreedySearch {
    sequences: Vec<GeneratedSequence>,
    /// True for each ended sequence. It keeps its decoder row until all sequences have ended.
    ended: Vec<bool>,
    rngs: Option<Vec<ChaCha8Rng>>,
    length_penalty: f32,
}

impl GreedySearch {
    pub(super) fn new(config: &GenerationConfig, start: u32) -> Self {
        let count = config.num_return_sequences;
        let sequence = GeneratedSequence {
            token_ids: vec![start],
            log_probs: vec![0.0],
            location_log_probs: vec![0.0],
            score: 0.0,
            finish_reason: FinishReason::Length,
        };
        let rngs = config.do_sample.then(|| {
            (0..count as u64)
                .map(|stream| seeded_rng(config.seed, stream))
                .collect()
        });
        Self {
            sequences: vec![sequence; count],
            ended: vec![false; count],
            rngs,
            length_penalty: config.length_penalty,
        }
    }
}

impl Search for GreedySearch {
    /// Returns 1, or `None` if tokens are sampled or may be banned.
    fn candidates_needed(&self, processors: &LogitsProcessors<'_>) -> Option<usize> {
        let running = self
            .sequences
            .iter()
            .zip(&self.ended)
            .filter(|(_, ended)| !**ended);
        let mut banned = running.map(|(sequence, _)| processors.max_banned(&sequence.token_ids));
        let none_banned = banned.all(|count| count == Some(0));
        (self.rngs.is_none() && none_banned).then_some(1)
    }

    fn advance(
        &mut self,
        scores: &mut [ScoreRow],
        processors: &LogitsProcessors<'_>,
        stopping: &StoppingCriteria<'_>,
    ) -> Result<Step> {
        for (row, scores) in scores.iter_mut().enumerate() {
            if self.ended[row] {
                continue;
            }
            let sequence = &mut self.sequences[row];
            processors.apply(row, &sequence.token_ids, scores)?;
            scores.normalise()?;
            let rng = self.rngs.as_mut().map(|rngs| &mut rngs[row]);
            let (token_id, log_prob) = choose(scores, rng);
            sequence.token_ids.push(token_id);
            sequence.log_probs.push(log_prob);
            let location_log_prob = scores.location_log_prob(token_id, log_prob);
            sequence.location_log_probs.push(location_log_prob);
            if let Some(reason) = stopping.finish_reason(&sequence.token_ids) {
                sequence.finish_reason = reason;
                self.ended[row] = true;
            }
        }
        if self.ended.iter().all(|ended| *ended) {
            return Ok(Step::Done);
        }
        Ok(Step::Continue {
            parents: (0..self.sequences.len()).collect(),
            next_tokens: self
                .sequences
                .iter()
                .map(|sequence| sequence.token_ids.last().copied().unwrap_or_default())
                .collect(),
        })
    }

    fn last_token(&self) -> Option<(u32, f32)> {
        let [sequence] = self.sequences.as_slice() else {
            return None;
        };
        Some((*sequence.token_ids.last()?, *sequence.log_probs.last()?))
    }

    fn finish(mut self: Box<Self>) -> Vec<GeneratedSequence> {
        for sequence in &mut self.sequences {
            let sum: f32 = sequence.log_probs.iter().sum();
            let new_tokens = sequence.token_ids.len() - 1;
            sequence.score = sum / length_divisor(new_tokens, self.length_penalty);
        }
        self.sequences
    }
}

/// The most likely token, or a sampled one.
fn choose(log_probs: &ScoreRow, rng: Option<&mut ChaCha8Rng>) -> (u32, f32) {
    let best = match rng {
        None => top_k(&log_probs.values, 1),
        Some(rng) => sample_without_replacement(&log_probs.values, 1, rng),
    };
    // INVARIANT: rows without a usable score are rejected when they are normalised.
    let (index, log_prob) = best.first().copied().expect("a vocabulary has tokens");
    (log_probs.token(index), log_prob)
}

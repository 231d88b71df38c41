//! Beam search: HF `_beam_search` of transformers 5.17, for one batch entry.
//!
//! The arithmetic is in f32 and in the reference's order of operations, including the -1e9 that
//! represents "impossible": beams are chosen by comparing sums, and sums depend on their order.

use florence2_kernels::top_k;
use rand_chacha::ChaCha8Rng;

use super::config::GenerationConfig;
use super::early_stopping::EarlyStopping;
use super::logits_processor::LogitsProcessors;
use super::sample::{sample_without_replacement, seeded_rng};
use super::scores::ScoreRow;
use super::search::{Search, Step};
use super::sequence::{FinishReason, GeneratedSequence, length_divisor};
use super::stopping_criteria::StoppingCriteria;
use crate::error::Result;

/// The reference's score of continuations that must not be chosen.
const IMPOSSIBLE: f32 = -1.0e9;

/// The number of extra candidates, so that masking cannot exhaust them. It is a constant, so that
/// the kernel that finds the candidates is compiled once.
const BAN_MARGIN: usize = 10;

/// A sequence with the sum of its log-probabilities, or its final score once finished.
#[derive(Clone)]
struct Beam {
    token_ids: Vec<u32>,
    log_probs: Vec<f32>,
    location_log_probs: Vec<f32>,
    score: f32,
    finished: bool,
    /// The reason why it ends; `None` if it continues.
    finish_reason: Option<FinishReason>,
}

/// A continuation of a running beam.
struct Candidate {
    beam: Beam,
    parent: usize,
    hits_stopping_criteria: bool,
}

/// The state of one entry's search.
pub(super) struct BeamSearch {
    running: Vec<Beam>,
    finished: Vec<Beam>,
    improvable: bool,
    max_length: usize,
    length_penalty: f32,
    early_stopping: EarlyStopping,
    num_return_sequences: usize,
    rng: Option<ChaCha8Rng>,
}

impl BeamSearch {
    pub(super) fn new(config: &GenerationConfig, start: u32, max_length: usize) -> Self {
        let beam = |score| Beam {
            token_ids: vec![start],
            log_probs: vec![0.0],
            location_log_probs: vec![0.0],
            score,
            finished: false,
            finish_reason: None,
        };
        // All beams begin equal. Only the first may be continued, or all would stay equal.
        let mut running = vec![beam(IMPOSSIBLE); config.num_beams];
        running[0].score = 0.0;
        Self {
            running,
            finished: vec![beam(IMPOSSIBLE); config.num_beams],
            improvable: true,
            max_length,
            length_penalty: config.length_penalty,
            early_stopping: config.early_stopping,
            num_return_sequences: config.num_return_sequences,
            rng: config.do_sample.then(|| seeded_rng(config.seed, 0)),
        }
    }

    /// The number of continuations that are considered, over all running beams.
    fn candidate_count(&self, processors: &LogitsProcessors<'_>) -> usize {
        (1 + processors.eos_token_count()).max(2) * self.running.len()
    }

    /// The best continuations over all running beams: enough that `num_beams` remain if the end
    /// token of every beam is among them.
    fn candidates(
        &mut self,
        rows: &mut [ScoreRow],
        processors: &LogitsProcessors<'_>,
        stopping: &StoppingCriteria<'_>,
    ) -> Result<Vec<Candidate>> {
        let (mut log_probs, mut sums) = (Vec::new(), Vec::new());
        for (index, (beam, row)) in self.running.iter().zip(rows.iter_mut()).enumerate() {
            processors.normalise(row)?;
            processors.apply(index, &beam.token_ids, row)?;
            log_probs.extend_from_slice(&row.values);
            sums.extend(row.values.iter().map(|log_prob| log_prob + beam.score));
        }
        let row_length = sums.len() / rows.len();
        let count = self.candidate_count(processors);
        let best = match &mut self.rng {
            None => top_k(&sums, count),
            Some(rng) => sample_without_replacement(&sums, count, rng),
        };
        let candidate = |(index, score): (usize, f32)| {
            let parent = index / row_length;
            let (row, log_prob) = (&rows[parent], log_probs[index]);
            let token_id = row.token(index % row_length);
            let mut beam = self.running[parent].clone();
            beam.token_ids.push(token_id);
            beam.log_probs.push(log_prob);
            beam.location_log_probs
                .push(row.location_log_prob(token_id, log_prob));
            beam.score = score;
            beam.finish_reason = stopping.finish_reason(&beam.token_ids);
            Candidate {
                hits_stopping_criteria: beam.finish_reason.is_some(),
                beam,
                parent,
            }
        };
        Ok(best.into_iter().map(candidate).collect())
    }

    /// The indices of the candidates that continue, best first.
    fn next_running(&self, candidates: &[Candidate]) -> Vec<usize> {
        let scores: Vec<f32> = candidates
            .iter()
            .map(|candidate| candidate.beam.score + impossible_if(candidate.hits_stopping_criteria))
            .collect();
        top_k(&scores, self.running.len())
            .into_iter()
            .map(|(index, _)| index)
            .collect()
    }

    /// Adds the candidates that just ended to the finished beams, if they are among the best of
    /// this step and better than the finished ones.
    fn update_finished(&mut self, candidates: &[Candidate]) {
        let num_beams = self.finished.len();
        let full = self.finished.iter().all(|beam| beam.finished);
        let closed = full && self.early_stopping == EarlyStopping::True;
        let mut merged = std::mem::take(&mut self.finished);
        for (rank, candidate) in candidates.iter().enumerate() {
            let ended = candidate.hits_stopping_criteria && rank < num_beams;
            let mut beam = candidate.beam.clone();
            beam.finished = ended;
            beam.score /= length_divisor(beam.token_ids.len() - 1, self.length_penalty);
            beam.score += impossible_if(closed);
            beam.score += impossible_if(!self.improvable);
            beam.score += impossible_if(!ended);
            merged.push(beam);
        }
        let scores: Vec<f32> = merged.iter().map(|beam| beam.score).collect();
        self.finished = top_k(&scores, num_beams)
            .into_iter()
            .map(|(index, _)| merged[index].clone())
            .collect();
    }

    /// HF `_check_early_stop_heuristic`: returns whether the best running beam could still beat a
    /// finished one.
    fn can_improve(&self) -> bool {
        let length = self.running[0].token_ids.len();
        let hypothetical_length = match self.early_stopping {
            EarlyStopping::Never if self.length_penalty > 0.0 => self.max_length - 1,
            _ => length - 1,
        };
        let best = self.running[0].score / length_divisor(hypothetical_length, self.length_penalty);
        let worst = self
            .finished
            .iter()
            .map(|beam| beam.score)
            .fold(f32::INFINITY, f32::min);
        self.finished
            .iter()
            .any(|beam| best > if beam.finished { worst } else { IMPOSSIBLE })
    }
}

impl Search for BeamSearch {
    fn candidates_needed(&self, processors: &LogitsProcessors<'_>) -> Option<usize> {
        let is_within_margin = |beam: &Beam| {
            processors
                .max_banned(&beam.token_ids)
                .is_some_and(|count| count <= BAN_MARGIN)
        };
        let are_within_margin = self.running.iter().all(is_within_margin);
        (self.rng.is_none() && are_within_margin)
            .then(|| self.candidate_count(processors) + BAN_MARGIN)
    }

    fn advance(
        &mut self,
        scores: &mut [ScoreRow],
        processors: &LogitsProcessors<'_>,
        stopping: &StoppingCriteria<'_>,
    ) -> Result<Step> {
        let num_beams = self.running.len();
        let candidates = self.candidates(scores, processors, stopping)?;
        let all_ended = candidates
            .iter()
            .all(|candidate| candidate.hits_stopping_criteria);
        let running = self.next_running(&candidates);
        self.update_finished(&candidates);

        let parents = running
            .iter()
            .map(|index| candidates[*index].parent)
            .collect();
        self.running = running
            .iter()
            .map(|index| {
                let candidate = &candidates[*index];
                let mut beam = candidate.beam.clone();
                beam.score += impossible_if(candidate.hits_stopping_criteria);
                beam
            })
            .collect();
        self.improvable &= self.can_improve();
        let full = self.finished.iter().all(|beam| beam.finished);
        let stopped_early = full && self.early_stopping == EarlyStopping::True;
        if all_ended || stopped_early || !self.improvable {
            return Ok(Step::Done);
        }
        debug_assert_eq!(self.running.len(), num_beams);
        Ok(Step::Continue {
            parents,
            next_tokens: self
                .running
                .iter()
                .map(|beam| beam.token_ids.last().copied().unwrap_or_default())
                .collect(),
        })
    }

    /// None: until the search ends, another beam may become the best one.
    fn last_token(&self) -> Option<(u32, f32)> {
        None
    }

    fn finish(self: Box<Self>) -> Vec<GeneratedSequence> {
        self.finished
            .into_iter()
            .take(self.num_return_sequences)
            .map(|beam| GeneratedSequence {
                finish_reason: beam.finish_reason.unwrap_or(FinishReason::Length),
                token_ids: beam.token_ids,
                log_probs: beam.log_probs,
                location_log_probs: beam.location_log_probs,
                score: beam.score,
            })
            .collect()
    }
}

/// The term of a score that excludes a beam if `condition` is true.
fn impossible_if(condition: bool) -> f32 {
    if condition { IMPOSSIBLE } else { 0.0 }
}

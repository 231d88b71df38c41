//! What is done to scores before a token is chosen: HF `generation/logits_process.py`, in the
//! order of `_get_logits_processor`.

use florence2_kernels::{exp, top_k};

use super::GenerationConfig;
use super::scores::Row;
use crate::config::Florence2TextConfig;
use crate::error::{Error, Result};

/// All processors of one configuration.
pub(super) struct LogitsProcessors {
    config: GenerationConfig,
    pub(super) eos_token_id: Vec<u32>,
    max_length: usize,
    vocab_size: usize,
    /// Whether the model scores rows that are no tokens.
    padded: bool,
}

impl LogitsProcessors {
    pub(super) fn new(
        config: &GenerationConfig,
        model: &Florence2TextConfig,
        vocab_size: usize,
    ) -> Self {
        let eos_token_id = match config.eos_token_id.as_slice() {
            [] => vec![model.eos_token_id],
            ids => ids.to_vec(),
        };
        Self {
            config: config.clone(),
            eos_token_id,
            max_length: config.resolved_max_length(model),
            vocab_size,
            padded: vocab_size < model.vocab_size,
        }
    }

    /// How many tokens [`Self::apply`] bans after `sequence`, at most; none when it does more than to
    /// ban some.
    pub(super) fn banned(&self, sequence: &[u32]) -> Option<usize> {
        let config = &self.config;
        let forces = self.forced_token(sequence).is_some();
        if forces || self.padded || config.do_sample || config.repetition_penalty != 1.0 {
            return None;
        }
        Some(self.impossible_after(sequence).count() + config.suppress_tokens.len())
    }

    /// Changes the scores of the token that would follow `sequence`: of all tokens, or of the
    /// likeliest where [`Self::banned`] says that none but bans change them.
    pub(super) fn apply(&self, sequence: &[u32], scores: &mut Row) {
        if scores.tokens.is_none() {
            let used = self.vocab_size.min(scores.values.len());
            scores.values[used..].fill(f32::NEG_INFINITY);
            if self.config.repetition_penalty != 1.0 {
                penalise_repetition(sequence, &mut scores.values, self.config.repetition_penalty);
            }
        }
        scores.ban(self.impossible_after(sequence));
        if let Some(id) = self.forced_token(sequence) {
            force(&mut scores.values, id);
        }
        scores.ban(self.config.suppress_tokens.iter().copied());
        if self.config.do_sample {
            self.warp(&mut scores.values);
        }
    }

    /// What must not follow `sequence`: repetitions, bad words, an end that comes too early.
    fn impossible_after(&self, sequence: &[u32]) -> impl Iterator<Item = u32> {
        let ends: &[u32] = match self.is_too_short(sequence) {
            true => &self.eos_token_id,
            false => &[],
        };
        repeated_ngrams(sequence, self.config.no_repeat_ngram_size)
            .chain(self.bad_words_after(sequence))
            .chain(ends.iter().copied())
    }

    fn is_too_short(&self, sequence: &[u32]) -> bool {
        // The start token is no new token.
        sequence.len() < self.config.min_length || sequence.len() - 1 < self.config.min_new_tokens
    }

    /// The token that must follow: where both are, the end goes before the beginning.
    fn forced_token(&self, sequence: &[u32]) -> Option<u32> {
        let config = &self.config;
        let at_end = sequence.len() + 1 == self.max_length;
        let end = config.forced_eos_token_id.filter(|_| at_end);
        let beginning = config.forced_bos_token_id.filter(|_| sequence.len() == 1);
        end.or(beginning)
    }

    fn bad_words_after(&self, sequence: &[u32]) -> impl Iterator<Item = u32> {
        self.config.bad_words_ids.iter().filter_map(move |word| {
            let (last, prefix) = word.split_last()?;
            // The end token alone is no word: banning it would make every answer endless.
            let is_end = prefix.is_empty() && self.eos_token_id.contains(last);
            (!is_end && sequence.ends_with(prefix)).then_some(*last)
        })
    }

    /// Temperature, top-k, top-p.
    fn warp(&self, scores: &mut [f32]) {
        let config = &self.config;
        // A beam needs something to go on with beside the end tokens.
        let least = match config.num_beams {
            1 => 1,
            _ => self.eos_token_id.len() + 1,
        };
        if config.temperature != 1.0 {
            for score in scores.iter_mut() {
                *score /= config.temperature;
            }
        }
        if config.top_k > 0 {
            keep_top_k(scores, config.top_k.max(least));
        }
        if config.top_p < 1.0 {
            keep_top_p(scores, config.top_p, least);
        }
    }
}

/// HF `RepetitionPenaltyLogitsProcessor`.
fn penalise_repetition(sequence: &[u32], scores: &mut [f32], penalty: f32) {
    let mut seen: Vec<u32> = sequence.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for id in seen {
        if let Some(score) = scores.get_mut(id as usize) {
            *score = if *score < 0.0 {
                *score * penalty
            } else {
                *score / penalty
            };
        }
    }
}

/// HF `NoRepeatNGramLogitsProcessor`: what once followed the last `size - 1` tokens is banned. Size 0
/// bans nothing.
fn repeated_ngrams(sequence: &[u32], size: usize) -> impl Iterator<Item = u32> {
    let windows = match size {
        0 => [].windows(1),
        _ => sequence.windows(size),
    };
    windows.filter_map(move |window| {
        // INVARIANT: a window is of `size` tokens, at least one, and no more than there are.
        let (last, start) = window.split_last()?;
        let prefix = &sequence[sequence.len() + 1 - size..];
        (start == prefix).then_some(*last)
    })
}

fn force(scores: &mut [f32], id: u32) {
    scores.fill(f32::NEG_INFINITY);
    if let Some(score) = scores.get_mut(id as usize) {
        *score = 0.0;
    }
}

/// HF `TopKLogitsWarper`.
fn keep_top_k(scores: &mut [f32], k: usize) {
    let Some((_, least)) = top_k(scores, k.min(scores.len())).pop() else {
        return;
    };
    for score in scores.iter_mut().filter(|score| **score < least) {
        *score = f32::NEG_INFINITY;
    }
}

/// HF `TopPLogitsWarper`.
fn keep_top_p(scores: &mut [f32], top_p: f32, least: usize) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Of equal scores the first is the likeliest, as in a search.
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(b.cmp(a)));
    let max = order.last().map_or(0.0, |index| scores[*index]);
    let total: f32 = scores.iter().map(|score| (score - max).exp()).sum();
    let removable = order.len().saturating_sub(least);
    let mut cumulative = 0.0;
    for index in &order[..removable] {
        cumulative += (scores[*index] - max).exp() / total;
        if cumulative > 1.0 - top_p {
            break;
        }
        scores[*index] = f32::NEG_INFINITY;
    }
}

/// Turns scores into log-probabilities in place.
///
/// # Errors
/// [`Error::NotFinite`] when no score is usable.
pub fn log_softmax(scores: &mut [f32]) -> Result<()> {
    // In parts, which are computed side by side: there are as many scores as words in a vocabulary.
    const PARTS: usize = 16;
    let (chunks, tail) = scores.as_chunks::<PARTS>();
    let mut maxima = [f32::NEG_INFINITY; PARTS];
    for chunk in chunks {
        for (max, score) in maxima.iter_mut().zip(chunk) {
            *max = if *score > *max { *score } else { *max };
        }
    }
    let max = maxima.iter().chain(tail).copied();
    let max = max.fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0_f64; PARTS];
    for chunk in chunks {
        for (sum, score) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(exp(score - max));
        }
    }
    let tail: f64 = tail.iter().map(|score| f64::from(exp(score - max))).sum();
    let normalizer = max + (sums.iter().sum::<f64>() + tail).ln() as f32;
    if !normalizer.is_finite() {
        return Err(Error::NotFinite { step: 0 });
    }
    for score in scores {
        *score -= normalizer;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::*;

    const BANNED: f32 = f32::NEG_INFINITY;

    #[test]
    fn ngrams_are_not_repeated() {
        let banned = |sequence: &[u32], size| repeated_ngrams(sequence, size).collect::<Vec<_>>();
        assert_eq!(banned(&[2, 0, 4, 5, 0, 4], 3), [5]);
        assert_eq!(banned(&[2, 0, 4], 1), [2, 0, 4]);
        assert!(banned(&[2], 3).is_empty());
        assert!(banned(&[2, 2], 0).is_empty());
    }

    #[test]
    fn nucleus_keeps_the_likely() {
        let mut scores = [0.5f32.ln(), 0.3f32.ln(), 0.15f32.ln(), 0.05f32.ln()];
        keep_top_p(&mut scores, 0.75, 1);
        assert!(scores[..2].iter().all(|score| score.is_finite()));
        assert_eq!(scores[2..], [BANNED, BANNED]);
    }

    /// What transformers leaves of random scores, all processors together.
    #[test]
    fn samples_are_drawn_from_what_the_reference_leaves() {
        let goldens = include_str!("../../../../tests/fixtures/sampling.json");
        let goldens: Value = serde_json::from_str(goldens).unwrap();
        let sequence: Vec<u32> = serde_json::from_value(goldens["sequence"].clone()).unwrap();
        for case in goldens["cases"].as_array().unwrap() {
            let options = &case["options"];
            let config: GenerationConfig = serde_json::from_value(options.clone()).unwrap();
            let config = GenerationConfig {
                do_sample: true,
                max_length: Some(30),
                eos_token_id: vec![2],
                ..config
            };
            let scores: Vec<f32> = serde_json::from_value(case["scores"].clone()).unwrap();
            let size = scores.len();
            let model = Florence2TextConfig::default();
            let mut row = Row {
                values: scores,
                tokens: None,
            };
            LogitsProcessors::new(&config, &model, size).apply(&sequence, &mut row);
            for (index, (found, expected)) in row
                .values
                .iter()
                .zip(case["left"].as_array().unwrap())
                .enumerate()
            {
                let expected = expected.as_f64().map_or(BANNED, |value| value as f32);
                assert!(
                    *found == expected || (found - expected).abs() < 1e-5,
                    "{options}, token {index}: found {found}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn not_a_number_is_an_error() {
        assert!(log_softmax(&mut [0.0, f32::NAN]).is_err());
        assert!(log_softmax(&mut [BANNED, BANNED]).is_err());
    }
}

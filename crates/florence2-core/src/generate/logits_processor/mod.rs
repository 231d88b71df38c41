//! The processing of scores before a token is chosen: HF `generation/logits_process.py`, in the
//! order of `_get_logits_processor`.

mod warpers;

use std::collections::{BTreeSet, HashMap};

use super::config::GenerationConfig;
use super::scores::ScoreRow;
use crate::error::Result;
use warpers::warp;

/// All processors of one batch entry.
pub(super) struct LogitsProcessors<'a> {
    config: &'a GenerationConfig,
    eos_token_id: &'a [u32],
    max_length: usize,
    vocab_size: usize,
    /// True if the model scores rows that are not tokens.
    padded: bool,
    encoder: EncoderInput,
}

/// The part of the encoder's input that the processors read.
#[derive(Default)]
struct EncoderInput {
    /// Its tokens, without duplicates; empty without `encoder_repetition_penalty`.
    tokens: BTreeSet<u32>,
    /// The tokens that follow each run of `encoder_no_repeat_ngram_size - 1` tokens.
    ngrams: HashMap<Vec<u32>, Vec<u32>>,
}

impl EncoderInput {
    fn new(config: &GenerationConfig, input_ids: &[u32]) -> Self {
        let mut input = Self::default();
        if config.encoder_repetition_penalty != 1.0 {
            input.tokens.extend(input_ids);
        }
        let size = config.encoder_no_repeat_ngram_size;
        if size > 0 {
            for (last, start) in input_ids.windows(size).filter_map(<[u32]>::split_last) {
                let banned = input.ngrams.entry(start.to_vec()).or_default();
                if !banned.contains(last) {
                    banned.push(*last);
                }
            }
        }
        input
    }
}

impl<'a> LogitsProcessors<'a> {
    /// `encoder_input_ids` are those of the entry, including image placeholders. `model_vocab_size`
    /// is the number of tokens that the model scores, of which the first `vocab_size` exist.
    pub(super) fn new(
        config: &'a GenerationConfig,
        eos_token_id: &'a [u32],
        max_length: usize,
        encoder_input_ids: &[u32],
        [vocab_size, model_vocab_size]: [usize; 2],
    ) -> Self {
        Self {
            config,
            eos_token_id,
            max_length,
            vocab_size,
            padded: vocab_size < model_vocab_size,
            encoder: EncoderInput::new(config, encoder_input_ids),
        }
    }

    /// The maximum number of tokens that [`Self::apply`] bans after `sequence`; `None` if it also
    /// changes scores in other ways.
    pub(super) fn max_banned(&self, sequence: &[u32]) -> Option<usize> {
        let changes_scores = self.padded
            || !self.forced_tokens(sequence).is_empty()
            || self.decay(sequence).is_some()
            || changes_all_scores(self.config);
        if changes_scores {
            return None;
        }
        let suppressed = self.config.suppress_tokens.len() + self.begin_suppressed(sequence).len();
        Some(self.banned_after(sequence).count() + suppressed)
    }

    /// Changes the scores of the token that follows `sequence`: of all tokens, or of the most
    /// likely ones if [`Self::max_banned`] shows that only bans change them. `row` is the index of
    /// the sequence within its batch entry.
    ///
    /// # Errors
    /// [`NotFinite`](crate::Error::NotFinite) if scores that are to be normalised again are not
    /// usable.
    pub(super) fn apply(&self, row: usize, sequence: &[u32], scores: &mut ScoreRow) -> Result<()> {
        let config = self.config;
        let all = scores.tokens.is_none();
        if all {
            self.ban_padding(&mut scores.values);
            self.rescale(row, sequence, &mut scores.values);
        }
        scores.ban(self.banned_after(sequence));
        let forced = self.forced_tokens(sequence);
        if !forced.is_empty() {
            force(&mut scores.values, forced);
        }
        if all && config.remove_invalid_values {
            remove_invalid(&mut scores.values);
            self.ban_padding(&mut scores.values);
        }
        if let Some(growth) = self.decay(sequence) {
            for id in self.eos_token_id {
                if let Some(score) = scores.values.get_mut(*id as usize)
                    && *score > f32::MIN
                {
                    *score += score.abs() * growth;
                }
            }
        }
        scores.ban(config.suppress_tokens.iter().copied());
        scores.ban(self.begin_suppressed(sequence).iter().copied());
        if config.do_sample {
            // A beam needs a continuation other than the end tokens.
            let min_tokens_to_keep = match config.num_beams {
                1 => 1,
                _ => self.eos_token_id.len() + 1,
            };
            warp(config, &mut scores.values, min_tokens_to_keep);
        }
        if all && config.renormalize_logits {
            scores.normalise()?;
        }
        Ok(())
    }

    /// The number of tokens that end a sequence.
    pub(super) fn eos_token_count(&self) -> usize {
        self.eos_token_id.len()
    }

    /// Converts logits to log-probabilities.
    ///
    /// # Errors
    /// [`NotFinite`](crate::Error::NotFinite) if no score is usable, unless invalid values are
    /// removed later.
    pub(super) fn normalise(&self, scores: &mut ScoreRow) -> Result<()> {
        if self.config.remove_invalid_values {
            scores.normalise_or_nan();
            return Ok(());
        }
        scores.normalise()
    }

    fn ban_padding(&self, scores: &mut [f32]) {
        let used = self.vocab_size.min(scores.len());
        scores[used..].fill(f32::NEG_INFINITY);
    }

    /// Applies biases and penalties.
    fn rescale(&self, row: usize, sequence: &[u32], scores: &mut [f32]) {
        let config = self.config;
        if !config.sequence_bias.is_empty() {
            add_biases(&config.sequence_bias, sequence, scores);
        }
        // Transformers does not repeat the encoder's input for each beam, so it penalises only the
        // first.
        if row == 0 && config.encoder_repetition_penalty != 1.0 {
            let tokens = self.encoder.tokens.iter().copied();
            penalise(tokens, scores, 1.0 / config.encoder_repetition_penalty);
        }
        if config.repetition_penalty != 1.0 {
            let tokens: BTreeSet<u32> = sequence.iter().copied().collect();
            penalise(tokens, scores, config.repetition_penalty);
        }
    }

    /// The tokens that must not follow `sequence`: repetitions, bad words, an end that comes too
    /// early.
    fn banned_after(&self, sequence: &[u32]) -> impl Iterator<Item = u32> {
        let ends: &[u32] = match self.is_too_short(sequence) {
            true => self.eos_token_id,
            false => &[],
        };
        repeated_ngrams(sequence, self.config.no_repeat_ngram_size)
            .chain(self.encoder_ngrams(sequence).iter().copied())
            .chain(self.bad_words_after(sequence))
            .chain(ends.iter().copied())
    }

    /// HF `EncoderNoRepeatNGramLogitsProcessor`.
    fn encoder_ngrams(&self, sequence: &[u32]) -> &[u32] {
        let prefix = self.config.encoder_no_repeat_ngram_size.checked_sub(1);
        let start = prefix.and_then(|prefix| sequence.len().checked_sub(prefix));
        let banned = start.and_then(|start| self.encoder.ngrams.get(&sequence[start..]));
        banned.map_or(&[], Vec::as_slice)
    }

    fn is_too_short(&self, sequence: &[u32]) -> bool {
        // The start token is not a new token.
        match self.config.min_new_tokens {
            Some(min_new_tokens) => sequence.len() - 1 < min_new_tokens,
            None => sequence.len() < self.config.min_length,
        }
    }

    /// The tokens of which one must follow. If both are forced, the end has precedence over the
    /// beginning.
    fn forced_tokens(&self, sequence: &[u32]) -> &[u32] {
        let config = self.config;
        let at_end = sequence.len() + 1 == self.max_length;
        if at_end && !config.forced_eos_token_id.is_empty() {
            return &config.forced_eos_token_id;
        }
        match sequence.len() {
            1 => &config.forced_bos_token_id,
            _ => &[],
        }
    }

    /// HF `SuppressTokensAtBeginLogitsProcessor`: the tokens that must not be generated first.
    fn begin_suppressed(&self, sequence: &[u32]) -> &[u32] {
        let begin = match self.config.forced_bos_token_id.is_empty() {
            true => 1,
            false => 2,
        };
        match sequence.len() == begin {
            true => &self.config.begin_suppress_tokens,
            false => &[],
        }
    }

    /// HF `ExponentialDecayLengthPenalty`: the multiple of an end token's absolute score that is
    /// added to it.
    fn decay(&self, sequence: &[u32]) -> Option<f32> {
        let (start, factor) = self.config.exponential_decay_length_penalty?;
        let steps = sequence.len().checked_sub(start.saturating_add(1))?;
        (steps > 0).then(|| (factor.powf(steps as f64) - 1.0) as f32)
    }

    fn bad_words_after(&self, sequence: &[u32]) -> impl Iterator<Item = u32> {
        self.config.bad_words_ids.iter().filter_map(move |word| {
            let last = completing_token(word, sequence)?;
            // The end token alone is not a bad word: banning it would make every sequence endless.
            let is_end = word.len() == 1 && self.eos_token_id.contains(&last);
            (!is_end).then_some(last)
        })
    }
}

/// Returns whether a configuration changes scores at every step in other ways than by bans.
fn changes_all_scores(config: &GenerationConfig) -> bool {
    config.do_sample
        || config.repetition_penalty != 1.0
        || config.encoder_repetition_penalty != 1.0
        || !config.sequence_bias.is_empty()
        || config.remove_invalid_values
        || config.renormalize_logits
}

/// The last token of `words`, if `sequence` ends with the others. As in transformers, there is none
/// if `sequence` is shorter than `words`, unless `words` is one token.
fn completing_token(words: &[u32], sequence: &[u32]) -> Option<u32> {
    let (last, prefix) = words.split_last()?;
    let long_enough = prefix.is_empty() || words.len() <= sequence.len();
    (long_enough && sequence.ends_with(prefix)).then_some(*last)
}

/// HF `SequenceBiasLogitsProcessor`. Of equal sequences, the bias of the last one applies.
fn add_biases(biases: &[(Vec<u32>, f32)], sequence: &[u32], scores: &mut [f32]) {
    let mut sums: HashMap<u32, f32> = HashMap::new();
    for (index, (words, bias)) in biases.iter().enumerate() {
        let is_overridden = biases[index + 1..].iter().any(|(later, _)| later == words);
        if let Some(last) = completing_token(words, sequence).filter(|_| !is_overridden) {
            *sums.entry(last).or_default() += bias;
        }
    }
    for (id, bias) in sums {
        if let Some(score) = scores.get_mut(id as usize) {
            *score += bias;
        }
    }
}

/// HF `RepetitionPenaltyLogitsProcessor`, for distinct tokens.
fn penalise(tokens: impl IntoIterator<Item = u32>, scores: &mut [f32], penalty: f32) {
    for id in tokens {
        if let Some(score) = scores.get_mut(id as usize) {
            *score = if *score < 0.0 {
                *score * penalty
            } else {
                *score / penalty
            };
        }
    }
}

/// HF `NoRepeatNGramLogitsProcessor`: bans the tokens that have already followed the last `size -
/// 1` tokens. Size 0 bans nothing.
fn repeated_ngrams(sequence: &[u32], size: usize) -> impl Iterator<Item = u32> {
    let windows = match size {
        0 => [].windows(1),
        _ => sequence.windows(size),
    };
    windows.filter_map(move |window| {
        // INVARIANT: a window has `size` tokens, at least one, and no more than the sequence has.
        let (last, start) = window.split_last()?;
        let prefix = &sequence[sequence.len() + 1 - size..];
        (start == prefix).then_some(*last)
    })
}

fn force(scores: &mut [f32], ids: &[u32]) {
    scores.fill(f32::NEG_INFINITY);
    for id in ids {
        if let Some(score) = scores.get_mut(*id as usize) {
            *score = 0.0;
        }
    }
}

/// HF `InfNanRemoveLogitsProcessor`.
fn remove_invalid(scores: &mut [f32]) {
    for score in scores {
        *score = match *score {
            score if score.is_nan() => 0.0,
            score => score.clamp(f32::MIN, f32::MAX),
        };
    }
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

    /// Compares with the scores that transformers keeps of random scores, all processors together.
    #[test]
    fn processed_scores_are_those_of_transformers() {
        let goldens = include_str!("sampling.json");
        let goldens: Value = serde_json::from_str(goldens).unwrap();
        let ids = |name: &str| serde_json::from_value::<Vec<u32>>(goldens[name].clone()).unwrap();
        let (sequence, encoder) = (ids("sequence"), ids("encoder_input_ids"));
        for case in goldens["cases"].as_array().unwrap() {
            let options = &case["options"];
            let config: GenerationConfig = serde_json::from_value(options.clone()).unwrap();
            let config = GenerationConfig {
                do_sample: true,
                max_length: Some(30),
                ..config
            };
            let scores: Vec<f32> = serde_json::from_value(case["scores"].clone()).unwrap();
            let size = scores.len();
            let mut row = ScoreRow {
                values: scores,
                tokens: None,
                locations: None,
            };
            LogitsProcessors::new(&config, &[2], 30, &encoder, [size, size])
                .apply(0, &sequence, &mut row)
                .unwrap();
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
    fn invalid_scores_become_finite() {
        let mut scores = [f32::NAN, f32::INFINITY, BANNED, -1.5];
        remove_invalid(&mut scores);
        assert_eq!(scores, [0.0, f32::MAX, f32::MIN, -1.5]);
        let config = GenerationConfig {
            remove_invalid_values: true,
            ..GenerationConfig::default()
        };
        // Rows that are not tokens stay impossible.
        let processors = LogitsProcessors::new(&config, &[1], 9, &[], [3, 4]);
        let mut row = ScoreRow {
            values: vec![f32::NAN; 4],
            tokens: None,
            locations: None,
        };
        processors.normalise(&mut row).unwrap();
        processors.apply(0, &[1], &mut row).unwrap();
        assert_eq!(row.values, [0.0, 0.0, 0.0, BANNED]);
    }

    /// By default, a search receives the few tokens that it considers, not whole rows.
    #[test]
    fn options_that_change_scores_require_all_scores() {
        let banned = |config: &GenerationConfig, length: u32| {
            let sequence: Vec<u32> = (20..20 + length).collect();
            let encoder = [30, 31, 30, 32];
            LogitsProcessors::new(config, &[2], 9, &encoder, [40, 40]).max_banned(&sequence)
        };
        let plain = GenerationConfig::default();
        assert_eq!(banned(&plain, 3), Some(0));
        let bans = GenerationConfig {
            encoder_no_repeat_ngram_size: 1,
            begin_suppress_tokens: vec![5, 6],
            exponential_decay_length_penalty: Some((3, 1.5)),
            ..plain.clone()
        };
        assert_eq!(banned(&bans, 1), Some(3 + 2));
        assert_eq!(banned(&bans, 4), Some(3));
        assert_eq!(banned(&bans, 5), None);
        for options in [
            r#"{"sequence_bias": [[[5], 1.0]]}"#,
            r#"{"encoder_repetition_penalty": 2}"#,
            r#"{"renormalize_logits": true}"#,
            r#"{"remove_invalid_values": true}"#,
            r#"{"do_sample": true}"#,
        ] {
            assert_eq!(banned(&serde_json::from_str(options).unwrap(), 3), None);
        }
    }
}

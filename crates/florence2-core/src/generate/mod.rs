//! Choosing tokens: greedy, beam search and sampling, as transformers' `GenerationMixin` does.
//!
//! The model scores on its device; choosing happens on the host, in f32, one search per batch
//! entry, so that an entry's answer never depends on its neighbours. Backends normalise the scores
//! and send the likeliest alone wherever no other can be chosen (`scores.rs`).

mod beam;
mod config;
mod control;
mod greedy;
mod logits_processor;
mod scores;

use burn::tensor::{Int, Tensor};
use florence2_kernels::Backend;

pub use config::{EarlyStopping, GenerationConfig};
pub use control::{CancelToken, GenerationEvent, GenerationObserver};
pub use logits_processor::log_softmax;

use crate::error::{Error, Result};
use crate::language_model::KvCache;
use crate::model::{EncoderOutput, Florence2ForConditionalGeneration};
use beam::BeamSearch;
use greedy::GreedySearch;
use logits_processor::LogitsProcessors;
use scores::Row;

/// One generated answer.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedSequence {
    /// The decoder's whole sequence as transformers gives it: start token first, then the answer.
    pub token_ids: Vec<u32>,
    /// The log-probability of each of `token_ids`, after the logits processors; 0 for the start
    /// token and for forced tokens.
    pub log_probs: Vec<f32>,
    /// Sum of log-probabilities over generated tokens ^ `length_penalty`: `sequences_scores`.
    pub score: f32,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// Why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model wrote the end-of-text token.
    EndOfText,
    /// `max_new_tokens` or `max_length` was reached.
    Length,
}

/// What a search wants next.
enum Step {
    /// Continue: each new row's parent among this search's rows, and its next token.
    Continue {
        parents: Vec<usize>,
        next_tokens: Vec<u32>,
    },
    /// The search is over.
    Done,
}

/// The search of one batch entry.
enum Search {
    Greedy(GreedySearch),
    Beam(BeamSearch),
}

impl Search {
    /// `scores`: of this search's rows.
    fn advance(&mut self, scores: &mut [Row], processors: &LogitsProcessors) -> Result<Step> {
        match self {
            Self::Greedy(search) => search.advance(scores, processors),
            Self::Beam(search) => search.advance(scores, processors),
        }
    }

    /// How many of a row's likeliest tokens decide what is chosen from it; none when all may.
    fn deciding(&self, processors: &LogitsProcessors) -> Option<usize> {
        match self {
            Self::Greedy(search) => search.deciding(processors),
            Self::Beam(search) => search.deciding(processors),
        }
    }

    /// The token just chosen and its log-probability, where one was chosen for good.
    fn last_token(&self) -> Option<(u32, f32)> {
        match self {
            Self::Greedy(search) => search.last_token(),
            Self::Beam(_) => None,
        }
    }

    fn finish(self) -> Vec<GeneratedSequence> {
        match self {
            Self::Greedy(search) => search.finish(),
            Self::Beam(search) => search.finish(),
        }
    }
}

/// Generates answers for a batch of encoded images and prompts.
///
/// Gives per batch entry `num_return_sequences` sequences, best first. `vocab_size` is the
/// tokenizer's: rows of a padded vocabulary at or above it are never generated.
///
/// # Errors
/// [`Error::Argument`] naming the option that cannot be, [`Error::TooManyPositions`],
/// [`Error::NotFinite`], [`Error::Cancelled`], [`Error::DeadlineExceeded`].
pub fn generate<B: Backend>(
    model: &Florence2ForConditionalGeneration<B>,
    encoded: &EncoderOutput<B>,
    config: &GenerationConfig,
    vocab_size: usize,
    cancel: &CancelToken,
    observer: &mut GenerationObserver<'_>,
) -> Result<Vec<Vec<GeneratedSequence>>> {
    let text_config = &model.config().text_config;
    config.validate(text_config)?;
    let processors = LogitsProcessors::new(config, text_config, vocab_size);
    let max_length = config.resolved_max_length(text_config);
    let start = config
        .decoder_start_token_id
        .unwrap_or(text_config.decoder_start_token_id);
    let batch = encoded.last_hidden_state.dims()[0];
    let rows_per_entry = config.rows();

    let mut searches: Vec<Search> = (0..batch)
        .map(|_| config.search(start, max_length))
        .collect();
    let mut active: Vec<usize> = (0..batch).collect();
    let mut cross_attention = model.cross_attention_cache(encoded);
    let mut cache = KvCache::default();
    let mut next_tokens = vec![start; batch * rows_per_entry];
    for step in 0.. {
        if active.is_empty() {
            break;
        }
        cancel.check()?;
        let rows = next_tokens.len();
        let input_ids: Vec<i32> = next_tokens.iter().map(|id| *id as i32).collect();
        let input_ids = Tensor::<B, 1, Int>::from_ints(input_ids.as_slice(), &model.device())
            .reshape([rows, 1]);
        let logits = model.decode(input_ids, &cross_attention, &mut cache)?;
        let deciding: Vec<Option<usize>> = active
            .iter()
            .flat_map(|entry| {
                let deciding = searches[*entry].deciding(&processors);
                std::iter::repeat_n(deciding, rows_per_entry)
            })
            .collect();
        let mut scores =
            scores::to_host(logits, &deciding).map_err(|error| at_step(error, step))?;

        let mut survivors = Vec::with_capacity(active.len());
        let mut kept_rows = Vec::with_capacity(rows);
        next_tokens.clear();
        let entries = scores.chunks_exact_mut(rows_per_entry);
        for (slot, (&entry, scores)) in active.iter().zip(entries).enumerate() {
            let search = &mut searches[entry];
            let step_result = search
                .advance(scores, &processors)
                .map_err(|error| at_step(error, step))?;
            if let Some((token_id, log_prob)) = search.last_token() {
                observer.notify(GenerationEvent::Token {
                    entry,
                    token_id,
                    log_prob,
                })?;
            }
            if let Step::Continue {
                parents,
                next_tokens: chosen,
            } = step_result
            {
                survivors.push(slot);
                kept_rows.extend(parents.iter().map(|parent| slot * rows_per_entry + parent));
                next_tokens.extend(chosen);
            }
        }
        observer.notify(GenerationEvent::Progress {
            new_tokens: step + 1,
            max_new_tokens: max_length - 1,
        })?;
        if survivors.len() < active.len() {
            active = survivors.iter().map(|slot| active[*slot]).collect();
            if !active.is_empty() {
                cross_attention.select(&survivors);
            }
        }
        if !active.is_empty() {
            cache.select(&kept_rows);
        }
    }
    let mut answers = Vec::with_capacity(batch);
    for (entry, search) in searches.into_iter().enumerate() {
        let told = search.last_token().is_some();
        let sequences = search.finish();
        if !told {
            tell_tokens(entry, &sequences, observer)?;
        }
        answers.push(sequences);
    }
    Ok(answers)
}

/// The best sequence's tokens, of a search that could not tell which they would be.
fn tell_tokens(
    entry: usize,
    sequences: &[GeneratedSequence],
    observer: &mut GenerationObserver<'_>,
) -> Result<()> {
    let Some(best) = sequences.first() else {
        return Ok(());
    };
    for (token_id, log_prob) in best.token_ids.iter().zip(&best.log_probs).skip(1) {
        observer.notify(GenerationEvent::Token {
            entry,
            token_id: *token_id,
            log_prob: *log_prob,
        })?;
    }
    Ok(())
}

fn at_step(error: Error, step: usize) -> Error {
    match error {
        Error::NotFinite { .. } => Error::NotFinite { step },
        other => other,
    }
}

//! Generation: greedy search, beam search and sampling, as in transformers' `GenerationMixin`.
//!
//! The model computes scores on its device. Tokens are chosen on the host, in f32, with one search
//! per batch entry, so that the result of an entry never depends on its neighbours. Backends
//! normalise the scores, and send only the most likely ones if no other token can be chosen
//! (`scores.rs`).
//!
//! The modules, from the bottom: `sequence`, `config` and `location_window`; `scores`, `logits_processor` and
//! `stopping_criteria`; `search`, the interface of `greedy` and `beam`; the loop in this file.

mod beam;
mod config;
mod config_fields;
mod config_keys;
mod early_stopping;
mod greedy;
mod key;
mod key_table;
mod location_window;
mod log_softmax;
mod logits_processor;
mod observer;
mod sample;
mod scores;
mod search;
mod sequence;
mod stopping_criteria;

use burn::tensor::{Int, Tensor};
use florence2_kernels::Backend;

pub use crate::cancel::CancelToken;
pub use config::GenerationConfig;
pub use config_keys::parse_options;
pub use early_stopping::EarlyStopping;
pub use key::{GenerationKey, KeyTreatment};
pub use key_table::GENERATION_KEYS;
pub use location_window::LocationWindow;
pub use log_softmax::log_softmax;
pub use observer::{GenerationEvent, GenerationObserver};
pub use sequence::{FinishReason, GeneratedSequence};
pub use stopping_criteria::TokenBytes;

use crate::error::{Error, Result};
use crate::image_placeholders::Prompts;
use crate::language_model::KvCache;
use crate::model::{EncoderOutput, Florence2ForConditionalGeneration};
use beam::BeamSearch;
use greedy::GreedySearch;
use logits_processor::LogitsProcessors;
use search::{Search, Step};
use stopping_criteria::StoppingCriteria;

/// The inputs of a search other than the encoder's output.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct GenerationContext<'a> {
    /// The number of the tokenizer's entries. Rows of a padded vocabulary from this number on are
    /// never generated.
    pub vocab_size: usize,
    /// The prompt of each batch entry, without padding and image placeholders. Options that begin
    /// with `encoder_` read it; it may be empty without them.
    pub prompts: &'a [Vec<u32>],
    /// The bytes of each token's text, which `stop_strings` require.
    pub token_bytes: Option<TokenBytes<'a>>,
    /// The window over which [`GeneratedSequence::location_log_probs`] sum; `None` for no sum. It
    /// affects neither tokens nor log-probabilities.
    pub location_window: Option<LocationWindow>,
}

impl GenerationContext<'_> {
    /// Creates a context without optional inputs.
    pub fn new(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            prompts: &[],
            token_bytes: None,
            location_window: None,
        }
    }
}

/// The optional inputs of [`Florence2ForConditionalGeneration::generate`].
#[derive(Default)]
#[non_exhaustive]
pub struct GenerateOptions<'a, B: Backend> {
    /// `[batch, tokens]`, 1 for the prompt and 0 for padding, as wide as `input_ids`; `None` if
    /// nothing is padded.
    pub attention_mask: Option<Tensor<B, 2, Int>>,
    /// The number of the tokenizer's entries. Rows of a padded vocabulary from this number on are
    /// never generated. By default, all rows of the vocabulary.
    pub vocab_size: Option<usize>,
    /// The bytes of each token's text, which `stop_strings` require.
    pub token_bytes: Option<TokenBytes<'a>>,
    /// The window over which [`GeneratedSequence::location_log_probs`] sum; `None` for no sum. It
    /// affects neither tokens nor log-probabilities.
    pub location_window: Option<LocationWindow>,
    /// Cancels the run, or ends it at a deadline.
    pub cancel: CancelToken,
}

impl<B: Backend> Florence2ForConditionalGeneration<B> {
    /// Generates the answers to images and prompts: HF `generate`. Returns `num_return_sequences`
    /// sequences per batch entry, best first. `observer` receives the tokens and the progress.
    ///
    /// # Shapes
    /// - `pixel_values`: `[batch, channels, height, width]`, normalised
    /// - `input_ids`: `[batch, tokens]`, padded on the right; the prompt, with the `<image>`
    ///   placeholders of HF's processor before it or without them
    ///
    /// # Errors
    /// [`Error::Argument`] with the option or the input that is invalid,
    /// [`Error::TooManyPositions`], [`Error::NotFinite`], [`Error::Cancelled`],
    /// [`Error::DeadlineExceeded`].
    pub fn generate(
        &self,
        pixel_values: Tensor<B, 4>,
        input_ids: Tensor<B, 2, Int>,
        config: &GenerationConfig,
        options: &GenerateOptions<'_, B>,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Vec<GeneratedSequence>>> {
        let image_features = self.encode_image(pixel_values, &options.cancel)?;
        self.generate_from_features(image_features, input_ids, config, options, observer)
    }

    /// [`Self::generate`] with encoded images, `[batch, image tokens, d_model]`.
    ///
    /// # Errors
    /// Those of [`Self::generate`].
    pub fn generate_from_features(
        &self,
        image_features: Tensor<B, 3>,
        input_ids: Tensor<B, 2, Int>,
        config: &GenerationConfig,
        options: &GenerateOptions<'_, B>,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Vec<GeneratedSequence>>> {
        let image_token_id = self.config().image_token_id;
        let mask = options.attention_mask.clone();
        let prompts = Prompts::new(&image_features, input_ids, mask, image_token_id)?;
        let prompt_ids = match encoder_option(config) {
            Some(_) => prompts.unpadded(),
            None => Vec::new(),
        };
        let context = GenerationContext {
            vocab_size: options
                .vocab_size
                .unwrap_or(self.config().text_config.vocab_size),
            prompts: &prompt_ids,
            token_bytes: options.token_bytes,
            location_window: options.location_window,
        };
        let encoded = self.encode(image_features, prompts.input_ids, prompts.attention_mask)?;
        generate_with(self, &encoded, config, &context, &options.cancel, observer)
    }
}

/// [`Florence2ForConditionalGeneration::generate`] with the encoder's output.
///
/// Returns `num_return_sequences` sequences per batch entry, best first.
///
/// # Errors
/// [`Error::Argument`] with the option that is invalid or lacks its input in the context,
/// [`Error::NotFinite`], [`Error::Cancelled`], [`Error::DeadlineExceeded`].
pub fn generate_with<B: Backend>(
    model: &Florence2ForConditionalGeneration<B>,
    encoded: &EncoderOutput<B>,
    config: &GenerationConfig,
    context: &GenerationContext<'_>,
    cancel: &CancelToken,
    observer: &mut GenerationObserver<'_>,
) -> Result<Vec<Vec<GeneratedSequence>>> {
    let text_config = &model.config().text_config;
    config.validate(text_config)?;
    let max_length = config.resolved_max_length(text_config);
    let [batch, encoder_tokens, _] = encoded.last_hidden_state.dims();
    let starts = config.start_tokens(text_config, batch)?;
    let eos_token_id = config.resolved_eos_token_id(text_config);
    let mut stopping = StoppingCriteria::new(
        config,
        eos_token_id.clone(),
        max_length,
        context.token_bytes,
    )?;
    let image_token_id = model.config().image_token_id;
    let encoder_inputs = encoder_inputs(config, context, image_token_id, [batch, encoder_tokens])?;
    let vocab_sizes = [context.vocab_size, text_config.vocab_size];
    let processors: Vec<LogitsProcessors<'_>> = encoder_inputs
        .iter()
        .map(|ids| LogitsProcessors::new(config, &eos_token_id, max_length, ids, vocab_sizes))
        .collect();
    let rows_per_entry = config.rows_per_entry();

    let mut searches: Vec<Box<dyn Search>> = starts
        .iter()
        .map(|start| new_search(config, *start, max_length))
        .collect();
    let mut active: Vec<usize> = (0..batch).collect();
    let mut cross_attention = model.cross_attention_cache(encoded);
    let mut cache = KvCache::default();
    let mut next_tokens: Vec<u32> = starts
        .iter()
        .flat_map(|start| std::iter::repeat_n(*start, rows_per_entry))
        .collect();
    for step in 0.. {
        if active.is_empty() {
            break;
        }
        cancel.check()?;
        stopping.begin_step();
        let rows = next_tokens.len();
        let input_ids: Vec<i32> = next_tokens.iter().map(|id| *id as i32).collect();
        let input_ids = Tensor::<B, 1, Int>::from_ints(input_ids.as_slice(), &model.device())
            .reshape([rows, 1]);
        let logits = model.decode(input_ids, &cross_attention, &mut cache)?;
        let candidates_needed: Vec<Option<usize>> = active
            .iter()
            .flat_map(|entry| {
                let count = searches[*entry].candidates_needed(&processors[*entry]);
                std::iter::repeat_n(count, rows_per_entry)
            })
            .collect();
        let mut scores = scores::to_host(logits, &candidates_needed, context.location_window)
            .map_err(|error| at_step(error, step))?;

        let mut survivors = Vec::with_capacity(active.len());
        let mut kept_rows = Vec::with_capacity(rows);
        next_tokens.clear();
        let entries = scores.chunks_exact_mut(rows_per_entry);
        for (slot, (&entry, scores)) in active.iter().zip(entries).enumerate() {
            let search = &mut searches[entry];
            let step_result = search
                .advance(scores, &processors[entry], &stopping)
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
    finish(searches, observer)
}

/// Creates the search of one batch entry.
fn new_search(config: &GenerationConfig, start: u32, max_length: usize) -> Box<dyn Search> {
    match config.num_beams {
        1 => Box::new(GreedySearch::new(config, start)),
        _ => Box::new(BeamSearch::new(config, start, max_length)),
    }
}

/// The sequences of each entry's search. Reports the tokens that the search itself did not report.
fn finish(
    searches: Vec<Box<dyn Search>>,
    observer: &mut GenerationObserver<'_>,
) -> Result<Vec<Vec<GeneratedSequence>>> {
    let finished = searches.into_iter().enumerate().map(|(entry, search)| {
        let is_reported = search.last_token().is_some();
        let sequences = search.finish();
        if !is_reported {
            emit_tokens(entry, &sequences, observer)?;
        }
        Ok(sequences)
    });
    finished.collect()
}

/// The name of an option that is set and reads the encoder's input.
fn encoder_option(config: &GenerationConfig) -> Option<&'static str> {
    if config.encoder_no_repeat_ngram_size > 0 {
        Some("encoder_no_repeat_ngram_size")
    } else if config.encoder_repetition_penalty != 1.0 {
        Some("encoder_repetition_penalty")
    } else {
        None
    }
}

/// The encoder input of each entry as in transformers: the image's placeholders, then the prompt.
/// Empty if no option reads it.
fn encoder_inputs(
    config: &GenerationConfig,
    context: &GenerationContext<'_>,
    image_token_id: Option<u32>,
    [batch, encoder_tokens]: [usize; 2],
) -> Result<Vec<Vec<u32>>> {
    let Some(option) = encoder_option(config) else {
        return Ok(vec![Vec::new(); batch]);
    };
    let prompts = context.prompts;
    if prompts.len() != batch {
        let found = format!("{} prompts", prompts.len());
        let expected = format!("the prompts of all {batch} batch entries");
        return Err(Error::argument(option, found, expected));
    }
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let image_tokens = encoder_tokens.saturating_sub(longest);
    let image = image_token_id.map(|id| vec![id; image_tokens]);
    let image = image.unwrap_or_default();
    let input = |prompt: &Vec<u32>| [image.as_slice(), prompt].concat();
    Ok(prompts.iter().map(input).collect())
}

/// Reports the tokens of the best sequence after the search has ended.
fn emit_tokens(
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

//! `generation_config.json` and the options that override it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use super::config_fields::GenerationConfig;
use super::config_keys::{self, FileOptions, parse_options};
use crate::config::Florence2TextConfig;
use crate::error::{Error, Result};
use crate::warning::Warning;

/// The maximum number of new tokens if neither a file nor the caller sets one, as in Microsoft's
/// examples.
const DEFAULT_MAX_NEW_TOKENS: usize = 1024;

impl Serialize for GenerationConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for GenerationConfig {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let options = Map::deserialize(deserializer)?;
        parse_options(options, |options| Self::deserialize(options))
    }
}

impl GenerationConfig {
    /// Reads the options of a model's files: those of `generation_config.json`, or without it those
    /// of `config.json`, as in transformers. The warnings list options without effect.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the file and every option that is not supported.
    pub fn from_json(
        generation_config: Option<&[u8]>,
        config: &[u8],
    ) -> Result<(Self, Vec<Warning>)> {
        let config: Value = serde_json::from_slice(config)
            .map_err(|error| Error::malformed("config.json", error))?;
        let file = match generation_config {
            Some(json) => config_keys::from_generation_config(json)?,
            None => config_keys::from_model_config(&config)?,
        };
        Self::from_file(file, &config)
    }

    /// The contents of `generation_config.json` for transformers: those of the model's file, or without it
    /// the options of `config.json`, where older models have them.
    ///
    /// # Errors
    /// Those of [`Self::from_json`] without `generation_config`.
    pub fn file(generation_config: Option<&[u8]>, config: &[u8]) -> Result<Vec<u8>> {
        if let Some(json) = generation_config {
            return Ok(json.to_vec());
        }
        let (options, _) = Self::from_json(None, config)?;
        let fields = |config: &Self| -> Map<String, Value> {
            // INVARIANT: the options are a struct of numbers, texts and lists.
            match serde_json::to_value(config) {
                Ok(Value::Object(fields)) => fields,
                _ => Map::new(),
            }
        };
        let defaults = fields(&Self::default());
        let mut options = fields(&options);
        options.retain(|key, value| !value.is_null() && defaults.get(key) != Some(value));
        for (key, value) in &mut options {
            // transformers accepts lists of one token, but not for `forced_bos_token_id`.
            if let (true, Some([id])) = (
                key.ends_with("_token_id"),
                value.as_array().map(Vec::as_slice),
            ) {
                *value = id.clone();
            }
        }
        Ok(format!("{:#}\n", Value::from(options)).into_bytes())
    }

    fn from_file(
        FileOptions {
            file,
            mut options,
            mut warnings,
        }: FileOptions,
        config: &Value,
    ) -> Result<(Self, Vec<Warning>)> {
        let setting = |key: &str, found: String, used: String| Warning::Setting {
            file: file.to_owned(),
            key: key.to_owned(),
            found,
            used,
        };
        if !options.contains_key("decoder_start_token_id")
            && let Some(bos_token_id) = options.get("bos_token_id").cloned()
        {
            options.insert("decoder_start_token_id".to_owned(), bos_token_id);
        }
        let mut read: Self = serde_json::from_value(Value::from(options))
            .map_err(|error| Error::malformed(file, error))?;
        if read.eos_token_id.is_none() {
            let used = "nothing: answers end at their maximal length alone";
            warnings.push(setting(
                "eos_token_id",
                "nothing".to_owned(),
                used.to_owned(),
            ));
            read.eos_token_id = Some(Vec::new());
        }
        if read.decoder_start_token_id.is_empty() {
            let used = "text_config.decoder_start_token_id of config.json";
            let key = "decoder_start_token_id";
            warnings.push(setting(key, "nothing".to_owned(), used.to_owned()));
        }
        let positions = config
            .pointer("/text_config/max_position_embeddings")
            .and_then(Value::as_u64)
            .map_or(
                Florence2TextConfig::default().max_position_embeddings,
                |positions| positions as usize,
            );
        if let Some((key, found, used)) = read.beyond_positions(positions) {
            let used = format!("{used}, the model's positions");
            warnings.push(setting(key, found.to_string(), used));
        }
        Ok((read, warnings))
    }

    /// The option by which sequences could be longer than `positions`, its value, and the largest
    /// value that has an effect.
    pub fn beyond_positions(&self, positions: usize) -> Option<(&'static str, usize, usize)> {
        let (key, found, limit) = match (self.max_new_tokens, self.max_length) {
            (Some(max_new_tokens), _) => ("max_new_tokens", max_new_tokens, positions),
            (None, Some(max_length)) => ("max_length", max_length, positions.saturating_add(1)),
            (None, None) => return None,
        };
        (found > limit).then_some((key, found, limit))
    }

    /// Checks the options against each other and the model. Sampling options are checked only with
    /// `do_sample`.
    ///
    /// # Errors
    /// [`Error::Argument`] with the option.
    pub fn validate(&self, model: &Florence2TextConfig) -> Result<()> {
        self.validate_counts(model)?;
        for (argument, value) in [
            ("repetition_penalty", self.repetition_penalty),
            (
                "encoder_repetition_penalty",
                self.encoder_repetition_penalty,
            ),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::argument(argument, value, "more than 0"));
            }
        }
        if !self.length_penalty.is_finite() {
            let found = self.length_penalty;
            return Err(Error::argument("length_penalty", found, "a finite number"));
        }
        if let Some((_, factor)) = self.exponential_decay_length_penalty
            && !factor.is_finite()
        {
            let argument = "exponential_decay_length_penalty";
            return Err(Error::argument(argument, factor, "a finite factor"));
        }
        if let Some(max_time) = self.max_time
            && max_time.is_nan()
        {
            return Err(Error::argument("max_time", max_time, "seconds"));
        }
        if self.do_sample {
            self.validate_sampling()?;
        }
        self.validate_tokens(model)
    }

    fn validate_counts(&self, model: &Florence2TextConfig) -> Result<()> {
        positive("num_beams", self.num_beams)?;
        positive("num_return_sequences", self.num_return_sequences)?;
        let limited = self.num_beams > 1 || !self.do_sample;
        if limited && self.num_return_sequences > self.num_beams {
            let expected = if self.do_sample {
                format!("at most num_beams ({})", self.num_beams)
            } else {
                format!("at most num_beams ({}) without sampling", self.num_beams)
            };
            let found = self.num_return_sequences;
            return Err(Error::argument("num_return_sequences", found, expected));
        }
        // Beam search considers two continuations per beam, so the vocabulary must have them.
        if self.num_beams > model.vocab_size / 2 {
            let expected = format!("at most half the vocabulary of {}", model.vocab_size);
            return Err(Error::argument("num_beams", self.num_beams, expected));
        }
        if self.max_new_tokens == Some(0) {
            return Err(Error::argument("max_new_tokens", 0, "at least 1"));
        }
        match self.max_length {
            Some(length) if length < 2 && self.max_new_tokens.is_none() => {
                Err(Error::argument("max_length", length, "at least 2"))
            }
            _ => Ok(()),
        }
    }

    fn validate_sampling(&self) -> Result<()> {
        let positive = |value: f32| value.is_finite() && value > 0.0;
        let part = |value: f32| (0.0..=1.0).contains(&value);
        let checks = [
            (
                "temperature",
                self.temperature,
                positive(self.temperature),
                "more than 0",
            ),
            ("top_p", self.top_p, self.top_p >= 0.0, "at least 0"),
            (
                "min_p",
                self.min_p.unwrap_or_default(),
                self.min_p.is_none_or(part),
                "between 0 and 1",
            ),
            (
                "top_h",
                self.top_h.unwrap_or_default(),
                self.top_h.is_none_or(|top_h| top_h > 0.0 && part(top_h)),
                "more than 0, at most 1",
            ),
            (
                "typical_p",
                self.typical_p,
                self.typical_p > 0.0,
                "more than 0",
            ),
            (
                "epsilon_cutoff",
                self.epsilon_cutoff,
                !self.epsilon_cutoff.is_nan(),
                "a number",
            ),
            (
                "eta_cutoff",
                self.eta_cutoff,
                !self.eta_cutoff.is_nan(),
                "a number",
            ),
        ];
        for (argument, found, valid, expected) in checks {
            if !valid {
                return Err(Error::argument(argument, found, expected));
            }
        }
        if self.top_k < 0 {
            return Err(Error::argument("top_k", self.top_k, "at least 0"));
        }
        Ok(())
    }

    fn validate_tokens(&self, model: &Florence2TextConfig) -> Result<()> {
        let words = self.bad_words_ids.iter().flatten();
        let biased = self.sequence_bias.iter().flat_map(|(sequence, _)| sequence);
        in_vocabulary("forced_bos_token_id", &self.forced_bos_token_id, model)?;
        in_vocabulary("forced_eos_token_id", &self.forced_eos_token_id, model)?;
        let start = &self.decoder_start_token_id;
        in_vocabulary("decoder_start_token_id", start, model)?;
        in_vocabulary("bad_words_ids", words, model)?;
        in_vocabulary("sequence_bias", biased, model)?;
        if let Some((sequence, bias)) = self.sequence_bias.iter().find(|(_, bias)| bias.is_nan()) {
            let found = format!("{bias} for {sequence:?}");
            return Err(Error::argument("sequence_bias", found, "a number"));
        }
        for (argument, forced) in [
            ("forced_bos_token_id", &self.forced_bos_token_id),
            ("forced_eos_token_id", &self.forced_eos_token_id),
        ] {
            let suppressed = |id: &u32| self.suppress_tokens.contains(id);
            if !forced.is_empty() && forced.iter().all(suppressed) {
                let expected = "a token that is not in suppress_tokens";
                return Err(Error::argument(argument, format!("{forced:?}"), expected));
            }
        }
        Ok(())
    }

    /// The maximum length of the decoder's sequence, including the start token: at most one more
    /// than the number of the decoder's positions.
    pub fn resolved_max_length(&self, model: &Florence2TextConfig) -> usize {
        let limit = model.max_position_embeddings.saturating_add(1);
        let max_new_tokens = self.max_new_tokens.unwrap_or(DEFAULT_MAX_NEW_TOKENS);
        match (self.max_new_tokens, self.max_length) {
            (None, Some(max_length)) => max_length.min(limit),
            _ => max_new_tokens.saturating_add(1).min(limit),
        }
    }

    /// The tokens that end a sequence.
    pub(super) fn resolved_eos_token_id(&self, model: &Florence2TextConfig) -> Vec<u32> {
        let own = self.eos_token_id.as_ref();
        own.unwrap_or(&model.eos_token_id).clone()
    }

    /// The decoder's start token of each of `batch` requests.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is none, or if their number is neither one nor the number of
    /// entries.
    pub fn start_tokens(&self, model: &Florence2TextConfig, batch: usize) -> Result<Vec<u32>> {
        let argument = "decoder_start_token_id";
        let own = self.decoder_start_token_id.as_slice();
        let models = model.decoder_start_token_id.or(model.bos_token_id);
        match (own, models) {
            ([], None) => Err(Error::argument(argument, "none", "a token")),
            ([], Some(id)) => Ok(vec![id; batch]),
            ([id], _) => Ok(vec![*id; batch]),
            (ids, _) if ids.len() == batch => Ok(ids.to_vec()),
            (ids, _) => {
                let found = format!("{} tokens", ids.len());
                let expected = format!("one, or one for each of {batch} requests");
                Err(Error::argument(argument, found, expected))
            }
        }
    }

    /// The number of decoder rows per batch entry.
    pub(super) fn rows_per_entry(&self) -> usize {
        match self.num_beams {
            1 => self.num_return_sequences,
            beams => beams,
        }
    }
}

fn positive(argument: &'static str, value: usize) -> Result<()> {
    if value == 0 {
        return Err(Error::argument(argument, value, "at least 1"));
    }
    Ok(())
}

fn in_vocabulary<'a>(
    argument: &'static str,
    ids: impl IntoIterator<Item = &'a u32>,
    model: &Florence2TextConfig,
) -> Result<()> {
    let outside = |id: &&u32| **id as usize >= model.vocab_size;
    match ids.into_iter().find(outside) {
        Some(id) => {
            let expected = format!("less than the vocabulary's {}", model.vocab_size);
            Err(Error::argument(argument, id, expected))
        }
        None => Ok(()),
    }
}

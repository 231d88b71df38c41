//! `generation_config.json` and what may override it.

use serde::{Deserialize, Serialize};

use super::Search;
use super::beam::BeamSearch;
use super::greedy::GreedySearch;
use crate::config::Florence2TextConfig;
use crate::error::{Error, Result};
use crate::warning::Warning;

/// Answers are this long at most when no file and no caller says otherwise, as Microsoft's own
/// examples ask for.
const DEFAULT_MAX_NEW_TOKENS: usize = 1024;

/// How tokens are chosen: HF `GenerationConfig`, under its names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerationConfig {
    /// Beams of the beam search; 1 is greedy or sampling (default 1).
    pub num_beams: usize,
    /// Whether tokens are drawn by their probability (default false).
    pub do_sample: bool,
    /// Divides the scores before drawing (default 1).
    pub temperature: f32,
    /// Draw among this many most likely tokens; 0 for all (default 50).
    pub top_k: usize,
    /// Draw among the most likely tokens that together reach this probability (default 1).
    pub top_p: f32,
    /// Seed of the draws (default 0).
    pub seed: u64,
    /// Tokens generated at most, the end token included; wins over `max_length` (default none).
    pub max_new_tokens: Option<usize>,
    /// Length of the decoder's sequence at most, the start token included (default none).
    pub max_length: Option<usize>,
    /// No end token before this many generated tokens (default 0).
    pub min_new_tokens: usize,
    /// No end token before the sequence, start token included, has this length (default 0).
    pub min_length: usize,
    /// No sequence of this many tokens occurs twice; 0 allows all (default 0).
    pub no_repeat_ngram_size: usize,
    /// Divides the score of tokens already written (default 1).
    pub repetition_penalty: f32,
    /// Exponent of the length by which a beam's score is divided (default 1).
    pub length_penalty: f32,
    /// When the beam search may stop (default false).
    pub early_stopping: EarlyStopping,
    /// Sequences given back per image (default 1).
    pub num_return_sequences: usize,
    /// The first generated token, if forced.
    pub forced_bos_token_id: Option<u32>,
    /// The token at the maximal length, if forced.
    pub forced_eos_token_id: Option<u32>,
    /// Tokens never generated.
    #[serde(deserialize_with = "or_default")]
    pub suppress_tokens: Vec<u32>,
    /// Token sequences never generated.
    #[serde(deserialize_with = "or_default")]
    pub bad_words_ids: Vec<Vec<u32>>,
    /// Tokens that end a sequence; empty for the model's own.
    #[serde(deserialize_with = "one_or_many")]
    pub eos_token_id: Vec<u32>,
    /// What the decoder starts with; none for the model's own.
    pub decoder_start_token_id: Option<u32>,
}

/// When a beam search stops: HF `early_stopping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyStopping {
    /// As soon as there are `num_beams` finished sequences (`true`).
    True,
    /// When a better one has become unlikely (`false`).
    #[default]
    False,
    /// When there can be no better one (`"never"`).
    Never,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            num_beams: 1,
            do_sample: false,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            seed: 0,
            max_new_tokens: None,
            max_length: None,
            min_new_tokens: 0,
            min_length: 0,
            no_repeat_ngram_size: 0,
            repetition_penalty: 1.0,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::False,
            num_return_sequences: 1,
            forced_bos_token_id: None,
            forced_eos_token_id: None,
            suppress_tokens: Vec::new(),
            bad_words_ids: Vec::new(),
            eos_token_id: Vec::new(),
            decoder_start_token_id: None,
        }
    }
}

/// Generation fields that Microsoft's `config.json` keeps in its `text_config`.
const TEXT_CONFIG_FIELDS: [&str; 9] = [
    "num_beams",
    "no_repeat_ngram_size",
    "early_stopping",
    "length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "eos_token_id",
    "decoder_start_token_id",
    "repetition_penalty",
];

impl GenerationConfig {
    /// What the model's files say: `generation_config.json` over the generation fields of
    /// `config.json`'s `text_config`. Settings that have no effect are among the warnings.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the file.
    pub fn from_json(
        generation_config: Option<&[u8]>,
        config: &[u8],
    ) -> Result<(Self, Vec<Warning>)> {
        let config: serde_json::Value = serde_json::from_slice(config)
            .map_err(|error| Error::malformed("config.json", error))?;
        let mut fields = serde_json::Map::new();
        if let Some(text_config) = config.get("text_config") {
            for name in TEXT_CONFIG_FIELDS {
                if let Some(value) = text_config.get(name) {
                    fields.insert(name.to_owned(), value.clone());
                }
            }
        }
        if let Some(json) = generation_config {
            let file: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json)
                .map_err(|error| Error::malformed("generation_config.json", error))?;
            fields.extend(file);
        }
        // A null means "not set" in these files, whatever the field's type.
        fields.retain(|_, value| !value.is_null());
        let config = serde_path_to_error::deserialize(serde_json::Value::from(fields))
            .map_err(|error| Error::malformed("generation_config.json", error))?;
        Ok((config, Vec::new()))
    }

    /// Checks the options against each other and the model.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the option, [`Error::TooManyPositions`].
    pub fn validate(&self, model: &Florence2TextConfig) -> Result<()> {
        positive("num_beams", self.num_beams)?;
        positive("num_return_sequences", self.num_return_sequences)?;
        for (argument, value) in [
            ("temperature", self.temperature),
            ("repetition_penalty", self.repetition_penalty),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::argument(argument, value, "more than 0"));
            }
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::argument(
                "top_p",
                self.top_p,
                "more than 0, at most 1",
            ));
        }
        if !self.length_penalty.is_finite() {
            return Err(Error::argument(
                "length_penalty",
                self.length_penalty,
                "a finite number",
            ));
        }
        if !self.do_sample && self.num_return_sequences > self.num_beams {
            let expected = format!("at most num_beams ({}) without sampling", self.num_beams);
            return Err(Error::argument(
                "num_return_sequences",
                self.num_return_sequences,
                expected,
            ));
        }
        if self.num_beams > 1 && self.num_return_sequences > self.num_beams {
            let expected = format!("at most num_beams ({})", self.num_beams);
            return Err(Error::argument(
                "num_return_sequences",
                self.num_return_sequences,
                expected,
            ));
        }
        // Beam search looks at two continuations per beam, so the vocabulary must have them.
        if self.num_beams > model.vocab_size / 2 {
            let expected = format!("at most half the vocabulary of {}", model.vocab_size);
            return Err(Error::argument("num_beams", self.num_beams, expected));
        }
        if self.max_new_tokens == Some(0) {
            return Err(Error::argument("max_new_tokens", 0, "at least 1"));
        }
        if self.max_new_tokens.is_none() && self.max_length.is_some_and(|length| length < 2) {
            return Err(Error::argument(
                "max_length",
                self.max_length.unwrap_or(0),
                "at least 2",
            ));
        }
        if let Some(max_new_tokens) = self.max_new_tokens
            && max_new_tokens > model.max_position_embeddings
        {
            return Err(Error::TooManyPositions {
                what: "decoder output (max_new_tokens)",
                found: max_new_tokens,
                limit: model.max_position_embeddings,
            });
        }
        let max_new_tokens = self.resolved_max_length(model) - 1;
        if self.min_new_tokens > max_new_tokens {
            let expected = format!("at most max_new_tokens ({max_new_tokens})");
            return Err(Error::argument(
                "min_new_tokens",
                self.min_new_tokens,
                expected,
            ));
        }
        in_vocabulary("forced_bos_token_id", self.forced_bos_token_id, model)?;
        in_vocabulary("forced_eos_token_id", self.forced_eos_token_id, model)?;
        let start = self.decoder_start_token_id;
        in_vocabulary("decoder_start_token_id", start, model)
    }

    /// The length of the decoder's sequence at most, the start token included.
    pub fn resolved_max_length(&self, model: &Florence2TextConfig) -> usize {
        let limit = model.max_position_embeddings + 1;
        match (self.max_new_tokens, self.max_length) {
            (Some(max_new_tokens), _) => max_new_tokens + 1,
            (None, Some(max_length)) => max_length.min(limit),
            (None, None) => (DEFAULT_MAX_NEW_TOKENS + 1).min(limit),
        }
    }

    /// Decoder rows per batch entry.
    pub(super) fn rows(&self) -> usize {
        match self.num_beams {
            1 => self.num_return_sequences,
            beams => beams,
        }
    }

    pub(super) fn search(&self, start: u32, max_length: usize) -> Search {
        match self.num_beams {
            1 => Search::Greedy(GreedySearch::new(self, start, max_length)),
            _ => Search::Beam(BeamSearch::new(self, start, max_length)),
        }
    }
}

fn positive(argument: &'static str, value: usize) -> Result<()> {
    if value == 0 {
        return Err(Error::argument(argument, value, "at least 1"));
    }
    Ok(())
}

fn in_vocabulary(
    argument: &'static str,
    id: Option<u32>,
    model: &Florence2TextConfig,
) -> Result<()> {
    match id {
        Some(id) if id as usize >= model.vocab_size => {
            let expected = format!("less than the vocabulary's {}", model.vocab_size);
            Err(Error::argument(argument, id, expected))
        }
        _ => Ok(()),
    }
}

impl Serialize for EarlyStopping {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::True => serializer.serialize_bool(true),
            Self::False => serializer.serialize_bool(false),
            Self::Never => serializer.serialize_str("never"),
        }
    }
}

impl<'de> Deserialize<'de> for EarlyStopping {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Bool(true) => Ok(Self::True),
            serde_json::Value::Bool(false) => Ok(Self::False),
            other => match other.as_str() {
                Some(text) => text.parse().map_err(serde::de::Error::custom),
                None => Err(serde::de::Error::custom(format!(
                    "early_stopping: found {other}, expected true, false or \"never\""
                ))),
            },
        }
    }
}

impl std::str::FromStr for EarlyStopping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "true" => Ok(Self::True),
            "false" => Ok(Self::False),
            "never" => Ok(Self::Never),
            other => Err(format!(
                "early_stopping: found {other}, expected true, false or never"
            )),
        }
    }
}

/// An explicit null is the default, as transformers writes unset fields.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `eos_token_id` is one id or a list of them.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(u32),
        Many(Vec<u32>),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(OneOrMany::One(id)) => vec![id],
        Some(OneOrMany::Many(ids)) => ids,
    })
}

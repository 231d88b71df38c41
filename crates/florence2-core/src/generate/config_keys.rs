//! The keys of `generation_config.json`: the treatment of each, and the forms of its value.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::warning::Warning;

/// A key of `generation_config.json`.
#[derive(Debug, Clone, Copy)]
pub struct GenerationKey {
    /// The key.
    pub name: &'static str,
    /// The treatment of its value.
    pub treatment: KeyTreatment,
    form: Form,
    /// Values other than null that have no effect. Booleans count as 0 and 1.
    neutral: &'static [f64],
}

/// The treatment of the value of a [`GenerationKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTreatment {
    /// It is an option of [`GenerationConfig`](super::GenerationConfig), and each run can set it.
    Supported,
    /// It is read only from the model's files.
    File,
    /// It is not read, because it never changes a result.
    Ignored,
    /// It is not read; a value that is not neutral is a [`Warning`].
    Warned,
    /// It is not supported; a value that is not neutral is an error.
    Rejected,
}

/// The forms of a value that transformers treats as equal.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// The value as it is written.
    Plain,
    /// An integer, possibly written as `50.0`.
    Integer,
    /// An integer; negative values mean 0.
    Count,
    /// A boolean; numbers other than 0 mean true.
    Truth,
    /// A boolean; only `true` enables it, because transformers compares with `is True`.
    OnlyTrue,
    /// `early_stopping`: numbers mean false, because transformers compares with `is True`.
    EarlyStopping,
    /// One id or a list of ids.
    Ids,
    /// Like `Ids`; negative ids are no tokens and have no effect.
    TokenSet,
    /// One text or a list of texts.
    Texts,
}

const fn key(name: &'static str, treatment: KeyTreatment, form: Form) -> GenerationKey {
    GenerationKey {
        name,
        treatment,
        form,
        neutral: &[],
    }
}

const fn option(name: &'static str, form: Form) -> GenerationKey {
    key(name, KeyTreatment::Supported, form)
}

const fn ignored(name: &'static str) -> GenerationKey {
    key(name, KeyTreatment::Ignored, Form::Plain)
}

const fn warned(name: &'static str, neutral: &'static [f64]) -> GenerationKey {
    GenerationKey {
        neutral,
        ..key(name, KeyTreatment::Warned, Form::Plain)
    }
}

const fn rejected(name: &'static str, neutral: &'static [f64]) -> GenerationKey {
    GenerationKey {
        neutral,
        ..key(name, KeyTreatment::Rejected, Form::Plain)
    }
}

/// Every key of transformers 5.17's `GenerationConfig`, and `seed`, an option of this crate only.
/// `docs/generation.md` has the same table with the reasons.
pub const GENERATION_KEYS: &[GenerationKey] = &[
    option("max_new_tokens", Form::Integer),
    option("max_length", Form::Integer),
    option("min_new_tokens", Form::Count),
    option("min_length", Form::Count),
    option("max_time", Form::Plain),
    option("stop_strings", Form::Texts),
    option("eos_token_id", Form::TokenSet),
    option("decoder_start_token_id", Form::Ids),
    option("num_beams", Form::Integer),
    option("num_return_sequences", Form::Integer),
    option("length_penalty", Form::Plain),
    option("early_stopping", Form::EarlyStopping),
    option("do_sample", Form::Truth),
    option("seed", Form::Integer),
    option("temperature", Form::Plain),
    option("top_k", Form::Integer),
    option("top_p", Form::Plain),
    option("min_p", Form::Plain),
    option("top_h", Form::Plain),
    option("typical_p", Form::Plain),
    option("epsilon_cutoff", Form::Plain),
    option("eta_cutoff", Form::Plain),
    option("sequence_bias", Form::Plain),
    option("encoder_repetition_penalty", Form::Plain),
    option("repetition_penalty", Form::Plain),
    option("no_repeat_ngram_size", Form::Count),
    option("encoder_no_repeat_ngram_size", Form::Count),
    option("bad_words_ids", Form::Plain),
    option("forced_bos_token_id", Form::Ids),
    option("forced_eos_token_id", Form::Ids),
    option("remove_invalid_values", Form::OnlyTrue),
    option("exponential_decay_length_penalty", Form::Plain),
    option("suppress_tokens", Form::TokenSet),
    option("begin_suppress_tokens", Form::TokenSet),
    option("renormalize_logits", Form::OnlyTrue),
    key("bos_token_id", KeyTreatment::File, Form::Ids),
    ignored("pad_token_id"),
    ignored("use_cache"),
    ignored("cache_implementation"),
    ignored("cache_config"),
    ignored("max_cache_len"),
    ignored("low_memory"),
    ignored("prefill_chunk_size"),
    ignored("compile_config"),
    ignored("disable_compile"),
    ignored("continuous_batching_config"),
    ignored("output_attentions"),
    ignored("output_hidden_states"),
    ignored("output_scores"),
    ignored("output_logits"),
    ignored("return_dict_in_generate"),
    ignored("num_assistant_tokens"),
    ignored("num_assistant_tokens_schedule"),
    ignored("assistant_confidence_threshold"),
    ignored("assistant_early_exit"),
    ignored("assistant_lookbehind"),
    ignored("target_lookbehind"),
    ignored("assistant_ensemble_weight"),
    ignored("speculation_type"),
    ignored("prompt_lookup_num_tokens"),
    ignored("max_matching_ngram_size"),
    ignored("use_mtp"),
    ignored("_commit_hash"),
    ignored("_from_model_config"),
    ignored("transformers_version"),
    warned("diversity_penalty", &[0.0]),
    rejected("guidance_scale", &[1.0]),
    rejected("penalty_alpha", &[0.0]),
    rejected("dola_layers", &[]),
    rejected("num_beam_groups", &[0.0, 1.0]),
    rejected("constraints", &[]),
    rejected("force_words_ids", &[]),
    rejected("token_healing", &[0.0]),
    rejected("is_assistant", &[0.0]),
    rejected("watermarking_config", &[]),
];

/// Keys that tools write and no library reads.
const METADATA_KEYS: [&str; 2] = ["trust_remote_code", "_name_or_path"];

impl GenerationKey {
    fn named(name: &str) -> Option<&'static Self> {
        GENERATION_KEYS.iter().find(|key| key.name == name)
    }

    fn is_neutral(&self, value: &Value) -> bool {
        let number = match value {
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            other => other.as_f64(),
        };
        number.is_some_and(|number| self.neutral.contains(&number))
    }
}

/// Converts options to the form that [`GenerationConfig`](super::GenerationConfig) deserialises:
/// other forms that transformers accepts are rewritten, and nulls, which mean "not set", are
/// removed.
pub fn canonical_options(options: Map<String, Value>) -> Map<String, Value> {
    options
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            let form = GenerationKey::named(&name).map_or(Form::Plain, |key| key.form);
            (name, form.canonical(value))
        })
        .collect()
}

impl Form {
    fn canonical(self, value: Value) -> Value {
        match self {
            Self::Plain => value,
            Self::Integer => integer(value),
            Self::Count => match integer(value) {
                value if value.as_i64().is_some_and(|count| count < 0) => Value::from(0),
                value => value,
            },
            Self::Truth => match value.as_f64() {
                Some(number) => Value::from(number != 0.0),
                None => value,
            },
            Self::OnlyTrue => match value.as_f64() {
                Some(_) => Value::from(false),
                None => value,
            },
            Self::EarlyStopping => match value.as_f64() {
                Some(number) if number == 0.0 || number == 1.0 => Value::from(false),
                _ => value,
            },
            Self::Ids => list(value).into_iter().map(integer).collect(),
            Self::TokenSet => list(value)
                .into_iter()
                .map(integer)
                .filter(|id| id.as_i64().is_none_or(|id| id >= 0))
                .collect(),
            Self::Texts => Value::from(list(value)),
        }
    }
}

/// Converts a float without a fraction to an integer; other values are unchanged.
fn integer(value: Value) -> Value {
    /// Floats up to this size represent every integer exactly.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value.as_f64() {
        Some(number) if value.is_f64() && number.fract() == 0.0 && number.abs() <= EXACT => {
            Value::from(number as i64)
        }
        _ => value,
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        one => vec![one],
    }
}

/// The options of a model's files.
pub(super) struct FileOptions {
    /// The source file of the options.
    pub(super) file: &'static str,
    /// The values of keys that are read, without nulls.
    pub(super) options: Map<String, Value>,
    pub(super) warnings: Vec<Warning>,
}

/// The options of `generation_config.json`. If it exists, transformers reads no option of
/// `config.json`.
pub(super) fn from_generation_config(json: &[u8]) -> Result<FileOptions> {
    let file = "generation_config.json";
    let map: Map<String, Value> =
        serde_json::from_slice(json).map_err(|error| Error::malformed(file, error))?;
    let entries = map
        .into_iter()
        .map(|(name, value)| (name.clone(), name, value));
    FileOptions::new(file, entries.collect())
}

/// The options of a `config.json` without a `generation_config.json`: those at the top level, then
/// those of the decoder's configuration. HF `GenerationConfig.from_model_config`.
pub(super) fn from_model_config(config: &Value) -> Result<FileOptions> {
    let part = ["decoder", "generator", "text_config"]
        .into_iter()
        .filter_map(|name| Some((name, config.get(name)?.as_object()?)))
        .find(|(_, part)| !part.is_empty());
    let set = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
    let mut entries = Vec::new();
    for key in GENERATION_KEYS {
        let top = match key.name {
            "forced_bos_token_id" if forces_bos(config) => set(config.get("bos_token_id")),
            name => set(config.get(name)),
        };
        if let Some(value) = top {
            entries.push((key.name.to_owned(), key.name.to_owned(), value));
        } else if let Some((part, fields)) = part
            && let Some(value) = set(fields.get(key.name))
        {
            entries.push((key.name.to_owned(), format!("{part}.{}", key.name), value));
        }
    }
    FileOptions::new("config.json", entries)
}

/// Returns whether the file sets BART's first name for `forced_bos_token_id`.
fn forces_bos(config: &Value) -> bool {
    config.get("force_bos_token_to_be_generated") == Some(&Value::Bool(true))
}

impl FileOptions {
    /// `entries` has the key, the full name in the file and the value of each option.
    fn new(file: &'static str, entries: Vec<(String, String, Value)>) -> Result<Self> {
        let mut options = Map::new();
        let mut warnings = Vec::new();
        let mut rejected = Vec::new();
        for (name, full_name, value) in entries {
            if value.is_null() {
                continue;
            }
            let warning = |reason: &str| Warning::Setting {
                file: file.to_owned(),
                key: full_name.clone(),
                found: value.to_string(),
                used: format!("nothing: {reason}"),
            };
            let Some(key) = GenerationKey::named(&name) else {
                if !METADATA_KEYS.contains(&name.as_str()) {
                    warnings.push(warning("the option is unknown"));
                }
                continue;
            };
            match key.treatment {
                KeyTreatment::Supported | KeyTreatment::File => {
                    options.insert(name, value);
                }
                KeyTreatment::Warned if !key.is_neutral(&value) => {
                    warnings.push(warning("the option has no effect on this model"));
                }
                KeyTreatment::Rejected if !key.is_neutral(&value) => {
                    rejected.push(format!("{full_name}: found {value}"));
                }
                _ => (),
            }
        }
        if !rejected.is_empty() {
            let reason = format!(
                "{}, expected no such option: it is not supported",
                rejected.join(", ")
            );
            return Err(Error::malformed(file, reason));
        }
        Ok(Self {
            file,
            options,
            warnings,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::generate::GenerationConfig;

    fn canonical(options: Value) -> Value {
        Value::from(canonical_options(serde_json::from_value(options).unwrap()))
    }

    fn read(generation_config: Option<Value>, config: Value) -> (GenerationConfig, Vec<String>) {
        let file = generation_config.map(|file| file.to_string());
        let file = file.as_deref().map(str::as_bytes);
        let config = config.to_string();
        let (config, warnings) = GenerationConfig::from_json(file, config.as_bytes()).unwrap();
        (config, warnings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_key_of_transformers_is_in_the_table() {
        let keys = include_str!("generation_keys.json");
        let mut expected: BTreeSet<String> = serde_json::from_str(keys).unwrap();
        expected.insert("seed".to_owned());
        let found: BTreeSet<String> = GENERATION_KEYS
            .iter()
            .map(|key| key.name.to_owned())
            .collect();
        assert_eq!(found, expected);
        assert_eq!(found.len(), GENERATION_KEYS.len());
    }

    #[test]
    fn the_documentation_has_the_same_table() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/generation.md");
        let text = std::fs::read_to_string(file).unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| `"));
        let documented: BTreeSet<(String, String)> = rows
            .map(|row| {
                let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                (cells[1].replace('`', ""), cells[2].to_owned())
            })
            .collect();
        let expected = GENERATION_KEYS.iter().map(|key| {
            let treatment = match key.treatment {
                KeyTreatment::Supported => "option",
                KeyTreatment::File => "files alone",
                KeyTreatment::Ignored => "ignored",
                KeyTreatment::Warned => "warning",
                KeyTreatment::Rejected => "error",
            };
            (key.name.to_owned(), treatment.to_owned())
        });
        assert_eq!(documented, expected.collect());
    }

    #[test]
    fn every_supported_key_is_a_field() {
        let fields = serde_json::to_value(GenerationConfig::default()).unwrap();
        let fields: BTreeSet<&str> = fields
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let supported = GENERATION_KEYS
            .iter()
            .filter(|key| key.treatment == KeyTreatment::Supported);
        assert_eq!(fields, supported.map(|key| key.name).collect());
    }

    #[test]
    fn other_forms_are_read_alike() {
        let found = canonical(json!({
            "top_k": 50.0, "num_beams": 3, "min_length": -1, "do_sample": 1, "early_stopping": 1,
            "remove_invalid_values": 1, "renormalize_logits": true, "forced_eos_token_id": 2.0,
            "decoder_start_token_id": [2], "eos_token_id": [2, -1], "suppress_tokens": -1,
            "stop_strings": "x", "temperature": null, "max_new_tokens": 5.5, "length_penalty": 2,
        }));
        let expected = json!({
            "top_k": 50, "num_beams": 3, "min_length": 0, "do_sample": true, "early_stopping": false,
            "remove_invalid_values": false, "renormalize_logits": true, "forced_eos_token_id": [2],
            "decoder_start_token_id": [2], "eos_token_id": [2], "suppress_tokens": [],
            "stop_strings": ["x"], "max_new_tokens": 5.5, "length_penalty": 2,
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_configuration_is_read_as_it_is_written() {
        let config = GenerationConfig {
            min_p: Some(0.5),
            eos_token_id: Some(vec![2, 5]),
            sequence_bias: vec![(vec![3, 4], -1.5)],
            exponential_decay_length_penalty: Some((3, 1.5)),
            ..GenerationConfig::default()
        };
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<GenerationConfig>(&json).unwrap(),
            config
        );
    }

    #[test]
    fn errors_name_the_option() {
        let read = |json: &str| GenerationConfig::from_json(Some(json.as_bytes()), b"{}");
        for (json, expected) in [
            (r#"{"num_beams": -3}"#, "num_beams"),
            (r#"{"suppress_tokens": ["a"]}"#, "suppress_tokens[0]"),
            (r#"{"early_stopping": "maybe"}"#, "early_stopping"),
            (r#"{"early_stopping": 2}"#, "early_stopping"),
            (r#"{"sequence_bias": {"5": 1.0}}"#, "sequence_bias"),
            ("[3]", "generation_config.json"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
        let rejected = r#"{"guidance_scale": 2, "dola_layers": "low", "num_beam_groups": 1}"#;
        let error = read(rejected).unwrap_err().to_string();
        assert!(error.contains("guidance_scale: found 2"), "{error}");
        assert!(error.contains("dola_layers: found \"low\""), "{error}");
        assert!(!error.contains("num_beam_groups"), "{error}");
    }

    #[test]
    fn options_without_effect_are_warnings() {
        let (_, warnings) = read(
            Some(json!({
                "eos_token_id": 2, "decoder_start_token_id": 2, "max_new_tokens": 4096,
                "num_beems": 3, "trust_remote_code": true, "transformers_version": "4.41.0",
                "use_cache": false, "guidance_scale": 1, "diversity_penalty": 0.5,
            })),
            json!({"text_config": {"max_position_embeddings": 256}}),
        );
        assert_eq!(
            warnings,
            [
                "generation_config.json: diversity_penalty: found 0.5, used nothing: the option has no \
             effect on this model",
                "generation_config.json: num_beems: found 3, used nothing: the option is unknown",
                "generation_config.json: max_new_tokens: found 4096, used 256, the model's positions",
            ]
        );
    }

    #[test]
    fn config_json_is_not_read_beside_generation_config_json() {
        let (config, warnings) = read(
            Some(json!({"bos_token_id": 0})),
            json!({"num_beams": 4, "text_config": {"eos_token_id": 2, "max_length": 9}}),
        );
        let expected = GenerationConfig {
            eos_token_id: Some(Vec::new()),
            decoder_start_token_id: vec![0],
            ..GenerationConfig::default()
        };
        assert_eq!(config, expected);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("eos_token_id"));
    }

    #[test]
    fn config_json_is_read_without_generation_config_json() {
        let (config, warnings) = read(
            None,
            json!({
                "num_beams": 4, "max_length": null, "top_k": 7, "hidden_size": 8,
                "text_config": {
                    "eos_token_id": [2, 3], "decoder_start_token_id": 2, "max_length": 9,
                    "num_beams": 2, "dropout": 0.1, "suppress_tokens": [5],
                },
            }),
        );
        let expected = GenerationConfig {
            num_beams: 4,
            top_k: 7,
            max_length: Some(9),
            eos_token_id: Some(vec![2, 3]),
            decoder_start_token_id: vec![2],
            suppress_tokens: vec![5],
            ..GenerationConfig::default()
        };
        assert_eq!(config, expected);
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

//! Reading of the options of a model's files.

use serde_json::{Map, Value};

use super::key::{Form, GenerationKey, KeyTreatment};
use super::key_table::GENERATION_KEYS;
use crate::error::{Error, Result};
use crate::warning::Warning;

/// Keys that tools write and no library reads.
const METADATA_KEYS: [&str; 2] = ["trust_remote_code", "_name_or_path"];

/// The entry of a key in [`GENERATION_KEYS`].
fn known_key(name: &str) -> Option<&'static GenerationKey> {
    GENERATION_KEYS.iter().find(|key| key.name == name)
}

/// Parses options with the derived `deserialize` of their type, after the conversion of the forms that
/// transformers accepts as well. Nulls mean "not set".
///
/// # Errors
/// The error of `deserialize`, with the path of the value.
#[doc(hidden)]
pub fn parse_options<T, E: serde::de::Error>(
    options: Map<String, Value>,
    deserialize: impl FnOnce(
        serde_path_to_error::Deserializer<'_, '_, Value>,
    ) -> std::result::Result<T, serde_json::Error>,
) -> std::result::Result<T, E> {
    let mut track = serde_path_to_error::Track::new();
    let options = Value::from(canonical_options(options));
    deserialize(serde_path_to_error::Deserializer::new(options, &mut track)).map_err(|error| {
        let path = track.path();
        E::custom(format!("{path}: {error}"))
    })
}

/// Converts options to the form that the derived `deserialize` reads: other forms that transformers
/// accepts are rewritten, and nulls are removed.
fn canonical_options(options: Map<String, Value>) -> Map<String, Value> {
    options
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            let form = known_key(&name).map_or(Form::Plain, |key| key.form);
            (name, form.canonical(value))
        })
        .collect()
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
            let Some(key) = known_key(&name) else {
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

    #[test]
    fn options_of_config_json_become_a_file_of_their_own() {
        let config = json!({
            "text_config": {"decoder_start_token_id": 2, "bos_token_id": 0, "eos_token_id": 2,
                "pad_token_id": 1, "forced_bos_token_id": 0, "num_beams": 3, "early_stopping": true,
                "suppress_tokens": [7]},
            "vision_config": {},
        });
        let config = config.to_string();
        let file = GenerationConfig::file(None, config.as_bytes()).unwrap();
        let written: Value = serde_json::from_slice(&file).unwrap();
        for (key, value) in [
            ("forced_bos_token_id", json!(0)),
            ("eos_token_id", json!(2)),
            ("num_beams", json!(3)),
            ("early_stopping", json!(true)),
            ("suppress_tokens", json!([7])),
        ] {
            assert_eq!(written[key], value, "{written}");
        }
        let read = |file: Option<&[u8]>| GenerationConfig::from_json(file, config.as_bytes());
        assert_eq!(read(Some(&file)).unwrap().0, read(None).unwrap().0);
        let kept = GenerationConfig::file(Some(b"{}"), config.as_bytes()).unwrap();
        assert_eq!(kept, b"{}");
    }
}

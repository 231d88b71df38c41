//! `adapter_config.json` of PEFT: the settings on which the merged weights depend.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use regex::Regex;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

/// PEFT's default of rank and alpha.
const DEFAULT_RANK: usize = 8;

/// Settings of LoRA variants that this crate does not merge. Neutral values are absent, null,
/// false, an empty list and an empty object.
const UNSUPPORTED: [&str; 9] = [
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "use_bdlora",
    "velora_config",
];

/// Initialisations that change the base weights, so that the adapter does not belong to the model's
/// base weights.
const CHANGES_BASE: [&str; 4] = ["pissa", "olora", "corda", "loftq"];

/// The settings. Null stands for the default, as in PEFT.
#[derive(Debug, serde::Deserialize)]
pub(super) struct AdapterConfig {
    peft_type: Option<String>,
    r: Option<usize>,
    lora_alpha: Option<f64>,
    rank_pattern: Option<Patterns<usize>>,
    alpha_pattern: Option<Patterns<f64>>,
    use_rslora: Option<bool>,
    use_dora: Option<bool>,
    lora_bias: Option<bool>,
    bias: Option<String>,
    modules_to_save: Option<Vec<String>>,
    init_lora_weights: Option<Value>,
    trainable_token_indices: Option<TokenIndices>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Tokens whose embeddings are stored: those of the input embedding, or by the end of a module's
/// name.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
enum TokenIndices {
    Input(Vec<usize>),
    ByModule(BTreeMap<String, Vec<usize>>),
}

impl AdapterConfig {
    /// Reads the settings. The error lists every setting that is not supported.
    pub(super) fn from_json(json: &[u8]) -> Result<Self, String> {
        let config: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let problems = config.problems();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems.join("; "))
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(kind) = self.peft_type.as_ref().filter(|kind| *kind != "LORA") {
            problems.push(format!("peft_type: found \"{kind}\", expected \"LORA\""));
        }
        if let Some(Value::String(init)) = &self.init_lora_weights {
            let lower = init.to_lowercase();
            if CHANGES_BASE.iter().any(|name| lower.starts_with(name)) {
                problems.push(format!(
                    "init_lora_weights: found \"{init}\", which changes the base weights, expected \
                     an adapter that save_pretrained converted to plain LoRA by \
                     path_initial_model_for_weight_conversion"
                ));
            }
        }
        for key in UNSUPPORTED {
            if let Some(value) = self.other.get(key).filter(|value| !is_neutral(value)) {
                problems.push(format!("{key}: found {value}, expected null"));
            }
        }
        problems
    }

    /// Returns whether the magnitudes of the rows are stored.
    pub(super) fn has_magnitudes(&self) -> bool {
        self.use_dora.unwrap_or(false)
    }

    /// Returns whether the updates have biases.
    pub(super) fn has_update_biases(&self) -> bool {
        self.lora_bias.unwrap_or(false)
    }

    /// Returns whether biases of the base model are stored.
    pub(super) fn has_base_biases(&self) -> bool {
        self.bias.as_ref().is_some_and(|bias| bias != "none")
    }

    /// Returns whether a module of this name, or one that contains it, is stored as a whole.
    pub(super) fn is_module_to_save(&self, module: &str) -> bool {
        let names = self.modules_to_save.as_deref();
        names.is_some_and(|names| is_module_to_save(names, module))
    }

    /// The tokens whose embeddings are stored for a module.
    pub(super) fn token_indices(&self, module: &str) -> Option<&[usize]> {
        match self.trainable_token_indices.as_ref()? {
            TokenIndices::Input(indices) => Some(indices),
            TokenIndices::ByModule(modules) => modules
                .iter()
                .find(|(name, _)| module.ends_with(name.as_str()))
                .map(|(_, indices)| indices.as_slice()),
        }
    }

    /// The configured rank of a module.
    pub(super) fn rank(&self, module: &str) -> Result<usize, String> {
        let rank = by_pattern("rank_pattern", self.rank_pattern.as_ref(), module)?;
        Ok(rank.or(self.r).unwrap_or(DEFAULT_RANK))
    }

    /// `alpha / rank` of a module, or `alpha / sqrt(rank)` with `use_rslora`.
    pub(super) fn scaling(&self, module: &str, rank: usize) -> Result<f64, String> {
        let alpha = by_pattern("alpha_pattern", self.alpha_pattern.as_ref(), module)?;
        let alpha = alpha.or(self.lora_alpha).unwrap_or(DEFAULT_RANK as f64);
        let rank = rank as f64;
        if self.use_rslora.unwrap_or(false) {
            Ok(alpha / rank.sqrt())
        } else {
            Ok(alpha / rank)
        }
    }
}

/// Returns whether a module, or one that contains it, is saved as a whole. By PEFT's rule, it is if
/// its name ends with one of `names`.
pub(super) fn is_module_to_save(names: &[String], module: &str) -> bool {
    let ends = module
        .match_indices('.')
        .map(|(end, _)| end)
        .chain([module.len()]);
    let mut containers = ends.map(|end| &module[..end]);
    containers.any(|container| names.iter().any(|name| container.ends_with(name.as_str())))
}

/// PEFT's rule: the first pattern, in the file's order, that matches the module's name or the end
/// of it after a dot, as a regular expression.
fn by_pattern<T: Copy>(
    key: &str,
    patterns: Option<&Patterns<T>>,
    module: &str,
) -> Result<Option<T>, String> {
    for (pattern, value) in patterns.map_or(&[][..], |patterns| &patterns.0) {
        let regex = Regex::new(&format!(r"^(.*\.)?({pattern})$"))
            .map_err(|_| format!("{key}: found `{pattern}`, expected a regular expression"))?;
        if regex.is_match(module) {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    }
}

/// An object whose order is preserved.
#[derive(Debug)]
struct Patterns<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patterns<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PatternsVisitor(PhantomData))
    }
}

struct PatternsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for PatternsVisitor<T> {
    type Value = Patterns<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of patterns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut patterns = Vec::new();
        while let Some(pattern) = map.next_entry()? {
            patterns.push(pattern);
        }
        Ok(Patterns(patterns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<AdapterConfig, String> {
        AdapterConfig::from_json(json.as_bytes())
    }

    #[test]
    fn the_first_matching_pattern_applies() {
        let json = r#"{"r": 2, "rank_pattern": {"layers.1.fc1": 5, "fc1": 3, "a.fc1": 4}}"#;
        let config = config(json).unwrap();
        for (module, rank) in [
            ("decoder.layers.1.fc1", 5),
            ("decoder.layers.11.fc1", 3),
            ("a.fc1", 3),
            ("fc10", 2),
        ] {
            assert_eq!(config.rank(module), Ok(rank), "{module}");
        }
    }

    #[test]
    fn a_null_is_the_default() {
        let nulls = r#"{"peft_type": null, "r": null, "lora_alpha": null, "rank_pattern": null,
            "alpha_pattern": null, "use_rslora": null, "use_dora": null, "fan_in_fan_out": null,
            "lora_bias": null, "bias": null, "modules_to_save": null, "init_lora_weights": null,
            "trainable_token_indices": null, "target_parameters": null}"#;
        for json in [nulls, "{}"] {
            let config = config(json).unwrap();
            assert_eq!(config.rank("fc1"), Ok(8));
            assert_eq!(config.scaling("fc1", 4), Ok(2.0));
            assert!(!config.has_magnitudes() && !config.has_update_biases());
            assert!(!config.has_base_biases() && !config.is_module_to_save("lm_head"));
        }
    }

    #[test]
    fn errors_name_unsupported_settings_that_change_the_result() {
        for (json, names) in [
            (r#"{"peft_type": "ADALORA"}"#, vec!["peft_type", "ADALORA"]),
            (
                r#"{"init_lora_weights": "pissa_niter_4", "use_bdlora": {"nblocks": 2}}"#,
                vec!["init_lora_weights", "pissa_niter_4", "use_bdlora"],
            ),
            (
                r#"{"layer_replication": [[0, 1]], "kasa_config": {"beta": 1.0}}"#,
                vec!["layer_replication", "kasa_config"],
            ),
        ] {
            let error = config(json).unwrap_err();
            for name in names {
                assert!(error.contains(name), "{error}");
            }
        }
        let harmless = r#"{"peft_type": "LORA", "init_lora_weights": "gaussian",
            "fan_in_fan_out": true, "layers_to_transform": [1], "target_parameters": []}"#;
        assert!(config(harmless).is_ok());
    }

    #[test]
    fn modules_are_saved_by_the_end_of_a_name() {
        let config = config(r#"{"modules_to_save": ["head", "decoder"]}"#).unwrap();
        assert!(config.is_module_to_save("lm_head"));
        assert!(config.is_module_to_save("model.language_model.decoder.layers.0.fc1"));
        assert!(!config.is_module_to_save("model.language_model.shared"));
    }
}

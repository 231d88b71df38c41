//! The settings of a LoRA adapter, as PEFT's `LoraConfig` names them and as its `save_pretrained`
//! writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// The version of PEFT whose `adapter_config.json` is written.
const PEFT_VERSION: &str = "0.21.2";

/// The settings of a LoRA adapter that is trained: the fields of PEFT's `LoraConfig` with its names
/// and defaults. PEFT's other fields have their defaults: `bias` is `none`, and `task_type` is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LoraConfig {
    /// The rank of the updates (default 8).
    pub r: usize,
    /// The updates are multiplied by `lora_alpha / r` (default 8).
    pub lora_alpha: f64,
    /// Multiply the updates by `lora_alpha / sqrt(r)` instead (default false).
    pub use_rslora: bool,
    /// The dropout probability of the updates' inputs in training (default 0).
    pub lora_dropout: f64,
    /// The modules that receive an update (default none).
    pub target_modules: NamesOrPattern,
    /// The modules that receive no update although `target_modules` names them (default none).
    pub exclude_modules: Option<NamesOrPattern>,
    /// The indices of the layers whose modules receive an update; `None` or an empty list for all
    /// (default none). It does not apply to modules that `target_modules` names in full.
    #[serde(deserialize_with = "one_or_many")]
    pub layers_to_transform: Option<Vec<usize>>,
    /// The names of the lists of layers that `layers_to_transform` counts, as regular expressions;
    /// `None` or an empty list for all (default none).
    #[serde(deserialize_with = "one_or_many")]
    pub layers_pattern: Option<Vec<String>>,
    /// The modules that are trained as a whole and stored in the adapter (default none).
    #[serde(deserialize_with = "null_is_empty")]
    pub modules_to_save: Vec<String>,
    /// The base model's folder or its name on the hub (default none).
    pub base_model_name_or_path: Option<String>,
}

/// PEFT's `list[str] | str`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a list of module names or a regular expression"
)]
pub enum NamesOrPattern {
    /// Names of modules. A name stands for every module whose full name is the name, or ends with a
    /// dot and the name.
    Names(Vec<String>),
    /// A regular expression of a module's full name. As `target_modules`, `all-linear` stands for
    /// every linear layer except the output matrix.
    Pattern(String),
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            r: 8,
            lora_alpha: 8.0,
            use_rslora: false,
            lora_dropout: 0.0,
            target_modules: NamesOrPattern::Names(Vec::new()),
            exclude_modules: None,
            layers_to_transform: None,
            layers_pattern: None,
            modules_to_save: Vec::new(),
            base_model_name_or_path: None,
        }
    }
}

impl LoraConfig {
    /// The factor of the updates: `lora_alpha / r`, or `lora_alpha / sqrt(r)` with `use_rslora`.
    pub fn scaling(&self) -> f64 {
        let rank = self.r as f64;
        let rank = if self.use_rslora { rank.sqrt() } else { rank };
        self.lora_alpha / rank
    }

    /// Rejects settings that PEFT rejects.
    pub(super) fn validate(&self) -> Result<()> {
        match self.invalid_settings().into_iter().next() {
            None => Ok(()),
            Some((setting, found, expected)) => {
                Err(Error::argument(setting, format!("`{found}`"), expected))
            }
        }
    }

    /// Every setting that PEFT rejects: its name, the value that was found, and what was expected.
    /// Regular expressions are not checked: see [`ModuleMatcher::new`](super::ModuleMatcher::new).
    pub fn invalid_settings(&self) -> Vec<(&'static str, String, &'static str)> {
        let is_pattern = matches!(self.target_modules, NamesOrPattern::Pattern(_));
        let is_empty =
            matches!(&self.target_modules, NamesOrPattern::Names(names) if names.is_empty());
        let layers_pattern = self.layers_pattern.as_deref().unwrap_or(&[]);
        let checks = [
            (self.r > 0, "r", self.r.to_string(), "at least 1"),
            (
                self.lora_alpha.is_finite(),
                "lora_alpha",
                self.lora_alpha.to_string(),
                "a finite number",
            ),
            (
                (0.0..1.0).contains(&self.lora_dropout),
                "lora_dropout",
                self.lora_dropout.to_string(),
                "at least 0 and less than 1",
            ),
            (
                !is_empty || !self.modules_to_save.is_empty(),
                "target_modules",
                "no module".to_owned(),
                "names of modules, a regular expression or `all-linear`",
            ),
            (
                !is_pattern || self.layers_to_transform.is_none(),
                "layers_to_transform",
                format!("{:?}", self.layers_to_transform.as_deref().unwrap_or(&[])),
                "none, because target_modules is a pattern",
            ),
            (
                !is_pattern || self.layers_pattern.is_none(),
                "layers_pattern",
                layers_pattern.join(", "),
                "none, because target_modules is a pattern",
            ),
            (
                layers_pattern.is_empty() || self.layers_to_transform.is_some(),
                "layers_pattern",
                layers_pattern.join(", "),
                "none, because layers_to_transform is not set",
            ),
        ];
        checks
            .into_iter()
            .filter(|(holds, ..)| !holds)
            .map(|(_, setting, found, expected)| (setting, found, expected))
            .collect()
    }

    /// The content of `adapter_config.json`: every key that PEFT's `save_pretrained` writes.
    pub(super) fn to_json(&self) -> Value {
        let mut values: BTreeMap<&str, Value> = [
            "alora_invocation_tokens",
            "arrow_config",
            "corda_config",
            "eva_config",
            "kasa_config",
            "layer_replication",
            "lora_ga_config",
            "megatron_config",
            "monteclora_config",
            "revision",
            "target_parameters",
            "task_type",
            "trainable_token_indices",
            "use_bdlora",
            "velora_config",
        ]
        .map(|key| (key, Value::Null))
        .into();
        let flags = [
            "ensure_weight_tying",
            "fan_in_fan_out",
            "lora_bias",
            "use_dora",
            "use_qalora",
        ];
        values.extend(flags.map(|key| (key, Value::Bool(false))));
        let objects = ["alpha_pattern", "loftq_config", "rank_pattern"];
        values.extend(objects.map(|key| (key, json!({}))));
        values.extend([
            (
                "auto_mapping",
                json!({
                    "base_model_class": "Florence2ForConditionalGeneration",
                    "parent_library": "transformers.models.florence2.modeling_florence2",
                }),
            ),
            (
                "base_model_name_or_path",
                json!(self.base_model_name_or_path),
            ),
            ("bias", json!("none")),
            ("exclude_modules", json!(self.exclude_modules)),
            ("inference_mode", json!(true)),
            ("init_lora_weights", json!(true)),
            ("layers_pattern", json!(self.layers_pattern)),
            ("layers_to_transform", json!(self.layers_to_transform)),
            ("lora_alpha", whole_or_float(self.lora_alpha)),
            ("lora_dropout", json!(self.lora_dropout)),
            ("megatron_core", json!("megatron.core")),
            ("modules_to_save", null_if_empty(&self.modules_to_save)),
            ("peft_type", json!("LORA")),
            ("peft_version", json!(PEFT_VERSION)),
            ("qalora_group_size", json!(16)),
            ("r", json!(self.r)),
            ("target_modules", json!(self.target_modules)),
            ("use_rslora", json!(self.use_rslora)),
        ]);
        json!(values)
    }
}

/// PEFT's type of `lora_alpha` is an integer, but it accepts any number.
fn whole_or_float(value: f64) -> Value {
    let is_whole = value.fract() == 0.0 && value.abs() < 1e15;
    if is_whole {
        json!(value as i64)
    } else {
        json!(value)
    }
}

fn null_if_empty(names: &[String]) -> Value {
    if names.is_empty() {
        Value::Null
    } else {
        json!(names)
    }
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads null, one value or a list.
fn one_or_many<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form<T> {
        One(T),
        Many(Vec<T>),
    }
    let form = Option::deserialize(deserializer)?;
    Ok(form.map(|form| match form {
        Form::One(value) => vec![value],
        Form::Many(values) => values,
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_that_of_peft() {
        let config = |use_rslora| LoraConfig {
            r: 16,
            lora_alpha: 8.0,
            use_rslora,
            ..LoraConfig::default()
        };
        assert_eq!(config(false).scaling(), 0.5);
        assert_eq!(config(true).scaling(), 2.0);
    }

    #[test]
    fn single_values_lists_and_null_are_read() {
        let read = |json: &str| -> LoraConfig { serde_json::from_str(json).unwrap() };
        let single = read(
            r#"{"target_modules": "all-linear", "layers_to_transform": 2, "layers_pattern": "layers",
                "modules_to_save": null}"#,
        );
        assert_eq!(
            single.target_modules,
            NamesOrPattern::Pattern("all-linear".to_owned())
        );
        assert_eq!(single.layers_to_transform, Some(vec![2]));
        assert_eq!(single.layers_pattern, Some(vec!["layers".to_owned()]));
        assert!(single.modules_to_save.is_empty());
        let lists = read(r#"{"target_modules": ["fc1"], "layers_to_transform": [0, 1]}"#);
        assert_eq!(
            lists.target_modules,
            NamesOrPattern::Names(vec!["fc1".to_owned()])
        );
        assert_eq!(lists.layers_to_transform, Some(vec![0, 1]));
        assert_eq!(read("{}"), LoraConfig::default());
    }
}

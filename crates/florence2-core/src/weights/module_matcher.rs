//! Which modules a LoRA adapter updates, by PEFT's rules.

use std::collections::BTreeSet;

use regex::Regex;

use super::lora_config::{LoraConfig, NamesOrPattern};
use crate::error::{Error, Result};

/// The value of `target_modules` for all linear layers, in any case.
const ALL_LINEAR: &str = "all-linear";

/// The last part of the names of the linear layers, except the output matrix.
const LINEAR_LAYERS: [&str; 9] = [
    "fc1",
    "fc2",
    "image_projection",
    "k_proj",
    "out_proj",
    "proj",
    "q_proj",
    "qkv",
    "v_proj",
];

/// Determines which modules receive an update: PEFT's `check_target_module_exists`.
#[derive(Debug, Clone)]
pub struct ModuleMatcher {
    excluded: Option<Selection>,
    /// The modules that are trained as a whole. PEFT never updates a part of them.
    whole: Vec<Regex>,
    targets: Selection,
    layers: Option<Layers>,
}

/// A set of modules.
#[derive(Debug, Clone)]
enum Selection {
    Names(BTreeSet<String>),
    Pattern(Regex),
    AllLinear,
}

/// A restriction to some layers.
#[derive(Debug, Clone)]
struct Layers {
    indices: BTreeSet<usize>,
    /// Patterns whose first group is the index of a module's layer.
    patterns: Vec<Regex>,
}

impl ModuleMatcher {
    /// Checks the settings of an adapter and compiles their patterns.
    ///
    /// # Errors
    /// [`Error::Argument`] with the first setting that PEFT rejects: a rank of 0, an alpha or a dropout
    /// outside its range, `layers_to_transform` or `layers_pattern` beside a pattern as
    /// `target_modules`, `layers_pattern` without `layers_to_transform`, no module at all; or with a
    /// value that is no regular expression. Lookaround and backreferences, which Python accepts, are
    /// not supported.
    pub fn new(config: &LoraConfig) -> Result<Self> {
        config.validate()?;
        let is_all_linear = |pattern: &str| pattern.to_lowercase() == ALL_LINEAR;
        let targets = match &config.target_modules {
            NamesOrPattern::Pattern(pattern) if is_all_linear(pattern) => Selection::AllLinear,
            targets => Selection::new("target_modules", targets)?,
        };
        let excluded = config.exclude_modules.as_ref();
        let excluded = excluded.map(|excluded| Selection::new("exclude_modules", excluded));
        let whole = config.modules_to_save.iter().map(|name| {
            let pattern = format!(r"\A(?:(^|.*\.){name}($|\..*))");
            compile("modules_to_save", name, &pattern)
        });
        Ok(Self {
            excluded: excluded.transpose()?,
            whole: whole.collect::<Result<_>>()?,
            targets,
            layers: Layers::new(config)?,
        })
    }

    /// Returns whether a module receives an update, given its full name, such as
    /// `model.language_model.decoder.layers.0.fc1`.
    pub fn targets(&self, module: &str) -> bool {
        let is_excluded = self
            .excluded
            .as_ref()
            .is_some_and(|excluded| excluded.contains(module));
        if is_excluded || self.whole.iter().any(|whole| whole.is_match(module)) {
            return false;
        }
        if let Selection::Names(names) = &self.targets
            && names.contains(module)
        {
            // PEFT does not apply `layers_to_transform` to full names.
            return true;
        }
        let is_in_layers = |layers: &Layers| layers.contain(module);
        self.targets.contains(module) && self.layers.as_ref().is_none_or(is_in_layers)
    }
}

impl Selection {
    fn new(setting: &'static str, modules: &NamesOrPattern) -> Result<Self> {
        Ok(match modules {
            NamesOrPattern::Names(names) => Self::Names(names.iter().cloned().collect()),
            NamesOrPattern::Pattern(pattern) => {
                Self::Pattern(compile(setting, pattern, &format!(r"\A(?:{pattern})\z"))?)
            }
        })
    }

    fn contains(&self, module: &str) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.is_match(module),
            Self::AllLinear => {
                let name = module.rsplit('.').next().unwrap_or(module);
                LINEAR_LAYERS.contains(&name)
            }
            Self::Names(names) => {
                let starts = module.match_indices('.').map(|(dot, _)| dot + 1);
                let mut ends = starts.map(|start| &module[start..]).chain([module]);
                ends.any(|end| names.contains(end))
            }
        }
    }
}

impl Layers {
    /// `None` if all layers are meant.
    fn new(config: &LoraConfig) -> Result<Option<Self>> {
        let indices = config.layers_to_transform.as_deref().unwrap_or(&[]);
        if indices.is_empty() {
            return Ok(None);
        }
        let names = config.layers_pattern.as_deref().unwrap_or(&[]);
        let patterns = if names.is_empty() {
            // The first number after any name: a lazy match, as in PEFT.
            vec![compile("layers_pattern", "", r"\A.*?\.[^.]*\.(\d+)\.")?]
        } else {
            let patterns = names.iter().map(|name| {
                let pattern = format!(r"\A(?:^|.*?\.){name}\.(?P<idx>\d+)\.");
                compile("layers_pattern", name, &pattern)
            });
            patterns.collect::<Result<_>>()?
        };
        Ok(Some(Self {
            indices: indices.iter().copied().collect(),
            patterns,
        }))
    }

    fn contain(&self, module: &str) -> bool {
        let mut found = self
            .patterns
            .iter()
            .filter_map(|pattern| pattern.captures(module));
        let index = found.next().and_then(|captures| {
            let index = captures.name("idx").or_else(|| captures.get(1))?;
            index.as_str().parse().ok()
        });
        index.is_some_and(|index: usize| self.indices.contains(&index))
    }
}

/// Compiles a pattern that contains the value of a setting.
fn compile(setting: &'static str, value: &str, pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|_| {
        let expected = "a regular expression without lookaround and backreferences";
        Error::argument(setting, format!("`{value}`"), expected)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_setting() {
        for (json, expected) in [
            (r#"{"r": 0}"#, "argument `r`: found `0`"),
            (r#"{"lora_dropout": 1.0}"#, "argument `lora_dropout`"),
            ("{}", "argument `target_modules`: found `no module`"),
            (
                r#"{"target_modules": "fc.*", "layers_to_transform": [1]}"#,
                "argument `layers_to_transform`: found `[1]`",
            ),
            (
                r#"{"target_modules": ["fc1"], "layers_pattern": "layers"}"#,
                "argument `layers_pattern`: found `layers`",
            ),
            (
                r#"{"target_modules": "(?!a)fc1"}"#,
                "argument `target_modules`: found `(?!a)fc1`, expected a regular expression",
            ),
            (
                r#"{"target_modules": ["fc1"], "exclude_modules": "("}"#,
                "argument `exclude_modules`: found `(`",
            ),
            (
                r#"{"target_modules": ["fc1"], "modules_to_save": ["lm_head", "("]}"#,
                "argument `modules_to_save`: found `(`",
            ),
        ] {
            let config: LoraConfig = serde_json::from_str(json).unwrap();
            let error = ModuleMatcher::new(&config).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}

//! The flags of PEFT's `LoraConfig`.

use clap::Args;
use florence2_core::weights::{LoraConfig, NamesOrPattern};

use super::values::names_or_pattern;

/// The linear layers of the language model. The vision tower has layers of the names `fc1` and `fc2`, too.
const TARGETS: [&str; 6] = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"];
const VISION_TOWER: &str = ".*vision_tower.*";

/// One flag for each setting of an adapter, of the same name.
#[derive(Args)]
#[command(next_help_heading = "LoRA (PEFT's LoraConfig)")]
pub(crate) struct LoraArgs {
    /// The rank of the updates. Default: 8.
    #[arg(long, visible_alias = "r", value_name = "N")]
    lora_rank: Option<usize>,
    /// The updates are multiplied by alpha / rank. Default: 8.
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true)]
    lora_alpha: Option<f64>,
    /// Multiply the updates by alpha / sqrt(rank) instead.
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    use_rslora: Option<bool>,
    /// The dropout probability of the updates' inputs. Default: 0.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    lora_dropout: Option<f64>,
    /// The modules that receive an update: names separated by commas, a regular expression of full
    /// names, or all-linear. Default: q_proj,k_proj,v_proj,out_proj,fc1,fc2 of the language model, so
    /// that the vision tower is frozen and its features are cached (PEFT has no default).
    #[arg(long, value_name = "NAMES|REGEX", value_parser = names_or_pattern)]
    target_modules: Option<NamesOrPattern>,
    /// The modules that receive no update although --target-modules names them. Default: those of the
    /// vision tower without --target-modules, else none.
    #[arg(long, value_name = "NAMES|REGEX", value_parser = names_or_pattern)]
    exclude_modules: Option<NamesOrPattern>,
    /// The layers whose modules receive an update, by index. Default: all.
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    layers_to_transform: Option<Vec<usize>>,
    /// The names of the lists of layers that --layers-to-transform counts. Default: all.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    layers_pattern: Option<Vec<String>>,
    /// The modules that are trained as a whole and stored in the adapter. Default: none.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    modules_to_save: Vec<String>,
}

impl LoraArgs {
    /// The settings of an adapter for a base model.
    pub(crate) fn config(&self, base_model: String) -> LoraConfig {
        let defaults = LoraConfig::default();
        let mut config = defaults.clone();
        config.r = self.lora_rank.unwrap_or(defaults.r);
        config.lora_alpha = self.lora_alpha.unwrap_or(defaults.lora_alpha);
        config.use_rslora = self.use_rslora.unwrap_or(defaults.use_rslora);
        config.lora_dropout = self.lora_dropout.unwrap_or(defaults.lora_dropout);
        config.exclude_modules.clone_from(&self.exclude_modules);
        match &self.target_modules {
            Some(targets) => config.target_modules = targets.clone(),
            None => {
                let targets = TARGETS.map(str::to_owned);
                config.target_modules = NamesOrPattern::Names(targets.into());
                config
                    .exclude_modules
                    .get_or_insert(NamesOrPattern::Pattern(VISION_TOWER.to_owned()));
            }
        }
        config
            .layers_to_transform
            .clone_from(&self.layers_to_transform);
        config.layers_pattern.clone_from(&self.layers_pattern);
        config.modules_to_save.clone_from(&self.modules_to_save);
        config.base_model_name_or_path = Some(base_model);
        config
    }

    /// The flags that were given.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let flags = [
            (self.lora_rank.is_some(), "--lora-rank"),
            (self.lora_alpha.is_some(), "--lora-alpha"),
            (self.use_rslora.is_some(), "--use-rslora"),
            (self.lora_dropout.is_some(), "--lora-dropout"),
            (self.target_modules.is_some(), "--target-modules"),
            (self.exclude_modules.is_some(), "--exclude-modules"),
            (self.layers_to_transform.is_some(), "--layers-to-transform"),
            (self.layers_pattern.is_some(), "--layers-pattern"),
            (!self.modules_to_save.is_empty(), "--modules-to-save"),
        ];
        let given = flags.into_iter().filter(|(is_given, _)| *is_given);
        given.map(|(_, flag)| flag).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::{Command, FromArgMatches};
    use florence2_core::weights::ModuleMatcher;

    use super::*;

    fn args(flags: &[&str]) -> LoraArgs {
        let command = LoraArgs::augment_args(Command::new("train"));
        let matches = command.try_get_matches_from([&["train"], flags].concat());
        LoraArgs::from_arg_matches(&matches.unwrap()).unwrap()
    }

    /// `r` has the flag `--lora-rank`, and the base model is `--model`.
    #[test]
    fn every_setting_has_a_flag_of_its_name() {
        let command = LoraArgs::augment_args(Command::new("train"));
        let flags = command
            .get_arguments()
            .filter_map(|argument| argument.get_long());
        let mut flags: Vec<String> = flags.map(|flag| flag.replace('-', "_")).collect();
        flags.push("base_model_name_or_path".to_owned());
        let settings = serde_json::to_value(LoraConfig::default()).unwrap();
        for setting in settings.as_object().unwrap().keys() {
            let name = if setting == "r" { "lora_rank" } else { setting };
            assert!(flags.iter().any(|flag| flag == name), "{setting}");
        }
    }

    #[test]
    fn by_default_the_language_model_is_adapted_and_the_vision_tower_is_frozen() {
        let matcher = ModuleMatcher::new(&args(&[]).config("base".to_owned())).unwrap();
        let layers = "model.language_model.decoder.layers.0";
        assert!(matcher.targets(&format!("{layers}.self_attn.q_proj")));
        assert!(matcher.targets(&format!("{layers}.fc1")));
        let blocks = "model.vision_tower.blocks.0.0";
        assert!(!matcher.targets(&format!("{blocks}.channel_block.ffn.fc1")));

        let chosen = args(&["--target-modules", "fc1", "--r", "4", "--lora-alpha=16"]);
        assert_eq!(
            chosen.given(),
            ["--lora-rank", "--lora-alpha", "--target-modules"]
        );
        let config = chosen.config("base".to_owned());
        assert_eq!((config.r, config.lora_alpha), (4, 16.0));
        let matcher = ModuleMatcher::new(&config).unwrap();
        assert!(matcher.targets(&format!("{blocks}.channel_block.ffn.fc1")));
    }
}

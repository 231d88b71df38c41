//! Writes LoRA adapters as PEFT's `save_pretrained` does.

use std::collections::BTreeMap;
use std::path::Path;

use florence2_checkpoint::{FloatType, SafetensorsWriter, TensorSpec, write_atomic};

use super::adapter_config::is_module_to_save;
use super::lora::{CONFIG_FILE, SAFETENSORS_FILE};
use super::lora_config::LoraConfig;
use super::module_matcher::ModuleMatcher;
use super::save_files::{create_folder, pretty_json};
use crate::error::{Error, Result};

/// PEFT's prefix of the base model's names.
const PREFIX: &str = "base_model.model.";

/// The last part of the names of the embeddings, whose factors have other names in PEFT.
const EMBEDDINGS: [&str; 5] = [
    "column_embeddings",
    "embed_positions",
    "embed_tokens",
    "row_embeddings",
    "shared",
];

/// The trained tensors of a LoRA adapter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoraTensors {
    /// The factors of the updates by the module's full name, such as
    /// `model.language_model.decoder.layers.0.fc1`.
    pub updates: BTreeMap<String, LoraFactors>,
    /// The parameters of [`LoraConfig::modules_to_save`] by their full names, such as
    /// `lm_head.weight`.
    pub modules_to_save: BTreeMap<String, TensorValues>,
}

/// The factors of the update `scaling * B A` of one module.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraFactors {
    /// PEFT's `lora_A`: `[r, in]`; of a convolution `[r, in, size, size]`, of an embedding
    /// `[r, rows]`.
    pub a: TensorValues,
    /// PEFT's `lora_B`: `[out, r]`; of a convolution `[out, r, 1, 1]`, of an embedding
    /// `[columns, r]`.
    pub b: TensorValues,
}

/// The shape and the values of a tensor, in f32.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorValues {
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The values in row-major order.
    pub values: Vec<f32>,
}

impl LoraTensors {
    /// Writes `adapter_config.json` and `adapter_model.safetensors` (f32) to a folder, which is
    /// created if it does not exist. PEFT and [`Adapter::open`](super::Adapter::open) read them. Each
    /// file replaces an earlier one only if it is written completely.
    ///
    /// # Errors
    /// Those of [`ModuleMatcher::new`]; [`Error::Malformed`] with every tensor that does not fit
    /// the settings; [`Error::Write`] with the file.
    pub fn save(&self, config: &LoraConfig, directory: &Path) -> Result<()> {
        let file = directory.join(SAFETENSORS_FILE);
        let problems = self.problems(config)?;
        if !problems.is_empty() {
            let file = file.display().to_string();
            return Err(Error::malformed(file, problems.join("; ")));
        }
        create_folder(directory)?;
        let named = self.named();
        let specs = named
            .iter()
            .map(|(name, tensor)| TensorSpec::new(name, tensor.shape.clone(), FloatType::F32));
        let mut writer = SafetensorsWriter::create(&file, specs)?;
        for (name, tensor) in &named {
            writer.write(name, &tensor.values)?;
        }
        writer.finish()?;
        let json = pretty_json(&config.to_json());
        Ok(write_atomic(&directory.join(CONFIG_FILE), &json)?)
    }

    /// The tensors by PEFT's names.
    fn named(&self) -> Vec<(String, &TensorValues)> {
        let mut named = Vec::new();
        for (module, factors) in &self.updates {
            let [a, b] = if is_embedding(module) {
                ["lora_embedding_A", "lora_embedding_B"]
            } else {
                ["lora_A.weight", "lora_B.weight"]
            };
            named.push((format!("{PREFIX}{module}.{a}"), &factors.a));
            named.push((format!("{PREFIX}{module}.{b}"), &factors.b));
        }
        for (name, tensor) in &self.modules_to_save {
            named.push((format!("{PREFIX}{name}"), tensor));
        }
        named
    }

    /// The tensors that do not fit the settings or their shapes.
    fn problems(&self, config: &LoraConfig) -> Result<Vec<String>> {
        let matcher = ModuleMatcher::new(config)?;
        let mut problems = Vec::new();
        for (module, factors) in &self.updates {
            if !matcher.targets(module) {
                problems.push(format!(
                    "`{module}`: found an update, expected none by target_modules"
                ));
            }
            for (part, tensor, axis) in [("lora_A", &factors.a, 0), ("lora_B", &factors.b, 1)] {
                if tensor.shape.len() < 2 || tensor.shape[axis] != config.r {
                    problems.push(format!(
                        "`{module}`: found {part} of shape {:?}, expected rank {}",
                        tensor.shape, config.r
                    ));
                }
            }
        }
        for name in self.modules_to_save.keys() {
            let module = name
                .rsplit_once('.')
                .map_or(name.as_str(), |(module, _)| module);
            if !is_module_to_save(&config.modules_to_save, module) {
                problems.push(format!(
                    "`{name}`: found a parameter that modules_to_save does not contain"
                ));
            }
        }
        for (name, tensor) in self.named() {
            if tensor.values.iter().any(|value| !value.is_finite()) {
                problems.push(format!(
                    "`{name}`: found NaN or infinity, expected finite values"
                ));
            }
        }
        Ok(problems)
    }
}

/// Returns whether a module is an embedding of tokens or positions, by its full name.
pub fn is_embedding(module: &str) -> bool {
    let name = module.rsplit('.').next().unwrap_or(module);
    EMBEDDINGS.contains(&name)
}

//! LoRA adapters in PEFT's format, merged into the weights at load: `W + alpha / r * B A`.

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;
use serde::Deserialize;

use super::Checkpoint;
use super::keys::{KeyLayout, to_hugging_face_key};
use crate::error::{Error, Result};

/// PEFT's prefix on every key.
const PREFIX: &str = "base_model.model.";

/// An adapter, read and checked, not yet merged.
#[derive(Debug)]
pub struct Adapter {
    name: String,
    low_rank: BTreeMap<String, LowRank>,
    replaced: BTreeMap<String, Vec<f32>>,
}

/// One weight's update.
#[derive(Debug, Default)]
struct LowRank {
    /// `[rank, in..]`.
    a: Vec<f32>,
    /// `[out, rank]`.
    b: Vec<f32>,
    rank: usize,
    scaling: f32,
}

/// `adapter_config.json`, the fields that a merge depends on.
#[derive(Debug, Deserialize)]
struct AdapterConfig {
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    rank_pattern: BTreeMap<String, usize>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    peft_type: Option<String>,
}

impl Adapter {
    /// Reads `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Malformed`] naming the file; DoRA and other methods than LoRA
    /// are refused.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("adapter_config.json");
        let json = std::fs::read(&path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        let name = path.display().to_string();
        let config: AdapterConfig =
            serde_json::from_slice(&json).map_err(|error| Error::malformed(&name, error))?;
        config.check(&name)?;
        let checkpoint =
            Checkpoint::open_safetensors(&directory.join("adapter_model.safetensors"))?;
        Self::new(&config, &checkpoint)
    }

    fn new(config: &AdapterConfig, checkpoint: &Checkpoint) -> Result<Self> {
        let mut adapter = Self {
            name: checkpoint.name.clone(),
            low_rank: BTreeMap::new(),
            replaced: BTreeMap::new(),
        };
        for (key, tensor) in &checkpoint.tensors {
            let unexpected = || {
                let reason = format!("`{key}` is not a LoRA tensor of a Florence-2 module");
                Error::malformed(&checkpoint.name, reason)
            };
            let module = key.strip_prefix(PREFIX).ok_or_else(unexpected)?;
            if let Some(module) = module.strip_suffix(".lora_A.weight") {
                let update = adapter.update(module).ok_or_else(unexpected)?;
                update.rank = tensor.shape.first().copied().unwrap_or(0);
                update.scaling = config.scaling(module, update.rank, &checkpoint.name)?;
                update.a = tensor.to_f32()?;
            } else if let Some(module) = module.strip_suffix(".lora_B.weight") {
                adapter.update(module).ok_or_else(unexpected)?.b = tensor.to_f32()?;
            } else {
                let renamed = renamed(module).ok_or_else(unexpected)?;
                adapter.replaced.insert(renamed, tensor.to_f32()?);
            }
        }
        Ok(adapter)
    }

    fn update(&mut self, module: &str) -> Option<&mut LowRank> {
        let key = renamed(&format!("{module}.weight"))?;
        Some(self.low_rank.entry(key).or_default())
    }

    /// Merges this adapter's update of one weight, if it has one, and says whether it had.
    ///
    /// `values` has the checkpoint's shape `[out, in..]`.
    pub(super) fn apply(&self, key: &str, shape: &[usize], values: &mut Vec<f32>) -> Result<bool> {
        let mut applied = false;
        if let Some(replacement) = self.replaced.get(key) {
            self.check_length(key, replacement.len(), values.len())?;
            values.clone_from(replacement);
            applied = true;
        }
        if let Some(update) = self.low_rank.get(key) {
            let out = shape[0];
            let width = values.len() / out;
            self.check_length(key, update.a.len(), update.rank * width)?;
            self.check_length(key, update.b.len(), update.rank * out)?;
            update.add_to(values, width);
            applied = true;
        }
        Ok(applied)
    }

    /// Every update must have found its weight: one that did not was made for another model.
    pub(super) fn check_all_used(&self, applied: usize) -> Result<()> {
        let keys: std::collections::BTreeSet<&String> =
            self.low_rank.keys().chain(self.replaced.keys()).collect();
        if applied != keys.len() {
            let reason = format!(
                "{} of {} adapted weights are in the model, expected all",
                applied,
                keys.len()
            );
            return Err(Error::malformed(&self.name, reason));
        }
        Ok(())
    }

    fn check_length(&self, key: &str, found: usize, expected: usize) -> Result<()> {
        if found != expected {
            let reason = format!("`{key}`: an update of {found} values, expected {expected}");
            return Err(Error::malformed(&self.name, reason));
        }
        Ok(())
    }
}

impl LowRank {
    fn add_to(&self, values: &mut [f32], width: usize) {
        for (row, b) in values
            .chunks_exact_mut(width)
            .zip(self.b.chunks_exact(self.rank))
        {
            for (b, a) in b.iter().zip(self.a.chunks_exact(width)) {
                let factor = self.scaling * b;
                for (value, a) in row.iter_mut().zip(a) {
                    *value += factor * a;
                }
            }
        }
    }
}

impl AdapterConfig {
    fn check(&self, file: &str) -> Result<()> {
        let refused = [
            (
                self.peft_type.as_deref().is_some_and(|kind| kind != "LORA"),
                "peft_type is not LORA",
            ),
            (self.use_dora, "use_dora is set, expected plain LoRA"),
            (
                self.fan_in_fan_out,
                "fan_in_fan_out is set, expected linear weights [out, in]",
            ),
            (self.r == 0, "r is 0, expected at least 1"),
        ];
        match refused.iter().find(|(holds, _)| *holds) {
            Some((_, reason)) => Err(Error::malformed(file, reason)),
            None => Ok(()),
        }
    }

    /// `alpha / r` of a module, by PEFT's patterns; the rank must be the stored one.
    fn scaling(&self, module: &str, stored_rank: usize, file: &str) -> Result<f32> {
        let rank = by_pattern(&self.rank_pattern, module, file)?.unwrap_or(self.r);
        if rank != stored_rank || rank == 0 {
            let reason = format!("`{module}`: rank {stored_rank} stored, {rank} configured");
            return Err(Error::malformed(file, reason));
        }
        let alpha = by_pattern(&self.alpha_pattern, module, file)?.unwrap_or(self.lora_alpha);
        let divisor = match self.use_rslora {
            true => (rank as f64).sqrt(),
            false => rank as f64,
        };
        Ok((alpha / divisor) as f32)
    }
}

/// PEFT's rule: a pattern is a regular expression for the end of the module's name, after a dot.
fn by_pattern<T: Copy>(
    patterns: &BTreeMap<String, T>,
    module: &str,
    file: &str,
) -> Result<Option<T>> {
    for (pattern, value) in patterns {
        let regex = Regex::new(&format!(r"^(.*\.)?({pattern})$"))
            .map_err(|error| Error::malformed(file, error))?;
        if regex.is_match(module) {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

fn renamed(key: &str) -> Option<String> {
    let layout = if key.starts_with("model.") || key.starts_with("lm_head.") {
        KeyLayout::HuggingFace
    } else {
        KeyLayout::Microsoft
    };
    to_hugging_face_key(key, layout)
}

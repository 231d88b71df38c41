//! A checkpoint's tensors by the paths of the model's modules.

use std::collections::{BTreeMap, BTreeSet};

use florence2_checkpoint::{Checkpoint, StoredTensor};

use super::key_map::{FINAL_LOGITS_BIAS_KEY, is_ignored, is_transposed, to_hugging_face_key};
use crate::error::{Error, Result};

/// Parts of the names of an adapter's tensors.
const ADAPTER_PARTS: [&str; 4] = [
    ".lora_",
    ".base_layer.",
    ".modules_to_save.",
    ".token_adapter.",
];

/// The tensors of a checkpoint by Hugging Face's names.
pub(super) struct NamedTensors<'a> {
    pub(super) checkpoint: &'a str,
    tensors: BTreeMap<String, NamedTensor<'a>>,
    /// Names in the checkpoint that belong to no part of the model.
    pub(super) unknown: Vec<String>,
}

/// A tensor and its name in the checkpoint.
#[derive(Clone, Copy)]
pub(super) struct NamedTensor<'a> {
    pub(super) name: &'a str,
    pub(super) tensor: &'a StoredTensor,
}

impl NamedTensor<'_> {
    /// The shape of the model's parameter: that of the file, or its transpose.
    pub(super) fn shape(&self) -> Vec<usize> {
        let mut shape = self.tensor.shape.clone();
        if is_transposed(self.name) {
            shape.reverse();
        }
        shape
    }

    /// Reads the values of the model's parameter, in row-major order of [`Self::shape`].
    ///
    /// # Errors
    /// Those of [`StoredTensor::to_f32`].
    pub(super) fn read(&self) -> Result<Vec<f32>> {
        Ok(if is_transposed(self.name) {
            self.tensor.to_f32_transposed()?
        } else {
            self.tensor.to_f32()?
        })
    }
}

impl<'a> NamedTensors<'a> {
    /// Finds the key of each tensor of a checkpoint.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is not a Florence-2 checkpoint, if several tensors have the same
    /// name in the model, or if adapters are not merged.
    pub(super) fn new(checkpoint: &'a Checkpoint) -> Result<Self> {
        let mut named = Self {
            checkpoint: &checkpoint.name,
            tensors: BTreeMap::new(),
            unknown: Vec::new(),
        };
        named.check_merged(checkpoint)?;
        let mut collisions = Vec::new();
        for (name, tensor) in &checkpoint.tensors {
            let Some(key) = to_hugging_face_key(name) else {
                named.unknown.push(name.clone());
                continue;
            };
            if key == FINAL_LOGITS_BIAS_KEY {
                check_zeros(&checkpoint.name, name, tensor)?;
            }
            if is_ignored(&key) {
                continue;
            }
            let tensor = NamedTensor { name, tensor };
            if let Some(other) = named.tensors.insert(key.clone(), tensor) {
                collisions.push(format!("`{}` and `{name}` are both {key}", other.name));
            }
        }
        if !collisions.is_empty() {
            return Err(Error::malformed(&checkpoint.name, collisions.join("; ")));
        }
        let is_tower = |key: &String| key.starts_with("model.vision_tower.");
        if !named.tensors.keys().any(is_tower) {
            let reason = "no `vision_tower` tensor, expected a Florence-2 checkpoint";
            return Err(Error::malformed(&checkpoint.name, reason));
        }
        Ok(named)
    }

    /// Rejects the state of a whole PEFT model: its base weights lack the adapter's update, and the
    /// scale of the update is not stored.
    fn check_merged(&self, checkpoint: &Checkpoint) -> Result<()> {
        let is_adapter = |name: &&String| ADAPTER_PARTS.iter().any(|part| name.contains(part));
        let found: Vec<&str> = checkpoint
            .tensors
            .keys()
            .filter(is_adapter)
            .map(String::as_str)
            .collect();
        if found.is_empty() {
            return Ok(());
        }
        let reason = format!(
            "tensors of an unmerged PEFT model, expected a model saved after merge_and_unload(), or \
             the adapter by itself as an adapter: {}",
            found.join(", ")
        );
        Err(Error::malformed(self.checkpoint, reason))
    }

    pub(super) fn get(&self, key: &str) -> Option<NamedTensor<'a>> {
        self.tensors.get(key).copied()
    }

    /// The checkpoint's names of the tensors whose keys are not expected, and of the unknown ones,
    /// sorted.
    pub(super) fn unexpected(&self, expected: &BTreeSet<String>) -> Vec<String> {
        let unused = self
            .tensors
            .iter()
            .filter(|(key, _)| !expected.contains(*key))
            .map(|(_, tensor)| tensor.name.to_owned());
        let mut names: Vec<String> = self.unknown.iter().cloned().chain(unused).collect();
        names.sort();
        names
    }
}

/// Checks that an output bias is zero: the model has none, so another value would change the
/// results.
fn check_zeros(file: &str, name: &str, tensor: &StoredTensor) -> Result<()> {
    if tensor.to_f32()?.iter().any(|value| *value != 0.0) {
        let reason = format!("`{name}`: non-zero values, expected zeros");
        return Err(Error::malformed(file, reason));
    }
    Ok(())
}

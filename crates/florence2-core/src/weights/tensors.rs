//! A checkpoint's tensors by module path, and the ties between them.

use std::collections::{BTreeMap, BTreeSet};

use florence2_checkpoint::{Checkpoint, StoredTensor};

use super::key_map::{
    DECODER_EMBEDDING_KEY, ENCODER_EMBEDDING_KEY, FINAL_LOGITS_BIAS_KEY, LM_HEAD_KEY, SHARED_KEY,
    is_ignored, is_transposed, to_hugging_face_key,
};
use crate::config::Florence2Config;
use crate::error::{Error, Result};
use crate::warning::Warning;

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
    /// Returns whether the values are stored transposed.
    pub(super) fn is_transposed(&self) -> bool {
        is_transposed(self.name)
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

/// The tensors from which the token embedding and each of its copies are read, by transformers'
/// rule.
///
/// Names that the configuration ties are one tensor. If the checkpoint has several of them with
/// different values, these stay untied.
pub(super) struct Ties {
    /// The key of the tensor from which the tied names are read.
    source: &'static str,
    /// Names that are tied to the source.
    tied: BTreeSet<&'static str>,
    /// Names that the configuration ties but that differ from the source.
    differing: Vec<&'static str>,
}

impl Ties {
    /// Compares the values of tied names if `reads` is set. Otherwise, names that are present are
    /// untied.
    ///
    /// # Errors
    /// Those of reading a tensor.
    pub(super) fn new(
        config: &Florence2Config,
        tensors: &NamedTensors<'_>,
        reads: bool,
    ) -> Result<Self> {
        let tied_text = config.text_config.tie_word_embeddings;
        let copies: Vec<&'static str> = [
            (LM_HEAD_KEY, config.tie_word_embeddings),
            (DECODER_EMBEDDING_KEY, tied_text),
            (ENCODER_EMBEDDING_KEY, tied_text),
        ]
        .into_iter()
        .filter_map(|(key, tied)| tied.then_some(key))
        .collect();
        let is_present = |key: &&&'static str| tensors.get(key).is_some();
        let names = std::iter::once(&SHARED_KEY).chain(&copies);
        let source = names.clone().find(is_present).copied();
        let mut ties = Self {
            source: source.unwrap_or(SHARED_KEY),
            tied: BTreeSet::from([SHARED_KEY]),
            differing: Vec::new(),
        };
        for key in copies {
            let is_equal = match (tensors.get(ties.source), tensors.get(key)) {
                (Some(source), Some(copy)) if key != ties.source => {
                    reads && is_equal(source.tensor, copy.tensor, config.text_config.vocab_size)?
                }
                _ => true,
            };
            if is_equal {
                ties.tied.insert(key);
            } else {
                ties.differing.push(key);
            }
        }
        Ok(ties)
    }

    /// The key of the tensor that holds a parameter's values.
    pub(super) fn source<'k>(&self, key: &'k str) -> &'k str {
        if self.is_tied(key) { self.source } else { key }
    }

    /// Returns whether a name is one of those that share a tensor.
    pub(super) fn is_tied(&self, key: &str) -> bool {
        self.tied.contains(key)
    }

    /// The warning about names that stay untied.
    pub(super) fn warning(&self, tensors: &NamedTensors<'_>) -> Option<Warning> {
        if self.differing.is_empty() {
            return None;
        }
        let keys = self.differing.iter().chain([&self.source]);
        let mut keys: Vec<String> = keys
            .filter_map(|key| tensors.get(key))
            .map(|tensor| tensor.name.to_owned())
            .collect();
        keys.sort();
        Some(Warning::UntiedWeights {
            file: tensors.checkpoint.to_owned(),
            keys,
        })
    }
}

/// Returns whether the rows of the vocabulary are equal. Padding rows beyond it are not compared.
fn is_equal(a: &StoredTensor, b: &StoredTensor, vocab_size: usize) -> Result<bool> {
    let is_matrix = |shape: &[usize]| shape.len() == 2 && shape[0] >= vocab_size;
    if !is_matrix(&a.shape) || !is_matrix(&b.shape) || a.shape[1] != b.shape[1] {
        return Ok(false);
    }
    let read = vocab_size * a.shape[1];
    Ok(a.to_f32()?[..read] == b.to_f32()?[..read])
}

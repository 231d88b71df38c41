//! The ties between the copies of the token embedding.

use std::collections::BTreeSet;

use florence2_checkpoint::StoredTensor;

use super::key_map::{DECODER_EMBEDDING_KEY, ENCODER_EMBEDDING_KEY, LM_HEAD_KEY, SHARED_KEY};
use super::tensors::NamedTensors;
use crate::config::Florence2Config;
use crate::error::Result;
use crate::warning::Warning;

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
    /// Compares the values of tied names if `compares_values` is true. Otherwise, no tensor is read
    /// and names that are present are untied.
    ///
    /// # Errors
    /// Those of [`StoredTensor::to_f32`](florence2_checkpoint::StoredTensor::to_f32).
    pub(super) fn new(
        config: &Florence2Config,
        tensors: &NamedTensors<'_>,
        compares_values: bool,
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
                    compares_values
                        && is_equal(source.tensor, copy.tensor, config.text_config.vocab_size)?
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

//! The adapters of a model together: whether they fit the model, and their effect on each
//! parameter.

use std::collections::BTreeMap;

use super::key_map::{SHARED_KEY, TOKEN_EMBEDDING_KEYS};
use super::lora::{Adapter, Entry, Replacement};
use super::merge::{LowRank, TokenRows, Update, merge, merge_bias};
use super::tensors::NamedTensors;
use super::ties::Ties;
use crate::error::{Error, Result};

/// Adapters, merged in order.
pub(super) struct Adapters<'a> {
    adapters: &'a [Adapter],
    ties: &'a Ties,
    /// True if the configuration ties the output matrix to the token embedding.
    tied_output: bool,
}

impl<'a> Adapters<'a> {
    pub(super) fn new(adapters: &'a [Adapter], ties: &'a Ties, tied_output: bool) -> Self {
        Self {
            adapters,
            ties,
            tied_output,
        }
    }

    fn entries<'s>(&'s self, key: &'s str) -> impl Iterator<Item = (&'a Adapter, &'a Entry)> + 's {
        let adapters = self.adapters.iter();
        adapters.filter_map(move |adapter| Some((adapter, adapter.entries.get(key)?)))
    }

    /// The single tokens that an adapter stores for every copy of the token embedding. PEFT writes
    /// those of the input embedding into all copies if the configuration ties the output matrix.
    pub(super) fn tokens_of_copies<'s>(
        &'s self,
        source: &str,
    ) -> impl Iterator<Item = &'a TokenRows> + 's {
        let shared =
            (self.tied_output && TOKEN_EMBEDDING_KEYS.contains(&source)).then_some(SHARED_KEY);
        let entries = shared.into_iter().flat_map(move |key| self.entries(key));
        entries.filter_map(|(_, entry)| entry.token_rows.as_ref())
    }

    /// The single tokens of one embedding only.
    fn tokens<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'a TokenRows> + 's {
        let own = !(self.tied_output && key == SHARED_KEY);
        let entries = self.entries(key).filter(move |_| own);
        entries.filter_map(|(_, entry)| entry.token_rows.as_ref())
    }

    /// Returns whether the values of one copy of the embedding differ from those of the base model.
    pub(super) fn modify(&self, key: &str) -> bool {
        let mut entries = self.entries(key);
        let is_modified =
            entries.any(|(_, entry)| entry.modules_to_save.is_some() || entry.update.is_some());
        is_modified || self.tokens(key).next().is_some()
    }

    /// Returns whether an adapter has an update of the bias of this key.
    pub(super) fn update_bias(&self, key: &str) -> bool {
        let mut entries = self.entries(key);
        entries.any(|(_, entry)| matches!(entry.update, Some(Update::Bias { .. })))
    }

    /// The values that an adapter stores for a parameter of the base model, or for one that shares
    /// its tensor. PEFT copies them into the tensor, so the last ones apply.
    pub(super) fn base_layer(&self, source: &str) -> Option<&'a Replacement> {
        let is_copy = |key: &&str| self.ties.is_tied(key) && self.ties.source(key) == source;
        let copies: Vec<&str> = TOKEN_EMBEDDING_KEYS.into_iter().filter(is_copy).collect();
        let keys = if copies.is_empty() {
            vec![source]
        } else {
            copies
        };
        let base_layers = self.adapters.iter().flat_map(|adapter| {
            let entries = keys.iter().filter_map(move |key| adapter.entries.get(*key));
            entries.filter_map(|entry| entry.base_layer.as_ref())
        });
        base_layers.last()
    }

    /// The values of a parameter that was trained as a whole.
    pub(super) fn modules_to_save(&self, key: &str) -> Option<&'a Replacement> {
        let mut entries = self.entries(key);
        entries.find_map(|(_, entry)| entry.modules_to_save.as_ref())
    }

    /// Returns whether all updates of a key are of a weight with this number of rows.
    pub(super) fn are_of_rows(&self, key: &str, rows: usize) -> bool {
        self.updates(key)
            .iter()
            .all(|(update, _)| update.rows() == rows)
    }

    fn updates(&self, key: &str) -> Vec<(&'a LowRank, f64)> {
        self.entries(key)
            .filter_map(|(adapter, entry)| match &entry.update {
                Some(Update::Weight(update)) => Some((update, adapter.scale)),
                _ => None,
            })
            .collect()
    }

    /// Merges the updates of a parameter into its values in the base model, which have `rows` rows.
    pub(super) fn apply(&self, key: &str, rows: usize, values: &mut [f32]) -> Result<()> {
        let width = values.len() / rows.max(1);
        for tokens in self.tokens(key) {
            tokens.replace(values, width)?;
        }
        merge(&self.updates(key), values, width)?;
        for (adapter, entry) in self.entries(key) {
            if let Some(Update::Bias { bias, scaling, .. }) = &entry.update {
                merge_bias(bias, *scaling, adapter.scale, values)?;
            }
        }
        Ok(())
    }

    /// Rejects adapters that do not fit the model, whose parameters have the given shapes, or that
    /// conflict with each other.
    ///
    /// # Errors
    /// [`Error::Malformed`] with all problems of the first such adapter.
    pub(super) fn check(
        &self,
        shapes: &BTreeMap<String, Vec<usize>>,
        tensors: &NamedTensors<'_>,
    ) -> Result<()> {
        for (index, adapter) in self.adapters.iter().enumerate() {
            let mut problems = Vec::new();
            let mut unused = Vec::new();
            for (key, entry) in &adapter.entries {
                match self.shapes_of(key, shapes, tensors) {
                    Some(shapes) => problems.extend(entry.problems(&shapes)),
                    None => unused.extend(entry.names()),
                }
            }
            if !unused.is_empty() {
                problems.push(format!("not in the model: {}", unused.join(", ")));
            }
            problems.extend(self.conflicts(index));
            if !problems.is_empty() {
                return Err(Error::malformed(&adapter.name, problems.join("; ")));
            }
        }
        Ok(())
    }

    /// The shapes that the parameter of a key may have in an adapter's base model: that of the
    /// checkpoint, whose vocabulary may be padded, and that of the configuration.
    fn shapes_of(
        &self,
        key: &str,
        shapes: &BTreeMap<String, Vec<usize>>,
        tensors: &NamedTensors<'_>,
    ) -> Option<Vec<Vec<usize>>> {
        let is_copy = TOKEN_EMBEDDING_KEYS.contains(&key);
        let configured = shapes.get(if is_copy { SHARED_KEY } else { key })?.clone();
        let stored = tensors.get(self.ties.source(key)).filter(|_| is_copy);
        let stored = stored.map(|stored| stored.tensor.shape.clone());
        Some(stored.into_iter().chain([configured]).collect())
    }

    /// The conflicts of an adapter with those before it, or within itself, that PEFT rejects.
    fn conflicts(&self, index: usize) -> Vec<String> {
        let (earlier, adapter) = (&self.adapters[..index], &self.adapters[index]);
        let mut conflicts = Vec::new();
        for other in earlier {
            if adapter.has_base_biases && other.has_base_biases {
                conflicts.push(format!(
                    "bias: found biases of the base model, which {} has too, expected \"none\"",
                    other.name
                ));
            }
        }
        let is_whole =
            |entry: &Entry| entry.modules_to_save.is_some() || entry.token_rows.is_some();
        for (key, entry) in &adapter.entries {
            if is_whole(entry) && entry.update.is_some() {
                let names = entry.names().join(", ");
                conflicts.push(format!("{names}: replaces and adapts the same module"));
            }
            for other in earlier {
                let Some(other_entry) = other.entries.get(key) else {
                    continue;
                };
                if is_whole(entry) && other_entry.modifies()
                    || is_whole(other_entry) && entry.modifies()
                {
                    let names = entry.names().join(", ");
                    conflicts.push(format!(
                        "{names}: {} replaces or adapts the same module",
                        other.name
                    ));
                }
            }
        }
        conflicts
    }
}

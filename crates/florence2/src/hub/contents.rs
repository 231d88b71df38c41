//! The files of a model or an adapter, and those of them that a snapshot lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The kind of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Adapter,
}

/// A requirement: one of several sets of files, the preferred set first.
type Alternatives = &'static [&'static [&'static str]];

impl Kind {
    fn required(self) -> &'static [Alternatives] {
        match self {
            Self::Model => &[
                &[&["config.json"]],
                &[&["preprocessor_config.json"], &["processor_config.json"]],
                &[&["tokenizer.json"], &["vocab.json", "merges.txt"]],
                &[
                    &["model.safetensors"],
                    &["model.safetensors.index.json"],
                    &["pytorch_model.bin"],
                    &["pytorch_model.bin.index.json"],
                ],
            ],
            Self::Adapter => &[
                &[&["adapter_config.json"]],
                &[&["adapter_model.safetensors"], &["adapter_model.bin"]],
            ],
        }
    }

    /// Files that change the result if the repository has them.
    fn optional(self) -> &'static [&'static str] {
        match self {
            Self::Model => &[
                "generation_config.json",
                "processor_config.json",
                "tokenizer_config.json",
                "added_tokens.json",
                "special_tokens_map.json",
            ],
            Self::Adapter => &[],
        }
    }

    /// All required and optional files.
    pub(super) fn known(self) -> impl Iterator<Item = &'static str> {
        let required = self.required().iter().copied().flatten().copied().flatten();
        required.chain(self.optional()).copied()
    }

    /// The weights in order of preference: one file, or an index.
    fn weights(self) -> Alternatives {
        // INVARIANT: the last requirement of every kind is its weights.
        self.required().last().copied().unwrap_or_default()
    }

    /// The files of a repository to download before the shards: all configurations and
    /// vocabularies, and the weights in one format.
    pub(super) fn select<'a>(self, names: &BTreeSet<&'a str>) -> Vec<&'a str> {
        let weights = self.weights().iter().copied().flatten();
        let preferred = weights.copied().find(|name| names.contains(name));
        let fallback = if names.iter().any(|name| has_extension(name, "safetensors")) {
            "safetensors"
        } else {
            "bin"
        };
        let is_selected = |name: &str| {
            if is_index(name) {
                return preferred == Some(name);
            }
            if has_extension(name, "json") || has_extension(name, "txt") {
                return true;
            }
            match preferred {
                Some(weights) => name == weights,
                // Weights of another name, for callers that specify the name.
                None => has_extension(name, fallback),
            }
        };
        names
            .iter()
            .copied()
            .filter(|name| is_selected(name))
            .collect()
    }
}

pub(super) fn is_index(name: &str) -> bool {
    name.ends_with(".safetensors.index.json") || name.ends_with(".bin.index.json")
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// The shards in an index. An index that cannot be read results in none: the loader reports it.
pub(super) fn shards(index: &Path) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let content = std::fs::read(index).unwrap_or_default();
    let index = serde_json::from_slice::<Index>(&content).ok();
    index.map_or_else(BTreeSet::new, |index| {
        index.weight_map.into_values().collect()
    })
}

/// The state of a file in a snapshot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Present,
    /// The repository has no such file.
    Absent,
    Unknown,
}

/// A model or adapter at a commit in the cache.
pub(super) struct Snapshot {
    /// The folder of the files.
    pub(super) folder: PathBuf,
    /// The folder of empty files with the names of the files that the repository does not have.
    pub(super) absent: PathBuf,
}

impl Snapshot {
    fn state(&self, name: &str) -> State {
        let size = self.folder.join(name).metadata().map(|file| file.len());
        if size.is_ok_and(|size| size > 0) {
            State::Present
        } else if self.absent.join(name).exists() {
            State::Absent
        } else {
            State::Unknown
        }
    }

    /// The required files that the snapshot lacks and that the repository may have.
    pub(super) fn missing(&self, kind: Kind) -> Vec<String> {
        let required = kind.required().iter();
        required
            .flat_map(|alternatives| self.missing_of(alternatives))
            .collect()
    }

    fn missing_of(&self, alternatives: Alternatives) -> Vec<String> {
        let has = |files: &[&str], state| files.iter().any(|name| self.state(name) == state);
        let lacks = |name: &&str| self.state(name) != State::Present;
        let mut possible = alternatives
            .iter()
            .copied()
            .filter(|files| !has(files, State::Absent));
        let complete = possible.clone().find(|files| !files.iter().any(&lacks));
        if let Some(files) = complete {
            return self.missing_shards(files);
        }
        let begun = possible.clone().find(|files| has(files, State::Present));
        // If no alternative is possible, the result is empty, and the loader reports the file that
        // it requires.
        let files = begun.or_else(|| possible.next()).unwrap_or_default();
        let missing = files.iter().copied().filter(lacks);
        missing.map(str::to_owned).collect()
    }

    fn missing_shards(&self, files: &[&str]) -> Vec<String> {
        let indices = files.iter().filter(|name| is_index(name));
        let shards = indices.flat_map(|name| shards(&self.folder.join(name)));
        shards
            .filter(|shard| self.state(shard) != State::Present)
            .collect()
    }

    /// Returns true if the presence or absence of every optional file is known.
    pub(super) fn is_settled(&self, kind: Kind) -> bool {
        let optional = kind.optional().iter();
        optional
            .map(|name| self.state(name))
            .all(|state| state != State::Unknown)
    }
}

//! A model's files by name: in a folder on disk, or in memory.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::source::Source;

/// The location of a checkpoint's files.
pub(crate) enum Folder {
    Disk(PathBuf),
    Memory(BTreeMap<String, Arc<[u8]>>),
}

impl Folder {
    pub(crate) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Disk(folder) => folder.join(name).exists(),
            Self::Memory(files) => files.contains_key(name),
        }
    }

    /// Opens a file by its plain name.
    pub(crate) fn open(&self, name: &str) -> Result<Source> {
        match self {
            Self::Disk(folder) => Source::open(&folder.join(name)),
            Self::Memory(files) => match files.get(name) {
                Some(bytes) => Ok(Source::in_memory(name, Arc::clone(bytes))),
                None => Err(not_found(
                    Path::new(name),
                    "no such file in memory".to_owned(),
                )),
            },
        }
    }

    /// The error for a folder that contains none of the files in `expected`.
    pub(crate) fn without_checkpoint(&self, expected: &[&str]) -> Error {
        let mut reason = format!("found none of {}", expected.join(", "));
        let others = self.other_weights();
        if !others.is_empty() {
            let others = others.join(", ");
            let option = "the option `weights` (--weights)";
            let _ = write!(
                reason,
                "; {option} takes a file of another name, such as {others}"
            );
        }
        match self {
            Self::Disk(folder) => not_found(folder, reason),
            Self::Memory(_) => not_found(Path::new("model in memory"), reason),
        }
    }

    /// The files with the extension of a weights file.
    fn other_weights(&self) -> Vec<String> {
        let is_weights = |name: &String| is_weights_file(name);
        let mut names: Vec<String> = match self {
            Self::Disk(folder) => std::fs::read_dir(folder)
                .into_iter()
                .flatten()
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .filter(is_weights)
                .collect(),
            Self::Memory(files) => files
                .keys()
                .filter(|name| is_weights(name))
                .cloned()
                .collect(),
        };
        names.sort();
        names
    }
}

/// Returns whether a file's name is that of weights, by its extension. An index of shards is none.
pub fn is_weights_file(name: &str) -> bool {
    let extension = Path::new(name).extension();
    let extension = extension.and_then(|extension| extension.to_str());
    matches!(
        extension,
        Some("safetensors" | "bin" | "pt" | "pth" | "ckpt")
    )
}

fn not_found(path: &Path, reason: String) -> Error {
    Error::Io {
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::NotFound, reason),
    }
}

//! A checkpoint of one or several files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::source::Source;
use crate::tensor::StoredTensor;
use crate::{format, index};

/// The file names of a model's weights in transformers, in its order of preference.
const NAMES: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// A checkpoint: its tensors, by their names in the file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The name of the file, for messages.
    pub name: String,
    /// The tensors, sorted by name.
    pub tensors: BTreeMap<String, StoredTensor>,
}

impl Checkpoint {
    /// Opens the checkpoint of a model folder, the first that exists of: `model.safetensors`, the
    /// shards of `model.safetensors.index.json`, `pytorch_model.bin`, the shards of
    /// `pytorch_model.bin.index.json`. Headers are read and checked; the values stay on disk.
    ///
    /// # Errors
    /// [`Error::Io`] if none exists, [`Error::Malformed`] naming the file that is damaged and the
    /// tensors whose values are missing.
    pub fn open(directory: &Path) -> Result<Self> {
        let folder = Folder::Disk(directory.to_owned());
        match NAMES.into_iter().find(|name| folder.contains(name)) {
            Some(name) => Self::read(folder.open(name)?, &folder),
            None => Err(folder.without_checkpoint(&NAMES)),
        }
    }

    /// Opens a weights file of any name, or an index whose shards are in the same folder. The
    /// format is detected from the content: safetensors, or a file of `torch.save` in its zip or
    /// its older format.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_file(path: &Path) -> Result<Self> {
        let folder = Folder::Disk(path.parent().unwrap_or(Path::new("")).to_owned());
        Self::read(Source::open(path)?, &folder)
    }

    /// Reads a checkpoint from files in memory, each with its name: one of the files that
    /// [`Self::open`] reads, with its shards, or any number of weights files without an index, such
    /// as `adapter_model.safetensors`.
    ///
    /// # Errors
    /// [`Error::Io`] if `files` is empty, [`Error::Malformed`] as for [`Self::open`] and if two
    /// files without an index contain a tensor of the same name.
    pub fn from_files(files: Vec<(String, Arc<[u8]>)>) -> Result<Self> {
        let files: BTreeMap<String, Arc<[u8]>> = files.into_iter().collect();
        let names: Vec<String> = files.keys().cloned().collect();
        let folder = Folder::Memory(files);
        if let Some(name) = NAMES.into_iter().find(|name| folder.contains(name)) {
            return Self::read(folder.open(name)?, &folder);
        }
        if names.is_empty() {
            return Err(folder.without_checkpoint(&NAMES));
        }
        let mut tensors = BTreeMap::new();
        for file in &names {
            for (key, tensor) in format::read_tensors(&Arc::new(folder.open(file)?))? {
                if let Some(other) = tensors.insert(key.clone(), tensor) {
                    let reason = format!("`{key}` is in {} too", other.file());
                    return Err(Error::malformed(file, reason));
                }
            }
        }
        let name = names.join(", ");
        Ok(Self { name, tensors })
    }

    fn read(source: Source, folder: &Folder) -> Result<Self> {
        let source = Arc::new(source);
        let tensors = match format::is_json_object(&source)? {
            true => index::read_shards(&source, folder)?,
            false => format::read_tensors(&source)?,
        };
        let name = source.name().to_owned();
        Ok(Self { name, tensors })
    }
}

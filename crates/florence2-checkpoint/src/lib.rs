//! Reads the tensors of a checkpoint by name, one at a time, as f32. Checkpoints are safetensors or
//! PyTorch files, whole or in shards, on disk or in memory. The files are untrusted: damage is an
//! error that names the file and the tensors, and nothing in a file is executed.
//!
//! ```no_run
//! use florence2_checkpoint::Checkpoint;
//!
//! let checkpoint = Checkpoint::open("Florence-2-base".as_ref())?;
//! let values: Vec<f32> = checkpoint.tensors["lm_head.weight"].to_f32()?;
//! # Ok::<(), florence2_checkpoint::Error>(())
//! ```

mod error;
mod float_format;
mod folder;
mod index;
mod pytorch;
mod safetensors;
mod source;
mod tensor;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use folder::Folder;
use source::Source;

pub use error::{Error, Result};
pub use folder::is_weights_file;
pub use tensor::StoredTensor;

/// The file names of a model's weights in transformers, in its order of preference.
const NAMES: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// A checkpoint: its tensors, by their names in the file.
#[derive(Debug)]
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
        let folder = Folder::Memory(files.into_iter().collect());
        let Folder::Memory(files) = &folder else {
            unreachable!("the folder was made above");
        };
        let known = NAMES.into_iter().find(|name| folder.contains(name));
        if let Some(name) = known {
            return Self::read(folder.open(name)?, &folder);
        }
        let name = files
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        if files.is_empty() {
            return Err(folder.without_checkpoint(&NAMES));
        }
        let mut tensors = BTreeMap::new();
        for file in files.keys() {
            for (key, tensor) in read_tensors(&Arc::new(folder.open(file)?))? {
                if let Some(other) = tensors.insert(key.clone(), tensor) {
                    let reason = format!("`{key}` is in {} too", other.file());
                    return Err(Error::malformed(file, reason));
                }
            }
        }
        Ok(Self { name, tensors })
    }

    fn read(source: Source, folder: &Folder) -> Result<Self> {
        let source = Arc::new(source);
        let tensors = match is_json_object(&source)? {
            true => index::read(&source, folder)?,
            false => read_tensors(&source)?,
        };
        let name = source.name().to_owned();
        Ok(Self { name, tensors })
    }
}

/// Returns true if a file starts like an index of shards, with a JSON object.
fn is_json_object(source: &Source) -> Result<bool> {
    let start = source.first_bytes(16)?;
    let is_object = start.trim_ascii_start().starts_with(b"{");
    Ok(is_object && !has_safetensors_length(&start))
}

/// Returns true if the first eight bytes are the length of a safetensors header, which is less than
/// 2^32.
fn has_safetensors_length(start: &[u8]) -> bool {
    start.get(4..8) == Some(&[0; 4])
}

/// Reads the header of one weights file. Its first bytes determine the format.
fn read_tensors(source: &Arc<Source>) -> Result<BTreeMap<String, StoredTensor>> {
    let start = source.first_bytes(512)?;
    if pytorch::is_archive(&start) {
        return pytorch::read_archive(source);
    }
    if pytorch::is_legacy(&start) {
        return pytorch::read_legacy(source);
    }
    let is_safetensors = has_safetensors_length(&start);
    if let Some(found) = other_format(&start).filter(|_| !is_safetensors) {
        let expected = "expected a safetensors file or a file of torch.save";
        return Err(source.malformed(format!("found {found}, {expected}")));
    }
    safetensors::read(source)
}

/// The kind of a file that is often present in place of weights; `None` for other files.
fn other_format(start: &[u8]) -> Option<&'static str> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let text = text.trim_ascii_start();
    let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    if start.is_empty() {
        Some("an empty file")
    } else if text.starts_with(b"version https://git-lfs.github.com/") {
        Some("a Git LFS pointer (`git lfs pull` replaces it by the weights)")
    } else if text.starts_with(b"<") {
        Some("an HTML page")
    } else if start.get(257..262) == Some(b"ustar") {
        Some(
            "a tar archive (torch before 0.1.10 wrote such files; torch.load and torch.save convert it)",
        )
    } else if start.starts_with(b"GGUF") {
        Some("a GGUF file")
    } else if start.starts_with(b"\x89HDF") {
        Some("an HDF5 file")
    } else if start.starts_with(b"\x1f\x8b") {
        Some("a gzip file")
    } else if start.starts_with(b"\x80") {
        Some("a pickle without the header of torch.save")
    } else if start.iter().take(64).all(is_text) {
        Some("a text file")
    } else {
        None
    }
}

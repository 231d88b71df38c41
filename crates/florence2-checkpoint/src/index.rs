//! Checkpoints in several files (shards), which `model.safetensors.index.json` or
//! `pytorch_model.bin.index.json` lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::error::Result;
use crate::folder::Folder;
use crate::format;
use crate::source::Source;
use crate::tensor::StoredTensor;

/// The maximum size of an index in bytes.
const MAX_INDEX: u64 = 1 << 26;

#[derive(Deserialize)]
struct ShardIndex {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// Reads the headers of all files that an index lists.
pub(crate) fn read_shards(
    index: &Source,
    folder: &Folder,
) -> Result<BTreeMap<String, StoredTensor>> {
    let weight_map = read_index(index)?.weight_map;
    let files: BTreeSet<&str> = weight_map.values().map(String::as_str).collect();
    reject(
        "shards that are no plain file names",
        files.iter().filter(|file| !is_plain(file)),
        index,
    )?;
    reject(
        "shards that are missing",
        files.iter().filter(|file| !folder.contains(file)),
        index,
    )?;
    let mut shards = BTreeMap::new();
    for file in files {
        let source = Arc::new(folder.open(file)?);
        shards.insert(file, format::read_tensors(&source)?);
    }
    let mut tensors = BTreeMap::new();
    let mut missing = Vec::new();
    for (key, file) in &weight_map {
        let shard = shards.get_mut(file.as_str());
        match shard.and_then(|shard| shard.remove(key)) {
            Some(tensor) => {
                tensors.insert(key.clone(), tensor);
            }
            None => missing.push(format!("`{key}` in {file}")),
        }
    }
    reject("tensors that are missing", missing.iter(), index)?;
    // Tensors that are not in the index belong to the checkpoint too, unless another shard has the
    // key.
    for shard in shards.into_values() {
        for (key, tensor) in shard {
            tensors.entry(key).or_insert(tensor);
        }
    }
    Ok(tensors)
}

fn read_index(source: &Source) -> Result<ShardIndex> {
    let length = source.length();
    if length > MAX_INDEX {
        let reason = format!("found an index of {length} bytes, expected at most {MAX_INDEX}");
        return Err(source.malformed(reason));
    }
    let json = source.read_to_vec(0, length as usize)?;
    let index = serde_json::from_slice(&json);
    index.map_err(|error| {
        source.malformed(format!(
            "found other JSON, expected an index of shards: {error}"
        ))
    })
}

/// Returns true if a name is a plain file name. A path could lead out of the model's folder.
fn is_plain(file: &str) -> bool {
    Path::new(file).file_name() == Some(file.as_ref())
}

/// Returns an error if there are `offenders`. `kind` describes them.
fn reject<T: ToString>(
    kind: &str,
    offenders: impl Iterator<Item = T>,
    index: &Source,
) -> Result<()> {
    let offenders: Vec<String> = offenders.map(|offender| offender.to_string()).collect();
    if offenders.is_empty() {
        return Ok(());
    }
    Err(index.malformed(format!("the index lists {kind}: {}", offenders.join(", "))))
}

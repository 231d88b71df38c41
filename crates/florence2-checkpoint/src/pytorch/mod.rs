//! Reads the files of `torch.save` without torch. Nothing in them is executed: the pickle is parsed
//! as data, and only torch's functions that rebuild dense tensors are supported.
//!
//! Values of the dictionary that are not tensors are ignored. A tensor that cannot be read (sparse,
//! quantised, damaged) is an error that names it.

mod graph;
mod legacy;
mod pickle;
mod state_dict;
mod zip;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use legacy::is_legacy;

use legacy::LegacyFile;
use state_dict::{Records, StorageId, TensorRecord};
use zip::Archive;

use crate::error::Result;
use crate::source::Source;
use crate::tensor::{Storage, StoredTensor};

/// The maximum size of an entry that is read into memory, in bytes: `data.pkl`.
const MAX_ENTRY: u64 = 1 << 26;

/// Returns true if a file is a zip archive.
pub(crate) fn is_archive(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04")
}

/// Reads the state dict of a zip archive. The tensors' values stay in the file.
pub(crate) fn read_archive(source: &Arc<Source>) -> Result<BTreeMap<String, StoredTensor>> {
    let malformed = |reason: String| source.malformed(reason);
    let archive = Archive::open(source)?;
    let folder = |name: &str| {
        let folder = name.strip_suffix("data.pkl")?;
        (folder.is_empty() || folder.ends_with('/')).then(|| folder.to_owned())
    };
    let Some(folder) = archive.names().find_map(folder) else {
        let reason = "the archive lacks data.pkl, expected a file of torch.save";
        return Err(source.malformed(reason));
    };
    if archive
        .names()
        .any(|name| name == format!("{folder}constants.pkl"))
    {
        let reason = "found a TorchScript archive, expected torch.save(model.state_dict(), ..)";
        return Err(source.malformed(reason));
    }
    check_byte_order(source, &archive, &folder)?;
    let pickle = read_entry(&archive, &format!("{folder}data.pkl")).map_err(malformed)?;
    let (graph, _) =
        pickle::read_graph(pickle.as_slice()).map_err(|error| source.malformed(error))?;
    let records = state_dict::read_records(&graph).map_err(malformed)?;
    // Tensors that share a storage share its checksum, which is then verified once.
    let mut storages: BTreeMap<String, Result<Arc<Storage>, String>> = BTreeMap::new();
    tensors(source, records, |storage| {
        let found = storages
            .entry(storage.key.to_owned())
            .or_insert_with_key(|key| archive.find(&format!("{folder}data/{key}")).map(Arc::new));
        found.clone()
    })
}

/// Reads the state dict of a file of torch before 1.6. The tensors' values stay in the file.
pub(crate) fn read_legacy(source: &Arc<Source>) -> Result<BTreeMap<String, StoredTensor>> {
    let file = LegacyFile::open(source)?;
    let records =
        state_dict::read_records(&file.graph).map_err(|reason| source.malformed(reason))?;
    tensors(source, records, |storage| file.find(storage.key))
}

fn check_byte_order(source: &Source, archive: &Archive, folder: &str) -> Result<()> {
    let name = format!("{folder}byteorder");
    // Archives of torch before 2.1 have no such entry and are little-endian.
    if !archive.names().any(|entry| entry == name) {
        return Ok(());
    }
    let order = read_entry(archive, &name).map_err(|reason| source.malformed(reason))?;
    if order != b"little" {
        let order = order.escape_ascii();
        let reason = format!("found byte order `{order}`, expected `little`");
        return Err(source.malformed(reason));
    }
    Ok(())
}

/// Reads an entry and verifies its checksum. The error is a reason without the file's name.
fn read_entry(archive: &Archive, name: &str) -> Result<Vec<u8>, String> {
    let entry = archive.find(name)?;
    if entry.length() > MAX_ENTRY {
        let length = entry.length();
        return Err(format!(
            "entry `{name}`: found {length} bytes, expected at most {MAX_ENTRY}"
        ));
    }
    entry
        .read_bytes()
        .map_err(|reason| format!("entry `{name}`: {reason}"))
}

/// Finds the storages of all tensors. The error names every tensor whose values are missing.
fn tensors<'a>(
    source: &Source,
    records: Records<'a>,
    mut find: impl FnMut(&StorageId<'a>) -> Result<Arc<Storage>, String>,
) -> Result<BTreeMap<String, StoredTensor>> {
    let mut tensors = BTreeMap::new();
    let mut failures = Vec::new();
    for (key, record) in records {
        let found = record.and_then(|record| {
            let storage = find(&record.storage)?;
            stored(&key, record, storage)
        });
        match found {
            Ok(tensor) => {
                tensors.insert(key, tensor);
            }
            Err(reason) => failures.push(format!("`{key}`: {reason}")),
        }
    }
    if failures.is_empty() {
        return Ok(tensors);
    }
    Err(source.malformed(failures.join("; ")))
}

fn stored(
    key: &str,
    record: TensorRecord<'_>,
    storage: Arc<Storage>,
) -> Result<StoredTensor, String> {
    let (found, expected) = (storage.length(), record.storage.bytes());
    if expected.is_none_or(|expected| found < expected) {
        let expected = expected.unwrap_or(u64::MAX);
        return Err(format!(
            "found {found} bytes, expected {expected}: truncated"
        ));
    }
    Ok(StoredTensor::new(
        key,
        record.dtype.name,
        storage,
        record.layout,
    ))
}

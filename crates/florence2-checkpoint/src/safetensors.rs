//! The safetensors format: a JSON header and the tensors' bytes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use safetensors::tensor::Metadata;

use crate::error::Result;
use crate::source::Source;
use crate::tensor::{Layout, Storage, StoredTensor};

/// The largest header that the safetensors library accepts, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// Reads and checks the header. The tensors stay in the file.
pub(crate) fn read_file(source: &Arc<Source>) -> Result<BTreeMap<String, StoredTensor>> {
    let (data_start, metadata) = read_header(source)?;
    let tensors = metadata.tensors().into_iter().map(|(key, info)| {
        let (start, end) = info.data_offsets;
        let (start, length) = (data_start + start as u64, (end - start) as u64);
        let storage = Storage::new(Arc::clone(source), start, length, None);
        let layout = Layout {
            shape: info.shape.clone(),
            offset: 0,
            strides: None,
        };
        let dtype = format!("{:?}", info.dtype);
        let tensor = StoredTensor::new(&key, &dtype, Arc::new(storage), layout);
        (key, tensor)
    });
    Ok(tensors.collect())
}

/// Returns the position of the data, and the header.
fn read_header(source: &Source) -> Result<(u64, Metadata)> {
    let size = source.length();
    if size < 8 {
        let reason = format!("{size} bytes, expected a safetensors file");
        return Err(source.malformed(reason));
    }
    let length = source.read_to_vec(0, 8)?;
    let length = u64::from_le_bytes(length.try_into().expect("8 bytes were read"));
    if length > MAX_HEADER || length > size - 8 {
        let reason =
            format!("a header of {length} bytes in a file of {size}: truncated or not safetensors");
        return Err(source.malformed(reason));
    }
    let json = source.read_to_vec(8, length as usize)?;
    // `SafeTensors::read_metadata` requires the whole file in memory; this checks the header alone.
    let metadata: Metadata =
        serde_json::from_slice(&json).map_err(|error| source.malformed(error))?;
    check_size(source, 8 + length, &metadata)?;
    Ok((8 + length, metadata))
}

/// Rejects a file that does not end with its last tensor. The error names the truncated tensors.
fn check_size(source: &Source, data_start: u64, metadata: &Metadata) -> Result<()> {
    let size = source.length();
    let expected = data_start + metadata.data_len() as u64;
    if size == expected {
        return Ok(());
    }
    let tensors = metadata.tensors();
    let truncated = tensors
        .iter()
        .filter(|(_, info)| data_start + info.data_offsets.1 as u64 > size)
        .map(|(key, _)| format!("`{key}`"));
    let mut truncated: Vec<String> = truncated.collect();
    truncated.sort();
    let mut reason = format!("{size} bytes, expected {expected}: truncated or corrupt");
    if !truncated.is_empty() {
        let _ = write!(reason, "; the data ends before {}", truncated.join(", "));
    }
    Err(source.malformed(reason))
}

//! The format of a weights file, which its first bytes determine.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::source::Source;
use crate::tensor::StoredTensor;
use crate::{pytorch, safetensors};

/// Returns true if a file starts like an index of shards, with a JSON object.
pub(crate) fn is_json_object(source: &Source) -> Result<bool> {
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
pub(crate) fn read_tensors(source: &Arc<Source>) -> Result<BTreeMap<String, StoredTensor>> {
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
    safetensors::read_file(source)
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

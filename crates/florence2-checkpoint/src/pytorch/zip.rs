//! Zip archives as torch writes them: stored (uncompressed) entries, with or without zip64.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::source::Source;
use crate::tensor::Storage;

/// The maximum size of a directory in bytes.
const MAX_DIRECTORY: u64 = 1 << 26;

const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const MAX_COMMENT: usize = 0xffff;
const ZIP64_LOCATOR: &[u8] = b"PK\x06\x07";
const ZIP64_LOCATOR_LENGTH: usize = 20;
const ZIP64_END: &[u8] = b"PK\x06\x06";
const ZIP64_END_LENGTH: usize = 56;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_LENGTH: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LENGTH: usize = 30;

const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
const ZIP64_EXTRA: u16 = 1;

/// An archive's directory.
pub(crate) struct Archive {
    source: Arc<Source>,
    entries: BTreeMap<String, Entry>,
    /// The position of the directory, at the end of the entries.
    directory: u64,
}

/// A directory entry.
struct Entry {
    flags: u16,
    method: u16,
    crc: u32,
    compressed: u64,
    length: u64,
    /// The position of the local header.
    header: u64,
}

impl Archive {
    pub(crate) fn open(source: &Arc<Source>) -> Result<Self> {
        let (directory, bytes) = read_directory(source)?;
        let mut entries = BTreeMap::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let Some((name, entry, left)) = read_entry(rest) else {
                return Err(source.malformed("the archive's directory is damaged"));
            };
            if entries.insert(name.clone(), entry).is_some() {
                let reason = format!("the archive has two entries `{name}`");
                return Err(source.malformed(reason));
            }
            rest = left;
        }
        Ok(Self {
            source: Arc::clone(source),
            entries,
            directory,
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Returns the bytes of an entry. The error is a reason without the file's name.
    pub(crate) fn find(&self, name: &str) -> Result<Storage, String> {
        let Some(entry) = self.entries.get(name) else {
            return Err(format!("the archive lacks the entry `{name}`"));
        };
        let start = self.data_start(name, entry)?;
        let crc = Some(entry.crc).filter(|crc| *crc != 0);
        Ok(Storage::new(
            Arc::clone(&self.source),
            start,
            entry.length,
            crc,
        ))
    }

    fn data_start(&self, name: &str, entry: &Entry) -> Result<u64, String> {
        if entry.flags & ENCRYPTED != 0 {
            return Err(format!("entry `{name}`: found encryption, expected none"));
        }
        if entry.method != STORED || entry.compressed != entry.length {
            let method = entry.method;
            return Err(format!(
                "entry `{name}`: found compression method {method}, expected stored entries as torch.save writes them"
            ));
        }
        let damaged = || format!("entry `{name}`: its header is damaged");
        let in_range = entry.header < self.directory;
        let header = in_range.then(|| self.source.read_to_vec(entry.header, LOCAL_LENGTH));
        let header = header.and_then(Result::ok).ok_or_else(damaged)?;
        if !header.starts_with(LOCAL) {
            return Err(damaged());
        }
        let (name_length, extra_length) = (u16_at(&header, 26), u16_at(&header, 28));
        let start = entry.header + (LOCAL_LENGTH as u64) + name_length as u64 + extra_length as u64;
        let end = start.checked_add(entry.length);
        if end.is_none_or(|end| end > self.directory) {
            return Err(format!(
                "entry `{name}`: its data ends beyond the archive's"
            ));
        }
        Ok(start)
    }
}

/// Returns the directory's position and bytes.
fn read_directory(source: &Source) -> Result<(u64, Vec<u8>)> {
    let truncated = "the archive has no directory at its end: truncated";
    let tail_length = source.length().min((END_LENGTH + MAX_COMMENT) as u64) as usize;
    let tail_start = source.length() - tail_length as u64;
    let tail = source.read_to_vec(tail_start, tail_length)?;
    let Some(end) = find_end(&tail) else {
        return Err(source.malformed(truncated));
    };
    let record = &tail[end..];
    let (length, start) = (u32_at(record, 12), u32_at(record, 16));
    let position = tail_start + end as u64;
    let (length, start) = match read_zip64_end(source, position)? {
        Some(range) => range,
        None => (u64::from(length), u64::from(start)),
    };
    if start.checked_add(length).is_none_or(|end| end > position) {
        return Err(source.malformed("the archive's directory is damaged"));
    }
    if length > MAX_DIRECTORY {
        let reason = format!(
            "found a directory of {length} bytes in the archive, expected at most {MAX_DIRECTORY}"
        );
        return Err(source.malformed(reason));
    }
    Ok((start, source.read_to_vec(start, length as usize)?))
}

/// The position of the end record, which is followed by a comment only.
fn find_end(tail: &[u8]) -> Option<usize> {
    let last = tail.len().checked_sub(END_LENGTH)?;
    (0..=last).rev().find(|start| {
        let record = &tail[*start..];
        record.starts_with(END) && usize::from(u16_at(record, 20)) == record.len() - END_LENGTH
    })
}

/// Reads the length and position of the directory from the zip64 record; `None` if there is none
/// before the end record.
fn read_zip64_end(source: &Source, end: u64) -> Result<Option<(u64, u64)>> {
    let Some(locator) = end.checked_sub(ZIP64_LOCATOR_LENGTH as u64) else {
        return Ok(None);
    };
    let locator = source.read_to_vec(locator, ZIP64_LOCATOR_LENGTH)?;
    if !locator.starts_with(ZIP64_LOCATOR) {
        return Ok(None);
    }
    let position = u64_at(&locator, 8);
    let fits = position.checked_add(ZIP64_END_LENGTH as u64);
    if fits.is_none_or(|record_end| record_end > end) {
        return Err(source.malformed("the archive's zip64 record is damaged"));
    }
    let record = source.read_to_vec(position, ZIP64_END_LENGTH)?;
    if !record.starts_with(ZIP64_END) {
        return Err(source.malformed("the archive's zip64 record is damaged"));
    }
    Ok(Some((u64_at(&record, 40), u64_at(&record, 48))))
}

/// Reads one directory entry, and returns it with the remaining bytes.
fn read_entry(bytes: &[u8]) -> Option<(String, Entry, &[u8])> {
    let (header, rest) = bytes.split_at_checked(ENTRY_LENGTH)?;
    if !header.starts_with(ENTRY) {
        return None;
    }
    let length_at = |position| usize::from(u16_at(header, position));
    let (name, rest) = rest.split_at_checked(length_at(28))?;
    let (extra, rest) = rest.split_at_checked(length_at(30))?;
    let (_comment, rest) = rest.split_at_checked(length_at(32))?;
    let [length, compressed, header_position] =
        wide_fields(extra, [24, 20, 42].map(|position| u32_at(header, position)))?;
    let entry = Entry {
        flags: u16_at(header, 8),
        method: u16_at(header, 10),
        crc: u32_at(header, 16),
        compressed,
        length,
        header: header_position,
    };
    Some((String::from_utf8_lossy(name).into_owned(), entry, rest))
}

/// Replaces fields with the maximum value by those of the zip64 extra field, in their order.
fn wide_fields(extra: &[u8], fields: [u32; 3]) -> Option<[u64; 3]> {
    let mut wide = find_extra(extra, ZIP64_EXTRA).unwrap_or_default();
    let mut result = [0; 3];
    for (result, field) in result.iter_mut().zip(fields) {
        *result = u64::from(field);
        if field == u32::MAX {
            let (value, rest) = wide.split_at_checked(8)?;
            *result = u64_at(value, 0);
            wide = rest;
        }
    }
    Some(result)
}

fn find_extra(mut extra: &[u8], id: u16) -> Option<&[u8]> {
    while extra.len() >= 4 {
        let (header, rest) = extra.split_at(4);
        let (data, rest) = rest.split_at_checked(usize::from(u16_at(header, 2)))?;
        if u16_at(header, 0) == id {
            return Some(data);
        }
        extra = rest;
    }
    None
}

// The callers have checked the length.
fn array_at<const N: usize>(bytes: &[u8], position: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[position + index])
}

fn u16_at(bytes: &[u8], position: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, position))
}

fn u32_at(bytes: &[u8], position: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, position))
}

fn u64_at(bytes: &[u8], position: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, position))
}

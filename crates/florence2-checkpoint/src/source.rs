//! The bytes of one file, on disk or in memory, read at any position by any number of threads.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::positional_file::PositionalFile;

/// A file on disk or in memory.
pub(crate) struct Source {
    name: String,
    length: u64,
    bytes: Bytes,
}

enum Bytes {
    File(PositionalFile),
    Memory(Arc<[u8]>),
}

impl Source {
    /// Opens a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let metadata = std::fs::metadata(path).map_err(io)?;
        // Opening a named pipe would block.
        if !metadata.is_file() {
            let reason = "found no regular file, expected a weights file";
            return Err(Error::malformed(path.display().to_string(), reason));
        }
        Ok(Self {
            name: path.display().to_string(),
            length: metadata.len(),
            bytes: Bytes::File(PositionalFile::open(path).map_err(io)?),
        })
    }

    /// Creates a source from bytes in memory. Errors name it `name`.
    pub(crate) fn in_memory(name: &str, bytes: Arc<[u8]>) -> Self {
        Self {
            name: name.to_owned(),
            length: bytes.len() as u64,
            bytes: Bytes::Memory(bytes),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Returns `length` bytes from `offset` on: a slice of the memory, or `buffer`, filled from disk.
    pub(crate) fn read<'a>(
        &'a self,
        offset: u64,
        length: usize,
        buffer: &'a mut Vec<u8>,
    ) -> io::Result<&'a [u8]> {
        match &self.bytes {
            Bytes::Memory(bytes) => usize::try_from(offset)
                .ok()
                .and_then(|offset| bytes.get(offset..offset.checked_add(length)?))
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
            Bytes::File(file) => {
                buffer.resize(length, 0);
                file.read_exact_at(buffer, offset)?;
                Ok(buffer)
            }
        }
    }

    /// Copies `length` bytes from `offset` on. The caller limits `length`.
    pub(crate) fn read_to_vec(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut buffer = Vec::new();
        let bytes = self.read(offset, length, &mut buffer);
        let bytes = bytes.map_err(|source| self.io(source))?.to_vec();
        Ok(bytes)
    }

    /// Copies the first bytes: `length` of them, or all if the file is shorter.
    pub(crate) fn first_bytes(&self, length: usize) -> Result<Vec<u8>> {
        self.read_to_vec(0, self.length.min(length as u64) as usize)
    }

    pub(crate) fn io(&self, source: io::Error) -> Error {
        Error::Io {
            path: PathBuf::from(&self.name),
            source,
        }
    }

    pub(crate) fn malformed(&self, reason: impl fmt::Display) -> Error {
        Error::malformed(&self.name, reason)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// A reader of a source that starts at a position.
pub(crate) struct SourceReader<'a> {
    source: &'a Source,
    position: u64,
}

impl<'a> SourceReader<'a> {
    pub(crate) fn new(source: &'a Source, position: u64) -> Self {
        Self { source, position }
    }
}

impl io::Read for SourceReader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.source.length.saturating_sub(self.position);
        let length = left.min(bytes.len() as u64) as usize;
        let mut buffer = Vec::new();
        let read = self.source.read(self.position, length, &mut buffer)?;
        bytes[..length].copy_from_slice(read);
        self.position += length as u64;
        Ok(length)
    }
}

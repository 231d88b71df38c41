//! A tensor of a checkpoint: the location of its values, and the functions that read them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crc32fast::Hasher;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::float_format::FloatFormat;
use crate::source::Source;

/// Values that one thread reads and converts at a time, so that they stay in the cache.
const PART: usize = 1 << 14;

/// One tensor of a checkpoint. Its values are read from the file on request.
#[derive(Debug)]
pub struct StoredTensor {
    /// The dimensions, as stored.
    pub shape: Vec<usize>,
    /// The stored type's name, such as `F16`.
    pub dtype: String,
    key: String,
    format: Option<FloatFormat>,
    storage: Arc<Storage>,
    /// The offset of the tensor's first value in the storage, in bytes.
    offset: u64,
    /// `None` if the values are stored in row-major order.
    strides: Option<Strides>,
}

/// The layout of a tensor's values in its storage.
pub(crate) struct Layout {
    pub(crate) shape: Vec<usize>,
    /// The offset of the tensor's first value in the storage, in bytes.
    pub(crate) offset: u64,
    /// `None` if the values are stored in row-major order.
    pub(crate) strides: Option<Strides>,
}

/// The strides of a tensor whose values are not stored in row-major order. No dimension is 0.
#[derive(Debug)]
pub(crate) struct Strides {
    /// The stride of each dimension, in values.
    pub(crate) steps: Vec<usize>,
    /// The number of consecutive stored values from the tensor's first to its last.
    pub(crate) span: usize,
}

impl StoredTensor {
    /// The caller has checked that the layout lies within the storage.
    pub(crate) fn new(key: &str, dtype: &str, storage: Arc<Storage>, layout: Layout) -> Self {
        Self {
            shape: layout.shape,
            dtype: dtype.to_owned(),
            key: key.to_owned(),
            format: FloatFormat::named(dtype),
            storage,
            offset: layout.offset,
            strides: layout.strides,
        }
    }

    /// The file that holds the values.
    pub(crate) fn file(&self) -> &str {
        self.storage.source.name()
    }

    /// Reads the values as f32, in row-major order.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Malformed`] if the type is not a floating-point type or the
    /// checksum of the stored values is wrong. Both name the file and the tensor.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let Some(format) = self.format else {
            let (found, expected) = (&self.dtype, FloatFormat::EXPECTED);
            return Err(self.malformed(format!("found type {found}, expected {expected}")));
        };
        let count = self.shape.iter().product();
        if count == 0 {
            return Ok(Vec::new());
        }
        let values = match &self.strides {
            None => self.read(count, format)?,
            Some(strides) => {
                let values = self.read(strides.span, format)?;
                gather(&values, &self.shape, &strides.steps)
            }
        };
        Ok(values)
    }

    /// Reads the values of a matrix `[rows, columns]` as f32, transposed to `[columns, rows]`. Other
    /// tensors are read as by [`Self::to_f32`].
    ///
    /// # Errors
    /// Those of [`Self::to_f32`].
    pub fn to_f32_transposed(&self) -> Result<Vec<f32>> {
        let values = self.to_f32()?;
        Ok(match self.shape[..] {
            [rows, columns] if !values.is_empty() => {
                gather(&values, &[columns, rows], &[1, columns])
            }
            _ => values,
        })
    }

    fn read(&self, count: usize, format: FloatFormat) -> Result<Vec<f32>> {
        let values = self.storage.read(self.offset, count, format);
        values.map_err(|error| match error {
            ReadError::Io(source) => {
                let reason = format!("`{}`: {source}", self.key);
                let source = io::Error::new(source.kind(), reason);
                self.storage.source.io(source)
            }
            ReadError::Checksum { .. } => self.malformed(error.to_string()),
        })
    }

    fn malformed(&self, reason: String) -> Error {
        let source = &self.storage.source;
        source.malformed(format!("`{}`: {reason}", self.key))
    }
}

/// A range of a file's bytes, shared by the tensors that are stored in it.
#[derive(Debug)]
pub(crate) struct Storage {
    source: Arc<Source>,
    start: u64,
    length: u64,
    checksum: Option<Checksum>,
}

/// A CRC-32 that is verified when the values are read for the first time.
#[derive(Debug)]
struct Checksum {
    expected: u32,
    verified: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("found checksum {found:08x}, expected {expected:08x}: the file is damaged")]
    Checksum { found: u32, expected: u32 },
}

impl Storage {
    /// The caller has checked that the range lies within the file.
    pub(crate) fn new(source: Arc<Source>, start: u64, length: u64, crc: Option<u32>) -> Self {
        let checksum = crc.map(|expected| Checksum {
            expected,
            verified: AtomicBool::new(false),
        });
        Self {
            source,
            start,
            length,
            checksum,
        }
    }

    /// The length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Reads all bytes and verifies their checksum. The caller limits their number.
    pub(crate) fn read_bytes(&self) -> Result<Vec<u8>, ReadError> {
        let mut buffer = Vec::new();
        let bytes = self
            .source
            .read(self.start, self.length as usize, &mut buffer)?;
        let bytes = bytes.to_vec();
        if let Some(checksum) = &self.checksum {
            checksum.verify(crc32fast::hash(&bytes))?;
        }
        Ok(bytes)
    }

    /// Reads consecutive values, starting at byte `offset`.
    fn read(&self, offset: u64, count: usize, format: FloatFormat) -> Result<Vec<f32>, ReadError> {
        let whole = offset == 0 && (count * format.size()) as u64 == self.length;
        let unverified = |checksum: &&Checksum| !checksum.verified.load(Ordering::Relaxed);
        let Some(checksum) = self.checksum.as_ref().filter(unverified) else {
            return Ok(self.read_values(offset, count, format, false)?.0);
        };
        if whole {
            let (values, crc) = self.read_values(offset, count, format, true)?;
            checksum.verify(crc)?;
            Ok(values)
        } else {
            checksum.verify(self.crc()?)?;
            Ok(self.read_values(offset, count, format, false)?.0)
        }
    }

    /// Reads and converts values on all threads. The returned CRC-32 is that of their bytes if
    /// `hashed`.
    fn read_values(
        &self,
        offset: u64,
        count: usize,
        format: FloatFormat,
        hashed: bool,
    ) -> io::Result<(Vec<f32>, u32)> {
        let mut values = vec![0.0; count];
        // Combining checksums takes microseconds per part, so large tensors have larger parts.
        let task = PART * (count / (PART * 64)).clamp(1, 16);
        let tasks = values.par_chunks_mut(task).enumerate();
        let hashers = tasks.map_init(Vec::new, |buffer, (index, values)| {
            let mut hasher = Hasher::new();
            let mut position = self.start + offset + (index * task * format.size()) as u64;
            for values in values.chunks_mut(PART) {
                let length = values.len() * format.size();
                let bytes = self.source.read(position, length, buffer)?;
                if hashed {
                    hasher.update(bytes);
                }
                format.decode(bytes, values);
                position += length as u64;
            }
            Ok(hasher)
        });
        let hashers: Vec<Hasher> = hashers.collect::<io::Result<_>>()?;
        Ok((values, combine(&hashers)))
    }

    /// The CRC-32 of all bytes.
    fn crc(&self) -> io::Result<u32> {
        const BYTES: u64 = 1 << 20;
        let parts = (0..self.length.div_ceil(BYTES)).into_par_iter();
        let hashers = parts.map_init(Vec::new, |buffer, part| {
            let first = part * BYTES;
            let length = BYTES.min(self.length - first) as usize;
            let mut hasher = Hasher::new();
            hasher.update(self.source.read(self.start + first, length, buffer)?);
            Ok(hasher)
        });
        let hashers: Vec<Hasher> = hashers.collect::<io::Result<_>>()?;
        Ok(combine(&hashers))
    }
}

impl Checksum {
    fn verify(&self, found: u32) -> Result<(), ReadError> {
        let expected = self.expected;
        if found != expected {
            return Err(ReadError::Checksum { found, expected });
        }
        self.verified.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Combines the CRC-32 of consecutive parts.
fn combine(parts: &[Hasher]) -> u32 {
    let mut whole = Hasher::new();
    for part in parts {
        whole.combine(part);
    }
    whole.finalize()
}

/// Copies strided values to row-major order, in tiles that stay in the cache. No dimension is 0.
fn gather(values: &[f32], shape: &[usize], strides: &[usize]) -> Vec<f32> {
    const TILE: usize = 32;
    let rank = shape.len() - 1;
    let (columns, column_stride) = (shape[rank], strides[rank]);
    let mut gathered = vec![0.0; shape.iter().product()];
    let tiles = gathered.par_chunks_mut(TILE * columns).enumerate();
    tiles.for_each(|(tile, rows)| {
        let starts: Vec<usize> = (tile * TILE..)
            .take(rows.len() / columns)
            .map(|row| row_start(row, &shape[..rank], &strides[..rank]))
            .collect();
        for first in (0..columns).step_by(TILE) {
            for (row, start) in rows.chunks_exact_mut(columns).zip(&starts) {
                for (column, value) in row.iter_mut().enumerate().skip(first).take(TILE) {
                    *value = values[start + column * column_stride];
                }
            }
        }
    });
    gathered
}

/// The stored position of a row. Row indices are in row-major order over `shape`.
fn row_start(mut row: usize, shape: &[usize], strides: &[usize]) -> usize {
    let mut start = 0;
    for (size, stride) in shape.iter().zip(strides).rev() {
        start += row % size * stride;
        row /= size;
    }
    start
}

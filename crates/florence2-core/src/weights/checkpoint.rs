//! A checkpoint's tensors by name, wherever they are stored, read one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{DType, TensorData};
use burn_store::TensorSnapshot;
use burn_store::pytorch::PytorchReader;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::Metadata};
use serde::Deserialize;

use crate::error::{Error, Result};

/// safetensors refuses longer headers; a length beyond it is corruption, not a header.
const MAX_HEADER: u64 = 100_000_000;

/// A checkpoint: tensors by the names that the file gives them.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file or folder, for messages.
    pub name: String,
    /// The tensors, sorted by name.
    pub tensors: BTreeMap<String, StoredTensor>,
}

/// One tensor of a checkpoint, not yet read.
#[derive(Debug)]
pub struct StoredTensor {
    /// The dimensions, as stored.
    pub shape: Vec<usize>,
    /// The stored type's name, such as `F16`.
    pub dtype: String,
    file: String,
    source: Source,
}

enum Source {
    File {
        file: Arc<Mutex<File>>,
        offset: u64,
        length: usize,
        dtype: Dtype,
    },
    Bytes {
        bytes: Arc<[u8]>,
        offset: usize,
        length: usize,
        dtype: Dtype,
    },
    Pytorch(TensorSnapshot),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File { .. } => "File",
            Self::Bytes { .. } => "Bytes",
            Self::Pytorch(_) => "Pytorch",
        })
    }
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens the checkpoint of a model folder: `model.safetensors`, else
    /// `model.safetensors.index.json` and its shards, else `pytorch_model.bin`.
    ///
    /// # Errors
    /// [`Error::Io`] when none is there, [`Error::Malformed`] naming the file that is broken.
    pub fn open(directory: &Path) -> Result<Self> {
        let safetensors = directory.join("model.safetensors");
        let index = directory.join("model.safetensors.index.json");
        let pytorch = directory.join("pytorch_model.bin");
        if safetensors.exists() {
            Self::open_safetensors(&safetensors)
        } else if index.exists() {
            Self::open_shards(directory, &index)
        } else if pytorch.exists() {
            Self::open_pytorch(&pytorch)
        } else {
            let source = std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "no model.safetensors, model.safetensors.index.json or pytorch_model.bin",
            );
            Err(Error::Io {
                path: directory.to_owned(),
                source,
            })
        }
    }

    /// Opens one safetensors file: the header is read and checked, the tensors stay on disk.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Malformed`] when the file is truncated or corrupt.
    pub fn open_safetensors(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let (header, metadata) = read_header(&mut file, size, &name)?;
        let file = Arc::new(Mutex::new(file));
        let tensors = metadata.tensors().into_iter().map(|(key, info)| {
            let (start, end) = info.data_offsets;
            let source = Source::File {
                file: Arc::clone(&file),
                offset: header + start as u64,
                length: end - start,
                dtype: info.dtype,
            };
            let tensor = StoredTensor {
                shape: info.shape.clone(),
                dtype: format!("{:?}", info.dtype),
                file: name.clone(),
                source,
            };
            (key, tensor)
        });
        let tensors = tensors.collect();
        Ok(Self { name, tensors })
    }

    /// Reads a safetensors file that is already in memory. `name` is used in messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the bytes are truncated or corrupt.
    pub fn from_safetensors_bytes(bytes: Arc<[u8]>, name: &str) -> Result<Self> {
        let malformed = |error| Error::malformed(name, error);
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(malformed)?;
        SafeTensors::deserialize(&bytes).map_err(malformed)?;
        let tensors = metadata.tensors().into_iter().map(|(key, info)| {
            let (start, end) = info.data_offsets;
            let source = Source::Bytes {
                bytes: Arc::clone(&bytes),
                offset: 8 + header + start,
                length: end - start,
                dtype: info.dtype,
            };
            let tensor = StoredTensor {
                shape: info.shape.clone(),
                dtype: format!("{:?}", info.dtype),
                file: name.to_owned(),
                source,
            };
            (key, tensor)
        });
        let tensors = tensors.collect();
        Ok(Self {
            name: name.to_owned(),
            tensors,
        })
    }

    fn open_shards(directory: &Path, index_path: &Path) -> Result<Self> {
        let name = index_path.display().to_string();
        let io = |source| Error::Io {
            path: index_path.to_owned(),
            source,
        };
        let json = std::fs::read(index_path).map_err(io)?;
        let index: ShardIndex =
            serde_json::from_slice(&json).map_err(|error| Error::malformed(&name, error))?;
        let files: BTreeSet<&String> = index.weight_map.values().collect();
        let mut tensors = BTreeMap::new();
        for file in files {
            // An index names files beside it; a path would reach outside the model's folder.
            if Path::new(file).file_name() != Some(file.as_ref()) {
                let reason = format!("shard `{file}` is a path, expected a file name");
                return Err(Error::malformed(&name, reason));
            }
            tensors.extend(Self::open_safetensors(&directory.join(file))?.tensors);
        }
        for (key, file) in &index.weight_map {
            if !tensors.contains_key(key) {
                let reason = format!("`{key}` is not in {file}, where the index promises it");
                return Err(Error::malformed(&name, reason));
            }
        }
        Ok(Self { name, tensors })
    }

    fn open_pytorch(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let reader = PytorchReader::new(path).map_err(|error| Error::malformed(&name, error))?;
        let tensors = reader.into_tensors().into_iter().map(|(key, snapshot)| {
            let tensor = StoredTensor {
                shape: snapshot.shape.to_vec(),
                dtype: format!("{:?}", snapshot.dtype),
                file: name.clone(),
                source: Source::Pytorch(snapshot),
            };
            (key, tensor)
        });
        let tensors = tensors.collect();
        Ok(Self { name, tensors })
    }
}

impl StoredTensor {
    /// Reads the values, row by row, as f32.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Malformed`] when the type is not f32, f16 or bf16.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        match &self.source {
            Source::File {
                file,
                offset,
                length,
                dtype,
            } => self.convert(*length, *dtype, |first, part| {
                read_at(file, offset + first as u64, part)
            }),
            Source::Bytes {
                bytes,
                offset,
                length,
                dtype,
            } => self.convert(*length, *dtype, |first, part| {
                part.copy_from_slice(&bytes[offset + first..][..part.len()]);
                Ok(())
            }),
            Source::Pytorch(snapshot) => {
                let data = snapshot
                    .to_data()
                    .map_err(|error| Error::malformed(&self.file, format!("{error:?}")))?;
                self.convert_data(data)
            }
        }
    }

    /// Converts so many bytes, a part of which `read` reads from a place on.
    fn convert(
        &self,
        length: usize,
        dtype: Dtype,
        read: impl Fn(usize, &mut [u8]) -> std::io::Result<()> + Sync,
    ) -> Result<Vec<f32>> {
        let values = match dtype {
            Dtype::F32 => convert(length, read, |bytes, values| {
                values.copy_from_slice(&little_endian(bytes, f32::from_le_bytes));
            }),
            Dtype::F16 => convert(length, read, |bytes, values| {
                little_endian(bytes, f16::from_le_bytes).convert_to_f32_slice(values);
            }),
            Dtype::BF16 => convert(length, read, |bytes, values| {
                little_endian(bytes, bf16::from_le_bytes).convert_to_f32_slice(values);
            }),
            _ => return Err(self.unsupported()),
        };
        values.map_err(|source| Error::Io {
            path: PathBuf::from(&self.file),
            source,
        })
    }

    fn convert_data(&self, data: TensorData) -> Result<Vec<f32>> {
        if !matches!(
            data.dtype,
            DType::F32 | DType::F16 | DType::BF16 | DType::F64
        ) {
            return Err(self.unsupported());
        }
        data.convert::<f32>()
            .into_vec()
            .map_err(|error| Error::malformed(&self.file, format!("{error:?}")))
    }

    fn unsupported(&self) -> Error {
        let reason = format!("a tensor of type {}, expected F32, F16 or BF16", self.dtype);
        Error::malformed(&self.file, reason)
    }
}

/// Reads and converts stored values on all threads, in parts that stay in the cache.
fn convert<const SIZE: usize>(
    length: usize,
    read: impl Fn(usize, &mut [u8]) -> std::io::Result<()> + Sync,
    convert_part: impl Fn(&[[u8; SIZE]], &mut [f32]) + Sync,
) -> std::io::Result<Vec<f32>> {
    const PART: usize = 1 << 14;
    let mut values = vec![0.0; length / SIZE];
    let parts = values.par_chunks_mut(PART).enumerate();
    let converted = parts.try_for_each_init(Vec::new, |bytes, (part, values)| {
        bytes.resize(values.len() * SIZE, 0);
        read(part * PART * SIZE, bytes)?;
        convert_part(bytes.as_chunks().0, values);
        Ok(())
    });
    converted.map(|()| values)
}

/// Reads the header: where the data begins, and the tensors' places in it.
fn read_header(file: &mut File, size: u64, name: &str) -> Result<(u64, Metadata)> {
    let malformed = |reason: String| Error::malformed(name, reason);
    let io = |source| Error::Io {
        path: PathBuf::from(name),
        source,
    };
    if size < 8 {
        return Err(malformed(format!(
            "{size} bytes, expected a safetensors file"
        )));
    }
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(io)?;
    let header = u64::from_le_bytes(length);
    if header > MAX_HEADER || header > size - 8 {
        let reason =
            format!("a header of {header} bytes in a file of {size}: truncated or not safetensors");
        return Err(malformed(reason));
    }
    let mut json = vec![0; header as usize];
    file.read_exact(&mut json).map_err(io)?;
    // `SafeTensors::read_metadata` asks for the whole file; this reads and checks the header alone.
    let metadata: Metadata =
        serde_json::from_slice(&json).map_err(|error| malformed(error.to_string()))?;
    let expected = 8 + header + metadata.data_len() as u64;
    if expected != size {
        return Err(malformed(format!(
            "{size} bytes, expected {expected}: truncated or corrupt"
        )));
    }
    Ok((8 + header, metadata))
}

fn read_at(file: &Mutex<File>, offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
    // A poisoned lock only means that another reader failed: every read seeks first.
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

fn little_endian<const N: usize, T>(stored: &[[u8; N]], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    stored.iter().map(|value| from(*value)).collect()
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    /// More than two parts, none of whose values bf16 would round.
    fn values() -> Vec<f32> {
        (0..40_000_u16)
            .map(|index| f32::from(index % 251))
            .collect()
    }

    fn file_of(dtype: Dtype, bytes: &[u8]) -> Vec<u8> {
        let tensor = TensorView::new(dtype, vec![200, 200], bytes).unwrap();
        safetensors::serialize([("weight", tensor)], None).unwrap()
    }

    #[test]
    fn a_tensor_of_many_parts_is_read_whole() {
        let values = values();
        let f32s = values.iter().flat_map(|value| value.to_le_bytes());
        let f16s = values
            .iter()
            .flat_map(|value| f16::from_f32(*value).to_le_bytes());
        let bf16s = values
            .iter()
            .flat_map(|value| bf16::from_f32(*value).to_le_bytes());
        let stored: [(Dtype, Vec<u8>); 3] = [
            (Dtype::F32, f32s.collect()),
            (Dtype::F16, f16s.collect()),
            (Dtype::BF16, bf16s.collect()),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        for (dtype, bytes) in stored {
            let bytes = file_of(dtype, &bytes);
            std::fs::write(&path, &bytes).unwrap();
            let file = Checkpoint::open(folder.path()).unwrap();
            let memory = Checkpoint::from_safetensors_bytes(bytes.into(), "memory").unwrap();
            for checkpoint in [file, memory] {
                assert_eq!(checkpoint.tensors["weight"].to_f32().unwrap(), values);
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_after_it_was_opened_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let stored: Vec<u8> = values()
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let bytes = file_of(Dtype::F32, &stored);
        std::fs::write(&path, &bytes).unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(bytes.len() as u64 - 1).unwrap();
        let error = checkpoint.tensors["weight"].to_f32().unwrap_err();
        assert!(
            matches!(&error, Error::Io { path: named, .. } if *named == path),
            "{error}"
        );
    }
}

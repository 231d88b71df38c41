//! The cache of the frozen image encoder's output: in memory first, then in a file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use florence2_kernels::Backend;

use crate::step::FrozenFeatures;

/// The sizes of the cache in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// In memory.
    pub memory: u64,
    /// In a file, after the memory is full.
    pub disk: u64,
}

impl Default for CacheLimits {
    /// 1 GiB of memory and 16 GiB of disk.
    fn default() -> Self {
        Self {
            memory: 1 << 30,
            disk: 16 << 30,
        }
    }
}

/// The features of images by the index of the example.
pub(crate) struct FeatureCache {
    limits: CacheLimits,
    memory: HashMap<usize, Features>,
    memory_bytes: u64,
    file: File,
    /// The offset of the values in the file, and their shape.
    stored: HashMap<usize, (u64, Shape)>,
    file_bytes: u64,
}

/// Values in f32, of one image.
struct Features {
    shape: Shape,
    values: Vec<f32>,
}

/// The shape without the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    VisionTower([usize; 3]),
    Projector([usize; 2]),
}

impl Shape {
    fn count(self) -> usize {
        match self {
            Self::VisionTower(shape) => shape.iter().product(),
            Self::Projector(shape) => shape.iter().product(),
        }
    }
}

impl FeatureCache {
    /// Creates an empty cache. Its file has no name, so that the system deletes it when the process
    /// ends.
    ///
    /// # Errors
    /// The folder of the file cannot be written.
    pub(crate) fn new(folder: &Path, limits: CacheLimits) -> io::Result<Self> {
        Ok(Self {
            limits,
            memory: HashMap::new(),
            memory_bytes: 0,
            file: tempfile::tempfile_in(folder)?,
            stored: HashMap::new(),
            file_bytes: 0,
        })
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        self.memory.contains_key(&index) || self.stored.contains_key(&index)
    }

    /// Stores the features of a batch. Those that exceed the limits are left out, and so are all later
    /// ones that do not fit in memory if the file cannot be written, for example because the disk is
    /// full.
    pub(crate) fn insert<B: Backend>(&mut self, indices: &[usize], features: &FrozenFeatures<B>) {
        for (row, index) in indices.iter().enumerate() {
            if !self.contains(*index) {
                self.insert_one(*index, values_of(features.row(row)));
            }
        }
    }

    fn insert_one(&mut self, index: usize, features: Features) {
        let bytes = size_of_val(features.values.as_slice()) as u64;
        if self.memory_bytes + bytes <= self.limits.memory {
            self.memory_bytes += bytes;
            self.memory.insert(index, features);
        } else if self.file_bytes + bytes <= self.limits.disk {
            let values = bytemuck::cast_slice(&features.values);
            let position = SeekFrom::Start(self.file_bytes);
            let written = self
                .file
                .seek(position)
                .and_then(|_| self.file.write_all(values));
            if let Err(error) = written {
                log::warn!("image features are no longer stored on disk: {error}");
                self.limits.disk = 0;
                return;
            }
            self.stored.insert(index, (self.file_bytes, features.shape));
            self.file_bytes += bytes;
        }
    }

    /// The features of an example, as a batch of one; `None` if they are not stored.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn get<B: Backend>(
        &mut self,
        index: usize,
        device: &B::Device,
    ) -> io::Result<Option<FrozenFeatures<B>>> {
        let (shape, values) = if let Some(features) = self.memory.get(&index) {
            (features.shape, features.values.clone())
        } else if let Some((offset, shape)) = self.stored.get(&index).copied() {
            (shape, self.read(offset, shape.count())?)
        } else {
            return Ok(None);
        };
        Ok(Some(match shape {
            Shape::VisionTower([rows, columns, dim]) => {
                let data = TensorData::new(values, [1, rows, columns, dim]);
                FrozenFeatures::VisionTower(Tensor::from_data(data, device))
            }
            Shape::Projector([tokens, dim]) => {
                let data = TensorData::new(values, [1, tokens, dim]);
                FrozenFeatures::Projector(Tensor::from_data(data, device))
            }
        }))
    }

    /// Reads `count` values from the file.
    fn read(&mut self, offset: u64, count: usize) -> io::Result<Vec<f32>> {
        let mut values = vec![0.0; count];
        self.file.seek(SeekFrom::Start(offset))?;
        self.file
            .read_exact(bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }
}

/// The values of one image.
fn values_of<B: Backend>(features: FrozenFeatures<B>) -> Features {
    let (shape, data) = match features {
        FrozenFeatures::VisionTower(row) => {
            let [_, rows, columns, dim] = row.dims();
            (Shape::VisionTower([rows, columns, dim]), row.into_data())
        }
        FrozenFeatures::Projector(row) => {
            let [_, tokens, dim] = row.dims();
            (Shape::Projector([tokens, dim]), row.into_data())
        }
    };
    // INVARIANT: `convert` returned the type that is read.
    let values = data.convert::<f32>().into_vec().expect("f32");
    Features { shape, values }
}

#[cfg(test)]
mod tests {
    use burn_flex::{Flex, FlexDevice};

    use super::*;

    /// The features of two images with six values each.
    fn features(first: f32) -> FrozenFeatures<Flex> {
        let values: Vec<f32> = (0..12).map(|index| first + index as f32).collect();
        let data = TensorData::new(values, [2, 3, 2]);
        FrozenFeatures::Projector(Tensor::from_data(data, &FlexDevice))
    }

    fn found(cache: &mut FeatureCache, index: usize) -> Option<Vec<f32>> {
        let features = cache.get::<Flex>(index, &FlexDevice).unwrap()?;
        Some(values_of(features).values)
    }

    fn six_from(first: u8) -> Vec<f32> {
        (first..first + 6).map(f32::from).collect()
    }

    #[test]
    fn features_are_in_memory_then_in_the_file_then_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let limits = CacheLimits {
            memory: 24,
            disk: 48,
        };
        let mut cache = FeatureCache::new(folder.path(), limits).unwrap();
        cache.insert(&[5, 7], &features(0.0));
        cache.insert(&[1, 2], &features(100.0));
        assert_eq!((cache.memory_bytes, cache.file_bytes), (24, 48));
        assert_eq!(found(&mut cache, 5), Some(six_from(0)));
        assert_eq!(found(&mut cache, 7), Some(six_from(6)));
        assert_eq!(found(&mut cache, 1), Some(six_from(100)));
        assert_eq!(found(&mut cache, 2), None);
    }

    #[test]
    fn a_file_that_cannot_be_written_loses_no_features() {
        let folder = tempfile::tempdir().unwrap();
        let limits = CacheLimits {
            memory: 24,
            disk: 48,
        };
        let mut cache = FeatureCache::new(folder.path(), limits).unwrap();
        let path = folder.path().join("read-only");
        std::fs::write(&path, []).unwrap();
        cache.file = File::open(&path).unwrap();
        cache.insert(&[5, 7], &features(0.0));
        cache.insert(&[1], &features(100.0));
        assert_eq!(found(&mut cache, 5), Some(six_from(0)));
        assert_eq!(found(&mut cache, 7), None);
        assert_eq!(found(&mut cache, 1), None);
    }
}

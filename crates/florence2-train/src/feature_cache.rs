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

    /// Stores the features of a batch. Those that exceed the limits are left out.
    ///
    /// # Errors
    /// The file cannot be written. The features that are already stored remain.
    pub(crate) fn insert<B: Backend>(
        &mut self,
        indices: &[usize],
        features: &FrozenFeatures<B>,
    ) -> io::Result<()> {
        for (row, index) in indices.iter().enumerate() {
            if !self.contains(*index) {
                self.insert_one(*index, row_of(features, row))?;
            }
        }
        Ok(())
    }

    fn insert_one(&mut self, index: usize, features: Features) -> io::Result<()> {
        let bytes = size_of_val(features.values.as_slice()) as u64;
        if self.memory_bytes + bytes <= self.limits.memory {
            self.memory_bytes += bytes;
            self.memory.insert(index, features);
        } else if self.file_bytes + bytes <= self.limits.disk {
            self.file.seek(SeekFrom::Start(self.file_bytes))?;
            self.file
                .write_all(bytemuck::cast_slice(&features.values))?;
            self.stored.insert(index, (self.file_bytes, features.shape));
            self.file_bytes += bytes;
        }
        Ok(())
    }

    /// The features of the examples as a batch; `None` unless all are stored with one shape.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn batch<B: Backend>(
        &mut self,
        indices: &[usize],
        device: &B::Device,
    ) -> io::Result<Option<FrozenFeatures<B>>> {
        let mut values = Vec::new();
        let mut shape = None;
        for index in indices {
            let found = match self.memory.get(index) {
                Some(features) => {
                    values.extend_from_slice(&features.values);
                    features.shape
                }
                None => match self.stored.get(index) {
                    Some((offset, shape)) => {
                        let (offset, shape) = (*offset, *shape);
                        self.read(offset, shape.count(), &mut values)?;
                        shape
                    }
                    None => return Ok(None),
                },
            };
            if *shape.get_or_insert(found) != found {
                return Ok(None);
            }
        }
        let images = indices.len();
        Ok(shape.map(|shape| match shape {
            Shape::VisionTower([rows, columns, dim]) => {
                let data = TensorData::new(values, [images, rows, columns, dim]);
                FrozenFeatures::VisionTower(Tensor::from_data(data, device))
            }
            Shape::Projector([tokens, dim]) => {
                let data = TensorData::new(values, [images, tokens, dim]);
                FrozenFeatures::Projector(Tensor::from_data(data, device))
            }
        }))
    }

    /// The features of the examples as a batch, some of which are stored and the others are rows of
    /// `computed`, in the order of `computed_indices`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn merge<B: Backend>(
        &mut self,
        indices: &[usize],
        computed_indices: &[usize],
        computed: &FrozenFeatures<B>,
        device: &B::Device,
    ) -> io::Result<Option<FrozenFeatures<B>>> {
        let mut rows = Vec::with_capacity(indices.len());
        for index in indices {
            let row = computed_indices
                .iter()
                .position(|computed| computed == index);
            rows.push(match row {
                Some(row) => Some(computed.row(row)),
                None => self.batch(&[*index], device)?,
            });
        }
        Ok(rows
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .and_then(FrozenFeatures::cat))
    }

    /// Appends `count` values from the file.
    fn read(&mut self, offset: u64, count: usize, values: &mut Vec<f32>) -> io::Result<()> {
        let start = values.len();
        values.resize(start + count, 0.0);
        self.file.seek(SeekFrom::Start(offset))?;
        self.file
            .read_exact(bytemuck::cast_slice_mut(&mut values[start..]))
    }
}

/// The features of one image of a batch.
fn row_of<B: Backend>(features: &FrozenFeatures<B>, row: usize) -> Features {
    let (shape, data) = match features.row(row) {
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

    fn features(first: f32) -> FrozenFeatures<Flex> {
        let values: Vec<f32> = (0..12).map(|index| first + index as f32).collect();
        let data = TensorData::new(values, [2, 3, 2]);
        FrozenFeatures::Projector(Tensor::from_data(data, &FlexDevice))
    }

    fn values(features: &FrozenFeatures<Flex>) -> Vec<f32> {
        match features {
            FrozenFeatures::Projector(features) => features.to_data().to_vec().unwrap(),
            FrozenFeatures::VisionTower(_) => panic!("expected the projector's features"),
        }
    }

    #[test]
    fn features_are_in_memory_then_in_the_file_then_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let limits = CacheLimits {
            memory: 24,
            disk: 48,
        };
        let mut cache = FeatureCache::new(folder.path(), limits).unwrap();
        cache.insert(&[5, 7], &features(0.0)).unwrap();
        cache.insert(&[1, 2], &features(100.0)).unwrap();
        assert_eq!((cache.memory_bytes, cache.file_bytes), (24, 48));
        let found: FrozenFeatures<Flex> = cache.batch(&[1, 5, 7], &FlexDevice).unwrap().unwrap();
        let expected: Vec<f32> = (100..106).chain(0..12).map(|value| value as f32).collect();
        assert_eq!(values(&found), expected);
        assert!(cache.batch::<Flex>(&[1, 2], &FlexDevice).unwrap().is_none());
    }
}

//! Micro-batches: examples are read in parallel and padded, and images are replaced by the frozen encoder's
//! features.

use std::collections::BTreeSet;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use florence2_kernels::Backend;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::examples::{Example, ExampleError, ExampleSource};
use crate::feature_cache::FeatureCache;
use crate::step::{Batch, FrozenFeatures, Images, TrainStep};

/// Reads examples in parallel: their indices, and whether their pixels are read.
pub(crate) fn read_all(
    source: &dyn ExampleSource,
    wanted: &[(usize, bool)],
    epoch: u64,
) -> Vec<(usize, Result<Example, ExampleError>)> {
    let read = |(index, with_pixels): &(usize, bool)| {
        (*index, source.example(*index, epoch, *with_pixels))
    };
    wanted.par_iter().map(read).collect()
}

/// The settings of micro-batches.
pub(crate) struct Collator<'a, B: Backend> {
    pub(crate) step: &'a TrainStep<B>,
    /// The token that pads prompts.
    pub(crate) pad_token_id: u32,
    /// The folder of the cache's file, for messages.
    pub(crate) folder: &'a Path,
    pub(crate) device: &'a B::Device,
}

impl<B: Backend> Collator<'_, B> {
    /// Collates a micro-batch, with the features of `cache` if there are any. Features that are computed
    /// are stored there.
    ///
    /// # Errors
    /// [`Error::ImageSizes`], [`Error::Io`] with the folder of the cache, and those of the vision tower.
    pub(crate) fn collate(
        &self,
        cache: Option<&mut FeatureCache>,
        read: Vec<(usize, Example)>,
    ) -> Result<Batch<B>> {
        let ids = |ids: &[u32]| ids.iter().map(|id| i64::from(*id)).collect::<Vec<i64>>();
        let rows = |of: fn(&Example) -> &[u32]| -> Vec<Vec<i64>> {
            read.iter().map(|(_, example)| ids(of(example))).collect()
        };
        let prompts = rows(|example| &example.prompt);
        let labels = rows(|example| &example.labels);
        let images = match cache {
            Some(cache) => self.images(cache, read)?,
            None => Images::Pixels(self.stack(read)?),
        };
        let (pad_token_id, device) = (self.pad_token_id, self.device);
        Ok(Batch::new(images, &prompts, &labels, pad_token_id, device))
    }

    fn images(&self, cache: &mut FeatureCache, read: Vec<(usize, Example)>) -> Result<Images<B>> {
        let indices: Vec<usize> = read.iter().map(|(index, _)| *index).collect();
        let missing = read
            .into_iter()
            .filter(|(index, _)| !cache.contains(*index));
        let missing: Vec<(usize, Example)> = missing.collect();
        let missing_indices: Vec<usize> = missing.iter().map(|(index, _)| *index).collect();
        let mut computed = None;
        if !missing.is_empty() {
            let pixels = self.stack(missing)?;
            let Some(features) = self.step.encode_frozen(pixels.clone())? else {
                return Ok(Images::Pixels(pixels));
            };
            cache.insert(&missing_indices, &features);
            computed = Some(features);
        }
        let mut features = Vec::with_capacity(indices.len());
        for index in indices {
            let row = missing_indices.iter().position(|missing| *missing == index);
            let of_image = match (row, &computed) {
                (Some(row), Some(computed)) => Some(computed.row(row)),
                _ => cache.get(index, self.device).map_err(|source| Error::Io {
                    path: self.folder.to_owned(),
                    source,
                })?,
            };
            // INVARIANT: an image that is not stored is missing, and was computed.
            features.push(of_image.expect("features of each image"));
        }
        Ok(Images::Frozen(FrozenFeatures::cat(features)?))
    }

    /// The pixel values of examples, `[batch, channels, height, width]`.
    fn stack(&self, read: Vec<(usize, Example)>) -> Result<Tensor<B, 4>> {
        let pixels = read.into_iter().filter_map(|(_, example)| example.pixels);
        let pixels: Vec<_> = pixels.collect();
        let shapes: BTreeSet<[usize; 3]> = pixels.iter().map(|pixels| pixels.shape).collect();
        let Some(shape) = shapes.first().filter(|_| shapes.len() == 1) else {
            let size =
                |[channels, height, width]: &[usize; 3]| format!("{channels} x {height} x {width}");
            return Err(Error::ImageSizes {
                sizes: shapes.iter().map(size).collect(),
            });
        };
        let [channels, height, width] = *shape;
        let shape = [pixels.len(), channels, height, width];
        let values = pixels.into_iter().flat_map(|pixels| pixels.values);
        let values: Vec<f32> = values.collect();
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }
}

//! Conversion of images to pixel values: resize, crop, rescale, normalise.

mod crop;
mod normalize;
mod output_size;
mod resample;

use std::borrow::Cow;

use florence2_postprocess::ImageSize;
use rayon::prelude::*;

use crate::config::PreprocessorConfig;
use crate::error::{Error, Result};
use crate::image::Image;
use crop::center_crop;
use normalize::normalize;
use output_size::output_size;
use resample::resize;

/// The pixel values of a batch of images, the input of the model.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PixelValues {
    /// Values in the order of `shape`.
    pub data: Vec<f32>,
    /// `[batch, channels, height, width]`.
    pub shape: [usize; 4],
}

/// Converts images to pixel values: HF `CLIPImageProcessor`.
#[derive(Debug, Clone)]
pub struct ImageProcessor {
    config: PreprocessorConfig,
    /// The pixel value of each byte, per channel.
    tables: [[f32; 256]; 3],
}

impl ImageProcessor {
    /// Creates a processor from a valid configuration.
    pub fn new(config: PreprocessorConfig) -> Self {
        let tables = std::array::from_fn(|channel| {
            std::array::from_fn(|byte| normalize(&config, channel, byte as f64))
        });
        Self { config, tables }
    }

    /// The configuration.
    pub fn config(&self) -> &PreprocessorConfig {
        &self.config
    }

    /// Computes the pixel values of a batch. All images must have the same size after resizing and
    /// cropping, as with an exact size or a crop.
    ///
    /// # Errors
    /// [`Error::Image`] if the sizes differ or an image cannot be resized.
    pub fn preprocess(&self, images: &[&Image]) -> Result<PixelValues> {
        let resized: Vec<Result<Resized<'_>>> = images
            .par_iter()
            .map(|image| self.resize_and_crop(image))
            .collect();
        let resized: Vec<Resized<'_>> = resized.into_iter().collect::<Result<_>>()?;
        let (width, height) = resized.first().map_or((0, 0), Resized::size);
        if let Some(other) = resized.iter().find(|image| image.size() != (width, height)) {
            let (width, height) = other.size();
            return Err(Error::Image {
                name: "image".to_owned(),
                reason: format!("{width}x{height} after resizing, expected one size in a batch"),
            });
        }
        let channels = self.tables.len();
        let pixels = width as usize * height as usize;
        let mut data = vec![0.0; resized.len() * channels * pixels];
        data.par_chunks_mut(pixels.max(1))
            .enumerate()
            .for_each(|(plane, values)| {
                let channel = plane % channels;
                let table = &self.tables[channel];
                let rgb = &resized[plane / channels].rgb;
                for (value, byte) in values.iter_mut().zip(rgb.iter().skip(channel).step_by(3)) {
                    *value = table[usize::from(*byte)];
                }
            });
        Ok(PixelValues {
            data,
            shape: [images.len(), channels, height as usize, width as usize],
        })
    }

    /// Returns the size of the pixel values of an image of `image_size`, after resizing and cropping.
    ///
    /// # Errors
    /// [`Error::Image`] if the image cannot be resized.
    pub fn output_size(&self, image_size: ImageSize) -> Result<ImageSize> {
        let ImageSize { width, height } = image_size;
        let resized = self.resized_size(width, height)?;
        let (width, height) = self.cropped_size(resized)?.unwrap_or(resized);
        Ok(ImageSize { width, height })
    }

    /// The size (width, height) after resizing.
    fn resized_size(&self, width: u32, height: u32) -> Result<(u32, u32)> {
        if !self.config.do_resize {
            return Ok((width, height));
        }
        output_size(self.config.size, width, height)
    }

    /// The size (width, height) after cropping; `None` without a crop.
    fn cropped_size(&self, (width, height): (u32, u32)) -> Result<Option<(u32, u32)>> {
        let crop_size = self.config.crop_size.filter(|_| self.config.do_center_crop);
        let cropped = crop_size.map(|size| output_size(size, width, height));
        cropped.transpose()
    }

    fn resize_and_crop<'a>(&self, image: &'a Image) -> Result<Resized<'a>> {
        let (mut width, mut height) = self.resized_size(image.width(), image.height())?;
        let mut rgb = if self.config.do_resize {
            resize(image, width, height, self.config.resample)
        } else {
            Cow::Borrowed(image.as_rgb())
        };
        if let Some(size) = self.cropped_size((width, height))? {
            rgb = Cow::Owned(center_crop(&rgb, (width, height), size));
            (width, height) = size;
        }
        Ok(Resized { width, height, rgb })
    }
}

/// An image after resizing and cropping.
struct Resized<'a> {
    width: u32,
    height: u32,
    rgb: Cow<'a, [u8]>,
}

impl Resized<'_> {
    fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }
}

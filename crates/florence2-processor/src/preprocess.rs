//! Conversion of images to pixel values: resize, crop, rescale, normalise.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::config::{MAX_SIDE, PreprocessorConfig, Size};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::resample::resize;

/// The pixel values of a batch of images, the input of the model.
#[derive(Debug, Clone, PartialEq)]
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
            std::array::from_fn(|byte| pixel_value(&config, channel, byte as f64))
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

    fn resize_and_crop<'a>(&self, image: &'a Image) -> Result<Resized<'a>> {
        let (mut width, mut height) = (image.width(), image.height());
        let mut rgb = Cow::Borrowed(image.as_rgb());
        if self.config.do_resize {
            (width, height) = target_size(self.config.size, width, height)?;
            rgb = resize(image, width, height, self.config.resample);
        }
        if self.config.do_center_crop
            && let Some(size) = self.config.crop_size
        {
            let (crop_width, crop_height) = target_size(size, width, height)?;
            let cropped = center_crop(&rgb, (width, height), (crop_width, crop_height));
            (width, height, rgb) = (crop_width, crop_height, Cow::Owned(cropped));
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

fn pixel_value(config: &PreprocessorConfig, channel: usize, byte: f64) -> f32 {
    // The order of operations and the precision of the reference: f32 after rescaling.
    let rescaled = match config.do_rescale {
        true => (byte * config.rescale_factor) as f32,
        false => byte as f32,
    };
    match config.do_normalize {
        true => (rescaled - config.image_mean[channel] as f32) / config.image_std[channel] as f32,
        false => rescaled,
    }
}

/// The size (width, height) of an image after resizing, by HF's functions for each form of `size`
/// and in their order of operations.
fn target_size(size: Size, width: u32, height: u32) -> Result<(u32, u32)> {
    let (wide, high) = (f64::from(width), f64::from(height));
    let (to_width, to_height) = match size {
        Size::Exact { height, width } => (f64::from(width), f64::from(height)),
        // `get_resize_output_image_size`
        Size::ShortestEdge {
            shortest_edge,
            longest_edge: None,
        } => {
            let edge = f64::from(shortest_edge);
            match width <= height {
                true => (edge, edge * high / wide),
                false => (edge * wide / high, edge),
            }
        }
        Size::ShortestEdge {
            shortest_edge,
            longest_edge: Some(longest_edge),
        } => size_with_aspect_ratio((wide, high), shortest_edge.into(), longest_edge.into()),
        // `get_image_size_for_max_height_width`
        Size::Fit {
            max_height,
            max_width,
        } => {
            let scale = (f64::from(max_height) / high).min(f64::from(max_width) / wide);
            (wide * scale, high * scale)
        }
    };
    let holds = |side: f64| (1.0..=f64::from(MAX_SIDE)).contains(&side);
    if !holds(to_width) || !holds(to_height) {
        return Err(Error::Image {
            name: "image".to_owned(),
            reason: format!(
                "{width}x{height} pixels become {:.0}x{:.0} by `size`, expected 1 to {MAX_SIDE} a side",
                to_width.floor(),
                to_height.floor()
            ),
        });
    }
    Ok((to_width as u32, to_height as u32))
}

/// HF `get_size_with_aspect_ratio`.
fn size_with_aspect_ratio((width, height): (f64, f64), edge: f64, longest: f64) -> (f64, f64) {
    let (short, long) = (width.min(height), width.max(height));
    let raw = (long / short * edge > longest).then(|| longest * short / long);
    let edge = raw.map_or(edge, f64::round_ties_even);
    if short == edge {
        return (width, height);
    }
    let other = raw.unwrap_or(edge);
    match width < height {
        true => (edge, other * height / width),
        false => (other * width / height, edge),
    }
}

/// Crops the centre and pads with zeros where the image is smaller: HF `center_crop`.
fn center_crop(
    rgb: &[u8],
    (width, height): (u32, u32),
    (to_width, to_height): (u32, u32),
) -> Vec<u8> {
    let offset = |from: u32, to: u32| (i64::from(from) - i64::from(to)).div_euclid(2);
    let (left, top) = (offset(width, to_width), offset(height, to_height));
    let mut cropped = Vec::with_capacity(to_width as usize * to_height as usize * 3);
    for y in top..top + i64::from(to_height) {
        for x in left..left + i64::from(to_width) {
            let inside = (0..i64::from(width)).contains(&x) && (0..i64::from(height)).contains(&y);
            let index = (y * i64::from(width) + x) as usize * 3;
            cropped.extend_from_slice(if inside {
                &rgb[index..index + 3]
            } else {
                &[0; 3]
            });
        }
    }
    cropped
}

//! Images to pixel values: resize, crop, rescale, normalise.

use fast_image_resize::images::{Image as ResizedImage, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::config::{PreprocessorConfig, Size};
use crate::error::{Error, Result};
use crate::image::Image;

/// What the model reads.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelValues {
    /// Values in the order of `shape`.
    pub data: Vec<f32>,
    /// `[batch, channels, height, width]`.
    pub shape: [usize; 4],
}

/// Turns images into pixel values as the configuration says: HF `CLIPImageProcessor`.
#[derive(Debug, Clone)]
pub struct ImageProcessor {
    config: PreprocessorConfig,
    /// Per channel, the pixel value of each byte.
    tables: [[f32; 256]; 3],
}

impl ImageProcessor {
    /// A processor for a checked configuration.
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

    /// Makes pixel values of a batch. All images must come out at one size, as they do with an
    /// exact size or a crop.
    ///
    /// # Errors
    /// [`Error::Image`] when the sizes differ or an image cannot be resized.
    pub fn preprocess(&self, images: &[&Image]) -> Result<PixelValues> {
        let mut data = Vec::new();
        let mut common = None;
        for image in images {
            let (width, height, rgb) = self.resize_and_crop(image)?;
            if *common.get_or_insert((width, height)) != (width, height) {
                return Err(Error::Image {
                    name: "image".to_owned(),
                    reason: format!(
                        "{width}x{height} after resizing, expected one size in a batch"
                    ),
                });
            }
            let pixels = width as usize * height as usize;
            data.reserve_exact(pixels * 3 * images.len().saturating_sub(data.len() / (pixels * 3)));
            for (channel, table) in self.tables.iter().enumerate() {
                data.extend(
                    rgb.iter()
                        .skip(channel)
                        .step_by(3)
                        .map(|b| table[usize::from(*b)]),
                );
            }
        }
        let (width, height) = common.unwrap_or((0, 0));
        Ok(PixelValues {
            data,
            shape: [images.len(), 3, height as usize, width as usize],
        })
    }

    fn resize_and_crop(&self, image: &Image) -> Result<(u32, u32, Vec<u8>)> {
        let (mut width, mut height) = (image.width(), image.height());
        let mut rgb = image.as_rgb().to_vec();
        if self.config.do_resize {
            (width, height) = target_size(self.config.size, width, height);
            rgb = resize(image, width, height, self.config.resample)?;
        }
        if self.config.do_center_crop
            && let Some(size) = self.config.crop_size
        {
            let (crop_width, crop_height) = target_size(size, 1, 1);
            rgb = center_crop(&rgb, (width, height), (crop_width, crop_height));
            (width, height) = (crop_width, crop_height);
        }
        Ok((width, height, rgb))
    }
}

fn pixel_value(config: &PreprocessorConfig, channel: usize, byte: f64) -> f32 {
    // In the reference's order and precision: f32 after rescaling.
    let rescaled = match config.do_rescale {
        true => (byte * config.rescale_factor) as f32,
        false => byte as f32,
    };
    match config.do_normalize {
        true => (rescaled - config.image_mean[channel] as f32) / config.image_std[channel] as f32,
        false => rescaled,
    }
}

fn target_size(size: Size, width: u32, height: u32) -> (u32, u32) {
    match size {
        Size::Exact { height, width } => (width, height),
        Size::Square(side) => (side, side),
        Size::ShortestEdge { shortest_edge } => {
            let longer = |long: u32, short: u32| {
                (u64::from(shortest_edge) * u64::from(long) / u64::from(short)).max(1) as u32
            };
            match width <= height {
                true => (shortest_edge, longer(height, width)),
                false => (longer(width, height), shortest_edge),
            }
        }
    }
}

/// Pillow's `Image.resize`.
fn resize(image: &Image, width: u32, height: u32, resample: u8) -> Result<Vec<u8>> {
    if (image.width(), image.height()) == (width, height) {
        return Ok(image.as_rgb().to_vec());
    }
    let failed = |error: &dyn std::fmt::Display| Error::Image {
        name: "image".to_owned(),
        reason: format!("cannot be resized to {width}x{height}: {error}"),
    };
    let source = ImageRef::new(
        image.width(),
        image.height(),
        image.as_rgb(),
        PixelType::U8x3,
    )
    .map_err(|error| failed(&error))?;
    let mut resized = ResizedImage::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new()
        .resize_alg(algorithm(resample))
        .use_alpha(false);
    Resizer::new()
        .resize(&source, &mut resized, &options)
        .map_err(|error| failed(&error))?;
    Ok(resized.into_vec())
}

/// Pillow's numbers for its filters; Catmull-Rom is its bicubic (a = -0.5).
fn algorithm(resample: u8) -> ResizeAlg {
    match resample {
        0 => ResizeAlg::Nearest,
        1 => ResizeAlg::Convolution(FilterType::Lanczos3),
        2 => ResizeAlg::Convolution(FilterType::Bilinear),
        4 => ResizeAlg::Convolution(FilterType::Box),
        5 => ResizeAlg::Convolution(FilterType::Hamming),
        _ => ResizeAlg::Convolution(FilterType::CatmullRom),
    }
}

/// The centre, with zeros where the image is smaller: HF `center_crop`.
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

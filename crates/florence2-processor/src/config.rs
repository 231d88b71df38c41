//! `preprocessor_config.json`.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How an image becomes pixel values: HF `CLIPImageProcessor`'s fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PreprocessorConfig {
    /// Whether to resize (default true).
    pub do_resize: bool,
    /// The size to resize to (default 768x768).
    pub size: Size,
    /// Pillow's filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming (default 3).
    pub resample: u8,
    /// Whether to cut out the centre after resizing (default false).
    pub do_center_crop: bool,
    /// The size to cut to (default none).
    pub crop_size: Option<Size>,
    /// Whether to multiply by `rescale_factor` (default true).
    pub do_rescale: bool,
    /// 1/255 by default.
    pub rescale_factor: f64,
    /// Whether to subtract the mean and divide by the deviation (default true).
    pub do_normalize: bool,
    /// Per channel, after rescaling (default .485 .456 .406).
    pub image_mean: [f64; 3],
    /// Per channel, after rescaling (default .229 .224 .225).
    pub image_std: [f64; 3],
}

/// A size in pixels: `{height, width}` or `{shortest_edge}` or a number for a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Size {
    /// Both sides; the aspect ratio is not kept.
    Exact {
        /// Pixels down.
        height: u32,
        /// Pixels across.
        width: u32,
    },
    /// The shorter side; the longer follows.
    ShortestEdge {
        /// Pixels.
        shortest_edge: u32,
    },
    /// A square.
    Square(u32),
}

impl Default for PreprocessorConfig {
    fn default() -> Self {
        Self {
            do_resize: true,
            size: Size::Exact {
                height: 768,
                width: 768,
            },
            resample: 3,
            do_center_crop: false,
            crop_size: None,
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.485, 0.456, 0.406],
            image_std: [0.229, 0.224, 0.225],
        }
    }
}

/// Sides beyond this are a mistake: no Florence-2 has positions for them.
const MAX_SIDE: u32 = 16_384;

impl PreprocessorConfig {
    /// Reads and checks the file's bytes. `file` is named in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the field.
    pub fn from_json(json: &[u8], file: &str) -> Result<Self> {
        let mut fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(json).map_err(|error| Error::malformed(file, error))?;
        // A null means "not set" in these files.
        fields.retain(|_, value| !value.is_null());
        let config: Self =
            serde_json::from_value(fields.into()).map_err(|error| Error::malformed(file, error))?;
        config.validate(file)?;
        Ok(config)
    }

    fn validate(&self, file: &str) -> Result<()> {
        let check = |holds: bool, field: &str, found: String, expected: &str| {
            if holds {
                return Ok(());
            }
            let reason = format!("`{field}`: found {found}, expected {expected}");
            Err(Error::malformed(file, reason))
        };
        for (field, size) in [("size", Some(self.size)), ("crop_size", self.crop_size)] {
            let sides = match size {
                None => continue,
                Some(Size::Exact { height, width }) => [height, width],
                Some(
                    Size::ShortestEdge {
                        shortest_edge: side,
                    }
                    | Size::Square(side),
                ) => [side; 2],
            };
            let holds = sides.iter().all(|side| (1..=MAX_SIDE).contains(side));
            check(
                holds,
                field,
                format!("{sides:?}"),
                "1 to 16384 pixels a side",
            )?;
        }
        check(
            self.resample <= 5,
            "resample",
            self.resample.to_string(),
            "0 to 5",
        )?;
        let deviations = self
            .image_std
            .iter()
            .all(|value| value.is_finite() && *value != 0.0);
        check(
            deviations,
            "image_std",
            format!("{:?}", self.image_std),
            "finite and not 0",
        )?;
        let means = self.image_mean.iter().all(|value| value.is_finite());
        check(
            means,
            "image_mean",
            format!("{:?}", self.image_mean),
            "finite values",
        )
    }
}

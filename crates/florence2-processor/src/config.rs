//! The configuration of the image processor: `preprocessor_config.json`.

use std::path::Path;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Names of the files in a model folder.
pub(crate) const PROCESSOR_CONFIG: &str = "processor_config.json";
pub(crate) const PREPROCESSOR_CONFIG: &str = "preprocessor_config.json";

/// The preprocessing of an image: the fields of HF `CLIPImageProcessor`.
///
/// A missing field has the value of the published Florence-2 checkpoints. Images are always
/// converted to RGB, whatever the file's `do_convert_rgb` is, because the model takes RGB input
/// only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PreprocessorConfig {
    /// Resize the image (default true).
    pub do_resize: bool,
    /// The size after resizing (default 768x768).
    pub size: Size,
    /// Pillow's filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming (default 3).
    pub resample: u8,
    /// Crop the centre after resizing (default false).
    pub do_center_crop: bool,
    /// The size of the crop (default none). A number means a square.
    #[serde(deserialize_with = "square_if_number")]
    pub crop_size: Option<Size>,
    /// Multiply the bytes by `rescale_factor` (default true).
    pub do_rescale: bool,
    /// The factor of rescaling (default 1/255).
    pub rescale_factor: f64,
    /// Subtract the mean and divide by the standard deviation (default true).
    pub do_normalize: bool,
    /// The mean per channel, after rescaling (default .485 .456 .406). A number means all channels.
    #[serde(deserialize_with = "per_channel")]
    pub image_mean: [f64; 3],
    /// The standard deviation per channel, after rescaling (default .229 .224 .225). A number means
    /// all channels.
    #[serde(deserialize_with = "per_channel")]
    pub image_std: [f64; 3],
}

/// The size of an image after resizing, in pixels: one of HF's size dictionaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SizeForm", untagged)]
#[non_exhaustive]
pub enum Size {
    /// Both sides; the aspect ratio is not kept.
    Exact {
        /// The height in pixels.
        height: u32,
        /// The width in pixels.
        width: u32,
    },
    /// The length of the shorter side; the longer side follows from the aspect ratio. A number in
    /// the file means this variant.
    ShortestEdge {
        /// The length of the shorter side in pixels.
        shortest_edge: u32,
        /// The maximum length of the longer side. The shorter side is reduced to keep the aspect
        /// ratio.
        #[serde(skip_serializing_if = "Option::is_none")]
        longest_edge: Option<u32>,
    },
    /// The largest size within both limits that keeps the aspect ratio.
    Fit {
        /// The maximum height in pixels.
        max_height: u32,
        /// The maximum width in pixels.
        max_width: u32,
    },
}

/// The forms of a size in the files.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected height and width, or shortest_edge (and longest_edge), or max_height and \
                 max_width, in whole pixels"
)]
enum SizeForm {
    Number(Side),
    /// Height, width.
    Pair([Side; 2]),
    Fields(SizeFields),
}

#[derive(Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SizeFields {
    height: Option<Side>,
    width: Option<Side>,
    shortest_edge: Option<Side>,
    longest_edge: Option<Side>,
    max_height: Option<Side>,
    max_width: Option<Side>,
}

/// A number of pixels. Files may write it as a float without a fraction.
#[derive(Clone, Copy, PartialEq)]
struct Side(u32);

impl<'de> Deserialize<'de> for Side {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        let is_whole = value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value);
        match is_whole {
            true => Ok(Self(value as u32)),
            false => Err(serde::de::Error::custom(SIZE_KEYS)),
        }
    }
}

/// Deserializes three values, or one value for all channels.
fn per_channel<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f64; 3], D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number or three numbers")]
    enum Form {
        One(f64),
        Three([f64; 3]),
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::One(value) => [value; 3],
        Form::Three(values) => values,
    })
}

impl TryFrom<SizeForm> for Size {
    type Error = &'static str;

    fn try_from(form: SizeForm) -> Result<Self, Self::Error> {
        let fields = match form {
            SizeForm::Number(Side(shortest_edge)) => {
                return Ok(Self::ShortestEdge {
                    shortest_edge,
                    longest_edge: None,
                });
            }
            SizeForm::Pair([Side(height), Side(width)]) => {
                return Ok(Self::Exact { height, width });
            }
            SizeForm::Fields(fields) => fields,
        };
        let size = match fields {
            SizeFields {
                height: Some(Side(height)),
                width: Some(Side(width)),
                ..
            } => Self::Exact { height, width },
            SizeFields {
                shortest_edge: Some(Side(shortest_edge)),
                longest_edge,
                ..
            } => Self::ShortestEdge {
                shortest_edge,
                longest_edge: longest_edge.map(|Side(edge)| edge),
            },
            SizeFields {
                max_height: Some(Side(max_height)),
                max_width: Some(Side(max_width)),
                ..
            } => Self::Fit {
                max_height,
                max_width,
            },
            _ => return Err(SIZE_KEYS),
        };
        // Keys of different forms in one size are an error. No form takes precedence.
        match SizeFields::from(size) == fields {
            true => Ok(size),
            false => Err(SIZE_KEYS),
        }
    }
}

const SIZE_KEYS: &str = "expected height and width, or shortest_edge (and longest_edge), or \
    max_height and max_width, in whole pixels";

impl From<Size> for SizeFields {
    fn from(size: Size) -> Self {
        let mut fields = Self::default();
        match size {
            Size::Exact { height, width } => {
                (fields.height, fields.width) = (Some(Side(height)), Some(Side(width)));
            }
            Size::ShortestEdge {
                shortest_edge,
                longest_edge,
            } => {
                fields.shortest_edge = Some(Side(shortest_edge));
                fields.longest_edge = longest_edge.map(Side);
            }
            Size::Fit {
                max_height,
                max_width,
            } => {
                fields.max_height = Some(Side(max_height));
                fields.max_width = Some(Side(max_width));
            }
        }
        fields
    }
}

fn square_if_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Size>, D::Error> {
    let form = SizeForm::deserialize(deserializer)?;
    let form = match form {
        SizeForm::Number(side) => SizeForm::Pair([side; 2]),
        other => other,
    };
    Size::try_from(form)
        .map(Some)
        .map_err(serde::de::Error::custom)
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

/// The maximum length of a side in pixels: no Florence-2 model has positions for larger images.
pub(crate) const MAX_SIDE: u32 = 16_384;

impl PreprocessorConfig {
    /// Reads a model folder's `processor_config.json` if it contains an `image_processor`, as
    /// transformers 5 writes it, otherwise its `preprocessor_config.json`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file is missing, [`Error::Malformed`] naming the file and the field.
    pub fn from_dir(directory: &Path) -> Result<Self> {
        let path = directory.join(PROCESSOR_CONFIG);
        if path.exists() {
            let (json, name) = (read(&path)?, path.display().to_string());
            if has_image_processor(&json, &name)? {
                return Self::from_json(&json, &name);
            }
        }
        let path = directory.join(PREPROCESSOR_CONFIG);
        Self::from_json(&read(&path)?, &path.display().to_string())
    }

    /// As [`Self::from_dir`], from files in memory: `file` returns the contents of the file of a
    /// name.
    ///
    /// # Errors
    /// As [`Self::from_dir`].
    pub fn from_files<'a>(file: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Self> {
        if let Some(json) = file(PROCESSOR_CONFIG)
            && has_image_processor(json, PROCESSOR_CONFIG)?
        {
            return Self::from_json(json, PROCESSOR_CONFIG);
        }
        match file(PREPROCESSOR_CONFIG) {
            Some(json) => Self::from_json(json, PREPROCESSOR_CONFIG),
            None => Err(Error::Io {
                path: PREPROCESSOR_CONFIG.into(),
                source: std::io::Error::new(std::io::ErrorKind::NotFound, "no such file in memory"),
            }),
        }
    }

    /// Parses and validates the contents of a `preprocessor_config.json`, or of a
    /// `processor_config.json` that contains it as `image_processor`. `file` is the file name for
    /// errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the field.
    pub fn from_json(json: &[u8], file: &str) -> Result<Self> {
        let mut fields: Map<String, Value> =
            serde_json::from_slice(json).map_err(|error| Error::malformed(file, error))?;
        if let Some(Value::Object(nested)) = fields.remove("image_processor") {
            fields = nested;
        }
        // A null means "not set" in these files.
        fields.retain(|_, value| !value.is_null());
        let config: Self = serde_path_to_error::deserialize(Value::from(fields))
            .map_err(|error| Error::malformed(file, error))?;
        config.validate(file)?;
        Ok(config)
    }

    fn validate(&self, file: &str) -> Result<()> {
        let sides = |size: Size| match size {
            Size::Exact { height, width } => [height, width],
            Size::ShortestEdge {
                shortest_edge,
                longest_edge,
            } => [shortest_edge, longest_edge.unwrap_or(shortest_edge)],
            Size::Fit {
                max_height,
                max_width,
            } => [max_height, max_width],
        };
        let in_range = |size: Size| {
            sides(size)
                .into_iter()
                .all(|side| (1..=MAX_SIDE).contains(&side))
        };
        let numbers = [self.rescale_factor]
            .into_iter()
            .chain(self.image_mean)
            .chain(self.image_std);
        let checks: [(bool, &str, String, &str); 5] = [
            (
                in_range(self.size),
                "size",
                format!("{:?}", sides(self.size)),
                "1 to 16384 pixels a side",
            ),
            (
                !self.do_center_crop
                    || matches!(self.crop_size, Some(size @ Size::Exact { .. }) if in_range(size)),
                "crop_size",
                format!("{:?}", self.crop_size),
                "height and width of 1 to 16384 pixels, as do_center_crop is true",
            ),
            (
                self.resample <= 5,
                "resample",
                self.resample.to_string(),
                "0 to 5",
            ),
            (
                !self.image_std.contains(&0.0),
                "image_std",
                format!("{:?}", self.image_std),
                "values other than 0",
            ),
            (
                numbers.into_iter().all(f64::is_finite),
                "rescale_factor, image_mean, image_std",
                "an infinite value".to_owned(),
                "finite values",
            ),
        ];
        for (holds, field, found, expected) in checks {
            if !holds {
                let reason = format!("`{field}`: found {found}, expected {expected}");
                return Err(Error::malformed(file, reason));
            }
        }
        Ok(())
    }
}

/// Returns whether a `processor_config.json` holds the image processor's configuration, as
/// transformers 5 writes it.
fn has_image_processor(json: &[u8], file: &str) -> Result<bool> {
    let fields: Map<String, Value> =
        serde_json::from_slice(json).map_err(|error| Error::malformed(file, error))?;
    Ok(fields.contains_key("image_processor"))
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

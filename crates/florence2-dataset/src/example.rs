//! An example: an image with a prompt and its answer, and the exact annotations.

use std::path::PathBuf;
use std::sync::Arc;

use florence2_postprocess::{
    BoundingBox, Coordinates, ImageSize, PostProcessingType, ScoredText, Shape, parse,
};
use florence2_processor::{DecodeOptions, Image, Prompt};

use crate::report::Source;

/// An example for training or evaluation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Example {
    /// The image file.
    pub image: PathBuf,
    /// The prompt as Florence-2's processor takes it: a task token with its input, or free text. See
    /// [`Prompt::parse`].
    pub prefix: String,
    /// The answer, without `<s>` and `</s>`.
    pub suffix: String,
    /// The place of the entry.
    pub source: Source,
    pub(crate) annotation: Annotation,
}

/// The annotation from which an example was made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Annotation {
    /// The suffix itself.
    Suffix,
    /// Objects in pixels of an image of the stated size.
    Pixels {
        objects: Vec<TruthObject>,
        image_size: ImageSize,
    },
    /// Objects in fractions of the image's size, 0 to 1.
    Fractions(Vec<TruthObject>),
    /// All captions of the image.
    Captions(Arc<[String]>),
}

/// The exact annotations of an example, for evaluation.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Truth {
    /// The objects, in the order of the file.
    pub objects: Vec<TruthObject>,
    /// The reference texts of a task that answers with text: all captions of a COCO image, or the
    /// suffix.
    pub texts: Vec<String>,
}

/// An annotated object. Coordinates are in pixels.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TruthObject {
    /// The class, description or text; empty if the task has none.
    pub label: String,
    /// The box, with its upper left corner first.
    pub bounding_box: BoundingBox,
    /// The outline.
    pub outline: Outline,
    /// COCO `iscrowd`: a group of objects. It is not part of the suffix, and an evaluation counts
    /// neither hits nor misses of it.
    pub is_crowd: bool,
    /// COCO `area` in square pixels, which selects the size class of an evaluation; the area of the box
    /// if the annotation has none.
    pub area: f64,
}

/// The outline of an object. Coordinates are in pixels.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Outline {
    /// The box.
    Box,
    /// The four corners of a text line.
    Quad([[f64; 2]; 4]),
    /// One or more rings.
    Polygons(Vec<Vec<[f64; 2]>>),
    /// A run-length encoded mask.
    Rle(Rle),
}

/// A mask as in COCO: column by column, the lengths of alternating runs of 0 and 1, beginning
/// with 0.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rle {
    /// The size of the mask in pixels.
    pub size: ImageSize,
    /// The lengths of the runs. Their sum is the number of pixels.
    pub counts: Vec<u32>,
}

impl Example {
    /// Creates an example whose annotation is its suffix.
    pub fn new(
        image: impl Into<PathBuf>,
        prefix: impl Into<String>,
        suffix: impl Into<String>,
        source: Source,
    ) -> Self {
        Self {
            image: image.into(),
            prefix: prefix.into(),
            suffix: suffix.into(),
            source,
            annotation: Annotation::Suffix,
        }
    }

    /// The prompt.
    ///
    /// # Errors
    /// [`florence2_processor::Error::UnexpectedInput`]. Examples of a data set have a valid prompt.
    pub fn prompt(&self) -> florence2_processor::Result<Prompt> {
        Prompt::parse(&self.prefix)
    }

    /// The format of the answer; that of plain text if the prefix is not a valid prompt.
    pub fn post_processing_type(&self) -> PostProcessingType {
        let prompt = self.prompt();
        prompt.map_or(PostProcessingType::PureText, |prompt| {
            prompt.post_processing_type()
        })
    }

    /// The size of the image as the annotation states it; `None` if the format states none. The
    /// coordinates of the truth are wrong if the decoded image has another size.
    pub fn annotated_size(&self) -> Option<ImageSize> {
        match &self.annotation {
            Annotation::Pixels { image_size, .. } => Some(*image_size),
            _ => None,
        }
    }

    /// Decodes the image.
    ///
    /// # Errors
    /// Those of [`Image::open`].
    pub fn open_image(&self, options: &DecodeOptions) -> florence2_processor::Result<Image> {
        Image::open_with(&self.image, options)
    }

    /// The exact annotations in pixels. COCO and YOLO: the annotated coordinates, not their bins.
    /// Other formats: the parsed suffix, which has the centres of the bins.
    ///
    /// `image_size` is the size of the decoded image. COCO's coordinates do not depend on it.
    pub fn truth(&self, image_size: ImageSize) -> Truth {
        match &self.annotation {
            Annotation::Suffix => self.parsed_suffix(image_size),
            Annotation::Pixels { objects, .. } => Truth {
                objects: objects.clone(),
                texts: self.reference_texts(),
            },
            Annotation::Fractions(objects) => Truth {
                objects: objects.iter().map(|o| o.scaled(image_size)).collect(),
                texts: self.reference_texts(),
            },
            Annotation::Captions(captions) => Truth {
                objects: Vec::new(),
                texts: captions.to_vec(),
            },
        }
    }

    /// The suffix, if the task answers with text.
    fn reference_texts(&self) -> Vec<String> {
        let is_text = self.post_processing_type() == PostProcessingType::PureText;
        is_text.then(|| self.suffix.clone()).into_iter().collect()
    }

    fn parsed_suffix(&self, image_size: ImageSize) -> Truth {
        let answer = ScoredText::unscored(self.suffix.as_str());
        let post_processing_type = self.post_processing_type();
        let coordinates = Coordinates::BinCenters;
        let result = parse(&answer, post_processing_type, image_size, coordinates);
        let instances = result.regions.chunk_by(|a, b| a.instance == b.instance);
        let objects = instances.map(|rings| {
            let outline = match &rings[0].shape {
                Shape::Box(_) => Outline::Box,
                Shape::Quad(corners) => Outline::Quad(*corners),
                Shape::Polygon(_) => {
                    Outline::Polygons(rings.iter().map(|ring| ring.shape.points()).collect())
                }
            };
            let points = rings.iter().flat_map(|ring| ring.shape.points());
            let bounding_box = Shape::Polygon(points.collect()).bounding_box();
            TruthObject::new(rings[0].label.clone(), bounding_box, outline)
        });
        Truth {
            objects: objects.collect(),
            texts: self.reference_texts(),
        }
    }
}

impl TruthObject {
    /// Creates an object that is no crowd and has the area of its box.
    pub fn new(label: impl Into<String>, bounding_box: BoundingBox, outline: Outline) -> Self {
        let BoundingBox { x1, y1, x2, y2 } = bounding_box;
        Self {
            label: label.into(),
            bounding_box,
            outline,
            is_crowd: false,
            area: (x2 - x1) * (y2 - y1),
        }
    }

    /// Multiplies coordinates by the size of an image.
    fn scaled(&self, image_size: ImageSize) -> Self {
        let (width, height) = (f64::from(image_size.width), f64::from(image_size.height));
        let scale = |[x, y]: [f64; 2]| [x * width, y * height];
        let BoundingBox { x1, y1, x2, y2 } = self.bounding_box;
        let outline = match &self.outline {
            Outline::Quad(corners) => Outline::Quad(corners.map(scale)),
            Outline::Polygons(rings) => {
                let rings = rings.iter();
                Outline::Polygons(
                    rings
                        .map(|ring| ring.iter().copied().map(scale).collect())
                        .collect(),
                )
            }
            other => other.clone(),
        };
        Self {
            label: self.label.clone(),
            bounding_box: BoundingBox::from([x1 * width, y1 * height, x2 * width, y2 * height]),
            outline,
            is_crowd: self.is_crowd,
            area: self.area * width * height,
        }
    }
}

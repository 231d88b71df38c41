//! Input of the evaluation.

use serde::Serialize;

use crate::mask::Mask;

/// Region of which the intersection over union is computed: COCO's `iouType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IouType {
    /// Boxes.
    Bbox,
    /// Masks.
    Segm,
}

/// A class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Its id.
    pub id: u64,
    /// Its name, for the summary.
    pub name: String,
}

/// A true object.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// Id of the image.
    pub image_id: u64,
    /// Id of the class.
    pub category_id: u64,
    /// [x, y, width, height] in pixels.
    pub bbox: [f64; 4],
    /// Area in pixels, by which objects are small, medium or large. COCO uses the mask's area.
    pub area: f64,
    /// Whether the region is a crowd. Detections may match a crowd any number of times, and are then
    /// ignored.
    pub iscrowd: bool,
    /// The mask, which `IouType::Segm` requires. All masks of an image have the same size.
    pub mask: Option<Mask>,
}

/// A detected object.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Id of the image.
    pub image_id: u64,
    /// Id of the class.
    pub category_id: u64,
    /// [x, y, width, height] in pixels.
    pub bbox: [f64; 4],
    /// Confidence. Either all detections have one or none has; detections without scores are all
    /// equal. Detections with equal scores are counted in their order within an image, and images in
    /// the order of their ids.
    pub score: Option<f64>,
    /// The mask, which `IouType::Segm` requires.
    pub mask: Option<Mask>,
}

/// Images, classes and true objects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DetectionDataset {
    /// Ids of all images, also of those without objects.
    pub images: Vec<u64>,
    /// All classes, also those without objects.
    pub categories: Vec<Category>,
    /// All objects.
    pub annotations: Vec<Annotation>,
}

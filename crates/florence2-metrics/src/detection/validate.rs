//! Checks of the input.

use std::collections::{BTreeMap, BTreeSet};

use super::dataset::{Detection, DetectionDataset, IouType};
use crate::bbox::invalid_box;
use crate::error::{InvalidValue, MetricsError};
use crate::mask::Mask;

/// Returns an error that lists all invalid values.
pub(super) fn validate(
    dataset: &DetectionDataset,
    detections: &[Detection],
    iou_type: IouType,
) -> Result<(), MetricsError> {
    let categories: Vec<u64> = dataset
        .categories
        .iter()
        .map(|category| category.id)
        .collect();
    let mut checks = Checks {
        images: dataset.images.iter().copied().collect(),
        categories: categories.iter().copied().collect(),
        mask_sizes: BTreeMap::new(),
        iou_type,
        invalid: Vec::new(),
    };
    checks.unique("images", &dataset.images);
    checks.unique("categories", &categories);
    for (index, annotation) in dataset.annotations.iter().enumerate() {
        let entry = format!("annotations[{index}]");
        checks.ids(&entry, annotation.image_id, annotation.category_id);
        checks.region(
            &entry,
            annotation.image_id,
            annotation.bbox,
            annotation.mask.as_ref(),
        );
        if !(annotation.area.is_finite() && annotation.area >= 0.0) {
            let found = annotation.area.to_string();
            checks.push(&entry, "area", found, "a finite value of at least 0");
        }
    }
    let any_score = detections.iter().any(|detection| detection.score.is_some());
    for (index, detection) in detections.iter().enumerate() {
        let entry = format!("detections[{index}]");
        checks.ids(&entry, detection.image_id, detection.category_id);
        checks.region(
            &entry,
            detection.image_id,
            detection.bbox,
            detection.mask.as_ref(),
        );
        checks.score(&entry, detection.score, any_score);
    }
    MetricsError::check(checks.invalid)
}

struct Checks {
    images: BTreeSet<u64>,
    categories: BTreeSet<u64>,
    /// Height and width of the first mask of each image.
    mask_sizes: BTreeMap<u64, (u32, u32)>,
    iou_type: IouType,
    invalid: Vec<InvalidValue>,
}

impl Checks {
    fn push(&mut self, entry: &str, field: &'static str, found: String, expected: &str) {
        let (entry, expected) = (entry.to_owned(), expected.to_owned());
        self.invalid.push(InvalidValue {
            entry,
            field,
            found,
            expected,
        });
    }

    fn unique(&mut self, list: &str, ids: &[u64]) {
        let mut seen = BTreeSet::new();
        for (index, &id) in ids.iter().enumerate() {
            if !seen.insert(id) {
                let found = format!("{id} a second time");
                self.push(&format!("{list}[{index}]"), "id", found, "unique ids");
            }
        }
    }

    fn ids(&mut self, entry: &str, image: u64, category: u64) {
        if !self.images.contains(&image) {
            self.push(
                entry,
                "image_id",
                image.to_string(),
                "the id of an image of the data set",
            );
        }
        if !self.categories.contains(&category) {
            let expected = "the id of a category of the data set";
            self.push(entry, "category_id", category.to_string(), expected);
        }
    }

    fn region(&mut self, entry: &str, image: u64, bbox: [f64; 4], mask: Option<&Mask>) {
        self.invalid.extend(invalid_box(entry, "bbox", bbox));
        if self.iou_type == IouType::Bbox {
            return;
        }
        let Some(mask) = mask else {
            self.push(
                entry,
                "mask",
                "none".to_owned(),
                "a mask, since the IoU type is segm",
            );
            return;
        };
        let found = (mask.height(), mask.width());
        let expected = *self.mask_sizes.entry(image).or_insert(found);
        if found != expected {
            let found = format!("{} x {} pixels", found.0, found.1);
            let expected = format!(
                "{} x {} as the first mask of image {image}",
                expected.0, expected.1
            );
            self.push(entry, "mask", found, &expected);
        }
    }

    fn score(&mut self, entry: &str, score: Option<f64>, is_required: bool) {
        match score {
            Some(score) if !score.is_finite() => {
                self.push(entry, "score", score.to_string(), "a finite value");
            }
            None if is_required => {
                let expected = "a score, since other detections have one";
                self.push(entry, "score", "none".to_owned(), expected);
            }
            _ => {}
        }
    }
}

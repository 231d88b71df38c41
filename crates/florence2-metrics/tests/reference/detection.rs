//! Average precision and recall against pycocotools' `COCOeval`; boxes against its IoU.

use florence2_metrics::detection::{
    Annotation, Category, Detection, DetectionDataset, DetectionScores, IouType, evaluate,
};
use florence2_metrics::grounding::{self, GroundingSample};
use florence2_metrics::mask::Mask;
use serde::Deserialize;

use crate::{assert_close, fixture};

#[derive(Deserialize)]
struct Case {
    name: String,
    images: Vec<u64>,
    categories: Vec<u64>,
    annotations: Vec<Object>,
    detections: Vec<Object>,
    /// Height and width of all images, for masks.
    size: Option<(u32, u32)>,
    stats: [Option<f64>; 12],
    /// Of each class, in the order of the ids.
    classes: Vec<[Option<f64>; 12]>,
}

#[derive(Deserialize)]
struct Object {
    image_id: u64,
    category_id: u64,
    bbox: [f64; 4],
    area: Option<f64>,
    iscrowd: Option<u8>,
    score: Option<f64>,
    mask: Option<Region>,
}

#[derive(Deserialize)]
struct Region {
    rle: Option<String>,
    polygons: Option<Vec<Vec<f64>>>,
}

impl Region {
    fn mask(&self, (height, width): (u32, u32)) -> Mask {
        if let Some(rle) = &self.rle {
            return Mask::from_compressed(height, width, rle).expect("pycocotools wrote it");
        }
        let polygons = self
            .polygons
            .as_ref()
            .expect("a region is run lengths or polygons");
        let points = |flat: &Vec<f64>| flat.chunks(2).map(|xy| [xy[0], xy[1]]).collect::<Vec<_>>();
        let polygons: Vec<Vec<[f64; 2]>> = polygons.iter().map(points).collect();
        Mask::from_polygons(height, width, &polygons).expect("coordinates are finite")
    }
}

impl Case {
    fn dataset(&self) -> DetectionDataset {
        let category = |&id: &u64| Category {
            id,
            name: format!("class {id}"),
        };
        let annotation = |object: &Object| Annotation {
            image_id: object.image_id,
            category_id: object.category_id,
            bbox: object.bbox,
            area: object.area.expect("annotations have areas"),
            iscrowd: object.iscrowd == Some(1),
            mask: self.mask(object),
        };
        DetectionDataset {
            images: self.images.clone(),
            categories: self.categories.iter().map(category).collect(),
            annotations: self.annotations.iter().map(annotation).collect(),
        }
    }

    fn detections(&self) -> Vec<Detection> {
        let detection = |object: &Object| Detection {
            image_id: object.image_id,
            category_id: object.category_id,
            bbox: object.bbox,
            score: object.score,
            mask: self.mask(object),
        };
        self.detections.iter().map(detection).collect()
    }

    fn mask(&self, object: &Object) -> Option<Mask> {
        Some(object.mask.as_ref()?.mask(self.size?))
    }
}

fn assert_scores(found: &DetectionScores, expected: &[Option<f64>; 12], what: &str) {
    for (index, (found, expected)) in found.to_array().iter().zip(expected).enumerate() {
        assert_eq!(
            found.is_some(),
            expected.is_some(),
            "{what}: number {index}"
        );
        if let (Some(found), Some(expected)) = (found, expected) {
            assert_close(*found, *expected, &format!("{what}: number {index}"));
        }
    }
}

#[test]
fn scores_equal_those_of_pycocotools() {
    for case in fixture::<Case>("detection.json") {
        let iou_type = if case.size.is_some() {
            IouType::Segm
        } else {
            IouType::Bbox
        };
        let summary = evaluate(&case.dataset(), &case.detections(), iou_type).unwrap();
        assert_scores(&summary.overall, &case.stats, &case.name);
        assert_eq!(summary.classes.len(), case.classes.len(), "{}", case.name);
        for (class, expected) in summary.classes.iter().zip(&case.classes) {
            assert_scores(
                &class.scores,
                expected,
                &format!("{}, {}", case.name, class.name),
            );
        }
    }
}

#[derive(Deserialize)]
struct GroundingCase {
    predictions: Vec<Option<[f64; 4]>>,
    references: Vec<[f64; 4]>,
    accuracy: f64,
    mean: f64,
}

#[test]
fn grounding_equals_the_accuracy_of_pycocotools_ious() {
    for case in fixture::<GroundingCase>("grounding.json") {
        let pairs = case.predictions.iter().zip(&case.references);
        let sample = |(&prediction, &reference)| GroundingSample {
            class: None,
            prediction,
            reference,
        };
        let samples: Vec<GroundingSample> = pairs.map(sample).collect();
        let overall = grounding::evaluate(&samples).unwrap().overall;
        assert_close(overall.accuracy, case.accuracy, "accuracy");
        assert_close(overall.mean_iou, case.mean, "mean IoU");
    }
}

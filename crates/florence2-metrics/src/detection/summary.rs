//! The twelve numbers of `COCOeval.summarize`, overall and per class.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::accumulate::{Cell, ClassCells, accumulate};
use super::dataset::{Annotation, Category, Detection, DetectionDataset, IouType};
use super::matching::match_image;
use super::params::THRESHOLDS;
use super::validate::validate;
use crate::error::MetricsError;
use crate::table::{Column, Table};

/// Average precision (AP) and average recall (AR), from 0 to 1. `None` means that there are no true
/// objects; pycocotools returns -1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct DetectionScores {
    /// Average precision over the thresholds 0.50 to 0.95.
    #[serde(rename = "AP")]
    pub ap: Option<f64>,
    /// Average precision at the threshold 0.50.
    #[serde(rename = "AP50")]
    pub ap50: Option<f64>,
    /// Average precision at the threshold 0.75.
    #[serde(rename = "AP75")]
    pub ap75: Option<f64>,
    /// Average precision of small objects, up to 32² pixels.
    #[serde(rename = "APs")]
    pub ap_small: Option<f64>,
    /// Average precision of medium objects, from 32² to 96² pixels.
    #[serde(rename = "APm")]
    pub ap_medium: Option<f64>,
    /// Average precision of large objects, from 96² pixels.
    #[serde(rename = "APl")]
    pub ap_large: Option<f64>,
    /// Average recall with one detection per image and class.
    #[serde(rename = "AR1")]
    pub ar1: Option<f64>,
    /// Average recall with 10 detections per image and class.
    #[serde(rename = "AR10")]
    pub ar10: Option<f64>,
    /// Average recall with 100 detections per image and class.
    #[serde(rename = "AR100")]
    pub ar100: Option<f64>,
    /// Average recall of small objects.
    #[serde(rename = "ARs")]
    pub ar_small: Option<f64>,
    /// Average recall of medium objects.
    #[serde(rename = "ARm")]
    pub ar_medium: Option<f64>,
    /// Average recall of large objects.
    #[serde(rename = "ARl")]
    pub ar_large: Option<f64>,
}

impl DetectionScores {
    /// The scores in pycocotools' order (`COCOeval.stats`).
    pub fn to_array(&self) -> [Option<f64>; 12] {
        [
            self.ap,
            self.ap50,
            self.ap75,
            self.ap_small,
            self.ap_medium,
            self.ap_large,
            self.ar1,
            self.ar10,
            self.ar100,
            self.ar_small,
            self.ar_medium,
            self.ar_large,
        ]
    }
}

/// Scores of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassSummary {
    /// Id of the class.
    pub id: u64,
    /// Name of the class.
    pub name: String,
    /// Number of true objects, with crowds.
    pub annotations: usize,
    /// Number of detections.
    pub detections: usize,
    /// The scores.
    #[serde(flatten)]
    pub scores: DetectionScores,
}

/// Scores of a detector, overall and per class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DetectionSummary {
    /// Region of which the intersection over union was computed.
    pub iou_type: IouType,
    /// Number of images.
    pub images: usize,
    /// Number of true objects, with crowds.
    pub annotations: usize,
    /// Number of detections.
    pub detections: usize,
    /// Means over the classes that have true objects.
    pub overall: DetectionScores,
    /// Scores of each class, in the order of the ids.
    pub classes: Vec<ClassSummary>,
}

/// Evaluates detections as pycocotools' `COCOeval` does.
///
/// # Errors
///
/// If a value is not finite, a size or an area is negative, an id occurs twice or is not in the data
/// set, only some detections have a score, or a mask is missing or differs in size from the others of
/// its image. The error lists all of these.
pub fn evaluate(
    dataset: &DetectionDataset,
    detections: &[Detection],
    iou_type: IouType,
) -> Result<DetectionSummary, MetricsError> {
    validate(dataset, detections, iou_type)?;
    let objects = by_class_and_image(dataset, detections);
    let mut categories: Vec<&Category> = dataset.categories.iter().collect();
    categories.sort_by_key(|category| category.id);
    let evaluated: Vec<(ClassCells, ClassSummary)> = categories
        .into_iter()
        .map(|category| evaluate_class(category, objects.get(&category.id), iou_type))
        .collect();
    let (cells, classes): (Vec<ClassCells>, Vec<ClassSummary>) = evaluated.into_iter().unzip();
    Ok(DetectionSummary {
        iou_type,
        images: dataset.images.len(),
        annotations: dataset.annotations.len(),
        detections: detections.len(),
        overall: scores(&cells),
        classes,
    })
}

/// True and detected objects of one image and class, in the order of the input.
#[derive(Default)]
struct Objects<'a> {
    annotations: Vec<&'a Annotation>,
    detections: Vec<&'a Detection>,
}

/// Objects of one class, by the image's id.
type ClassObjects<'a> = BTreeMap<u64, Objects<'a>>;

/// Groups all objects by the class's id.
fn by_class_and_image<'a>(
    dataset: &'a DetectionDataset,
    detections: &'a [Detection],
) -> BTreeMap<u64, ClassObjects<'a>> {
    let mut objects: BTreeMap<u64, ClassObjects> = BTreeMap::new();
    for annotation in &dataset.annotations {
        let images = objects.entry(annotation.category_id).or_default();
        images
            .entry(annotation.image_id)
            .or_default()
            .annotations
            .push(annotation);
    }
    for detection in detections {
        let images = objects.entry(detection.category_id).or_default();
        images
            .entry(detection.image_id)
            .or_default()
            .detections
            .push(detection);
    }
    objects
}

fn evaluate_class(
    category: &Category,
    objects: Option<&ClassObjects>,
    iou_type: IouType,
) -> (ClassCells, ClassSummary) {
    let images = || objects.into_iter().flat_map(BTreeMap::values);
    let matches: Vec<_> = images()
        .map(|image| match_image(&image.annotations, &image.detections, iou_type))
        .collect();
    let cells = accumulate(&matches);
    let summary = ClassSummary {
        id: category.id,
        name: category.name.clone(),
        annotations: images().map(|image| image.annotations.len()).sum(),
        detections: images().map(|image| image.detections.len()).sum(),
        scores: scores(&[cells]),
    };
    (cells, summary)
}

/// Means over the classes that have true objects and over the thresholds.
fn scores(classes: &[ClassCells]) -> DetectionScores {
    let precision = |cell: &Cell| cell.precision;
    let recall = |cell: &Cell| cell.recall;
    let all = 0..THRESHOLDS;
    let ap = |range, thresholds| mean(classes, range, 2, thresholds, precision);
    let ar = |range, most| mean(classes, range, most, 0..THRESHOLDS, recall);
    DetectionScores {
        ap: ap(0, all.clone()),
        ap50: ap(0, 0..1),
        ap75: ap(0, 5..6),
        ap_small: ap(1, all.clone()),
        ap_medium: ap(2, all.clone()),
        ap_large: ap(3, all),
        ar1: ar(0, 0),
        ar10: ar(0, 1),
        ar100: ar(0, 2),
        ar_small: ar(1, 2),
        ar_medium: ar(2, 2),
        ar_large: ar(3, 2),
    }
}

fn mean(
    classes: &[ClassCells],
    range: usize,
    most: usize,
    thresholds: std::ops::Range<usize>,
    value: impl Fn(&Cell) -> f64,
) -> Option<f64> {
    let cells = classes
        .iter()
        .filter_map(|class| class[range][most].as_ref());
    let values: Vec<f64> = cells
        .flat_map(|cells| &cells[thresholds.clone()])
        .map(value)
        .collect();
    if values.is_empty() {
        return None;
    }
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

impl fmt::Display for DetectionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 12] = [
            "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
        ];
        let mut columns: Vec<Column> = NAMES.map(Column::Score).to_vec();
        columns.extend(["objects", "detections"].map(Column::Count));
        let values = |scores: &DetectionScores, annotations: usize, detections: usize| {
            let counts = [annotations, detections].map(|count| Some(count as f64));
            [scores.to_array().as_slice(), counts.as_slice()].concat()
        };
        let mut table = Table::new("class", &columns);
        for class in &self.classes {
            table.row(
                &class.name,
                &values(&class.scores, class.annotations, class.detections),
            );
        }
        table.row(
            "all",
            &values(&self.overall, self.annotations, self.detections),
        );
        table.fmt(f)
    }
}

//! Mean and cumulative intersection over union.

use std::fmt;

use serde::Serialize;

use super::rle::Mask;
use crate::error::{InvalidValue, MetricsError};
use crate::group::{Group, by_class};
use crate::table::Table;

/// A predicted mask and the true one.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskSample {
    /// Class or other group of the sample, for the scores per class.
    pub class: Option<String>,
    /// The predicted mask: an empty one if nothing was predicted.
    pub prediction: Mask,
    /// The true mask, of the same size.
    pub reference: Mask,
}

/// Scores of masks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MaskScores {
    /// Mean of the samples' intersections over unions. A sample of two empty masks counts 0, as
    /// pycocotools computes it.
    #[serde(rename = "mIoU")]
    pub mean_iou: f64,
    /// Sum of all intersections over the sum of all unions: 0 if all masks are empty.
    #[serde(rename = "cIoU")]
    pub cumulative_iou: f64,
    /// Number of samples.
    pub samples: usize,
}

/// Scores of masks, overall and per class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MaskSummary {
    /// Scores of all samples.
    pub overall: MaskScores,
    /// Scores of the samples of each class, sorted by class. Samples without a class are left out.
    pub classes: Vec<Group<MaskScores>>,
}

/// Computes the mean and the cumulative intersection over union.
///
/// # Errors
///
/// If there are no samples, or if the sizes of a sample's masks differ.
pub fn evaluate(samples: &[MaskSample]) -> Result<MaskSummary, MetricsError> {
    MetricsError::check(
        samples
            .iter()
            .enumerate()
            .filter_map(size_mismatch)
            .collect(),
    )?;
    let areas: Vec<[u64; 2]> = samples.iter().map(intersection_and_union).collect();
    let overall = scores(&areas).ok_or(MetricsError::NoSamples)?;
    let classes = samples.iter().map(|sample| sample.class.as_deref());
    Ok(MaskSummary {
        overall,
        classes: by_class(classes, &areas, scores),
    })
}

fn size_mismatch((index, sample): (usize, &MaskSample)) -> Option<InvalidValue> {
    let [found, expected] =
        [&sample.prediction, &sample.reference].map(|mask| (mask.height(), mask.width()));
    (found != expected).then(|| InvalidValue {
        entry: format!("samples[{index}]"),
        field: "prediction",
        found: format!("a mask of {} x {} pixels", found.0, found.1),
        expected: format!("{} x {} as the reference", expected.0, expected.1),
    })
}

fn intersection_and_union(sample: &MaskSample) -> [u64; 2] {
    let MaskSample {
        prediction,
        reference,
        ..
    } = sample;
    let intersection = prediction
        .intersection_area(reference)
        .expect("sizes are checked");
    let sum = u64::from(prediction.area()) + u64::from(reference.area());
    [u64::from(intersection), sum - u64::from(intersection)]
}

fn scores(areas: &[[u64; 2]]) -> Option<MaskScores> {
    if areas.is_empty() {
        return None;
    }
    let sum: f64 = areas
        .iter()
        .map(|&[intersection, union]| ratio(intersection, union))
        .sum();
    let [intersection, union] = [0, 1].map(|index| areas.iter().map(|pair| pair[index]).sum());
    Some(MaskScores {
        mean_iou: sum / areas.len() as f64,
        cumulative_iou: ratio(intersection, union),
        samples: areas.len(),
    })
}

fn ratio(intersection: u64, union: u64) -> f64 {
    if union == 0 {
        return 0.0;
    }
    intersection as f64 / union as f64
}

impl fmt::Display for MaskSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |scores: &MaskScores| ([scores.mean_iou, scores.cumulative_iou], scores.samples);
        Table::of_classes(["mIoU", "cIoU"], &self.classes, &self.overall, row).fmt(f)
    }
}

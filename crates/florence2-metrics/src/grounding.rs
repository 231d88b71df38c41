//! Accuracy of one box per expression, as RefCOCO is evaluated.

use std::fmt;

use serde::Serialize;

use crate::bbox::{box_iou, invalid_box};
use crate::error::MetricsError;
use crate::group::{Group, by_class};
use crate::table::Table;

/// Smallest intersection over union at which a predicted box is correct.
pub const IOU_THRESHOLD: f64 = 0.5;

/// The predicted box of an expression, and the true one.
#[derive(Debug, Clone, PartialEq)]
pub struct GroundingSample {
    /// Class, split or other group of the sample, for the scores per class.
    pub class: Option<String>,
    /// The predicted box [x, y, width, height], or `None` if there is no prediction, which counts as
    /// wrong.
    pub prediction: Option<[f64; 4]>,
    /// The true box [x, y, width, height].
    pub reference: [f64; 4],
}

/// Scores of predicted boxes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GroundingScores {
    /// Fraction of samples with an intersection over union of at least 0.5.
    #[serde(rename = "accuracy@0.5")]
    pub accuracy: f64,
    /// Mean intersection over union.
    #[serde(rename = "mIoU")]
    pub mean_iou: f64,
    /// Number of samples.
    pub samples: usize,
}

/// Scores of predicted boxes, overall and per class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroundingSummary {
    /// Scores of all samples.
    pub overall: GroundingScores,
    /// Scores of the samples of each class, sorted by class. Samples without a class are left out.
    pub classes: Vec<Group<GroundingScores>>,
}

/// Computes the accuracy at an intersection over union of 0.5.
///
/// # Errors
///
/// If there are no samples, or if a box is not finite or has a negative size.
pub fn evaluate(samples: &[GroundingSample]) -> Result<GroundingSummary, MetricsError> {
    let invalid = samples.iter().enumerate().flat_map(|(index, sample)| {
        let entry = format!("samples[{index}]");
        let prediction = sample.prediction.unwrap_or_default();
        [
            invalid_box(&entry, "prediction", prediction),
            invalid_box(&entry, "reference", sample.reference),
        ]
    });
    MetricsError::check(invalid.flatten().collect())?;
    let iou = |sample: &GroundingSample| {
        sample
            .prediction
            .map_or(0.0, |prediction| box_iou(prediction, sample.reference))
    };
    let ious: Vec<f64> = samples.iter().map(iou).collect();
    let overall = scores(&ious).ok_or(MetricsError::NoSamples)?;
    let classes = samples.iter().map(|sample| sample.class.as_deref());
    Ok(GroundingSummary {
        overall,
        classes: by_class(classes, &ious, scores),
    })
}

fn scores(ious: &[f64]) -> Option<GroundingScores> {
    if ious.is_empty() {
        return None;
    }
    let count = ious.len() as f64;
    let correct = ious.iter().filter(|&&iou| iou >= IOU_THRESHOLD).count();
    Some(GroundingScores {
        accuracy: correct as f64 / count,
        mean_iou: ious.iter().sum::<f64>() / count,
        samples: ious.len(),
    })
}

impl fmt::Display for GroundingSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |scores: &GroundingScores| ([scores.accuracy, scores.mean_iou], scores.samples);
        Table::of_classes(["accuracy@0.5", "mIoU"], &self.classes, &self.overall, row).fmt(f)
    }
}

//! Accuracy of the boxes of phrases.

use florence2_dataset::TruthObject;
use florence2_metrics::box_iou;
use florence2_metrics::grounding::GroundingSample;

use crate::record::{Record, xywh};
use crate::texts::single_spaces;

/// A sample per true object: a phrase with k true boxes is compared with its first k boxes in the
/// answer, which are assigned to the true boxes by decreasing IoU.
pub(crate) fn grounding_samples(record: &Record) -> Vec<GroundingSample> {
    let phrases = phrases(record);
    let is_only = phrases.len() == 1;
    let predicted: Vec<(String, [f64; 4])> = record
        .objects()
        .into_iter()
        .map(|object| (normalise(object.label), xywh(object.bounding_box)))
        .collect();
    let samples = phrases.into_iter().flat_map(|(phrase, references)| {
        let of_phrase = predicted
            .iter()
            .filter(|(label, _)| is_only || *label == phrase);
        let boxes = of_phrase.take(references.len());
        assign(&references, boxes.map(|(_, bbox)| *bbox).collect())
    });
    samples.collect()
}

/// The phrases and their true boxes, in the order of the truth.
fn phrases(record: &Record) -> Vec<(String, Vec<[f64; 4]>)> {
    let mut phrases: Vec<(String, Vec<[f64; 4]>)> = Vec::new();
    for TruthObject {
        label,
        bounding_box,
        ..
    } in record.true_objects()
    {
        let (label, bbox) = (normalise(label), xywh(*bounding_box));
        match phrases.iter_mut().find(|(phrase, _)| *phrase == label) {
            Some((_, boxes)) => boxes.push(bbox),
            None => phrases.push((label, vec![bbox])),
        }
    }
    phrases
}

fn normalise(phrase: &str) -> String {
    single_spaces(phrase).to_lowercase()
}

/// Assigns each predicted box to another true box, in the order of decreasing IoU. There are at most
/// as many predicted boxes as true ones.
fn assign(references: &[[f64; 4]], predicted: Vec<[f64; 4]>) -> Vec<GroundingSample> {
    let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
    for (place, reference) in references.iter().enumerate() {
        for (index, prediction) in predicted.iter().enumerate() {
            pairs.push((box_iou(*prediction, *reference), place, index));
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut assigned = vec![None; references.len()];
    let mut is_free = vec![true; predicted.len()];
    for (_, place, index) in pairs {
        if is_free[index] && assigned[place].is_none() {
            is_free[index] = false;
            assigned[place] = Some(predicted[index]);
        }
    }
    let samples = references.iter().zip(assigned);
    samples
        .map(|(reference, prediction)| GroundingSample {
            class: None,
            prediction,
            reference: *reference,
        })
        .collect()
}

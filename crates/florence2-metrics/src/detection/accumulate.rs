//! Precision and recall of one class over all images: `COCOeval.accumulate`.

use super::matching::{ImageMatches, Outcome};
use super::params::{AREA_RANGES, MAX_DETECTIONS, THRESHOLDS, recall_thresholds};

/// Precision and recall at one threshold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    /// Mean of the precision at 101 recalls.
    pub(super) precision: f64,
    /// Largest recall.
    pub(super) recall: f64,
}

/// Cells of one range of areas and one largest number of detections, for each threshold: `None`
/// if there are no true objects.
pub(super) type Cells = Option<[Cell; THRESHOLDS]>;

/// Cells of one class, by range of areas and by largest number of detections.
pub(super) type ClassCells = [[Cells; MAX_DETECTIONS.len()]; AREA_RANGES.len()];

/// Accumulates the matches of one class, in the order of the images' ids.
pub(super) fn accumulate(images: &[[ImageMatches; AREA_RANGES.len()]]) -> ClassCells {
    std::array::from_fn(|range| {
        let matches: Vec<&ImageMatches> = images.iter().map(|image| &image[range]).collect();
        MAX_DETECTIONS.map(|most| cells(&matches, most))
    })
}

fn cells(images: &[&ImageMatches], most: usize) -> Cells {
    let positives: usize = images.iter().map(|image| image.positives).sum();
    if positives == 0 {
        return None;
    }
    let order = ranking(images, most);
    Some(std::array::from_fn(|threshold| {
        let outcomes = order
            .iter()
            .map(|&(image, place)| images[image].outcomes[threshold][place]);
        cell(outcomes, positives)
    }))
}

/// Returns the image and the place within it of each detection, by decreasing score.
fn ranking(images: &[&ImageMatches], most: usize) -> Vec<(usize, usize)> {
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (index, image) in images.iter().enumerate() {
        order.extend((0..image.scores.len().min(most)).map(|place| (index, place)));
    }
    let score = |&(image, place): &(usize, usize)| images[image].scores[place];
    order.sort_by(|a, b| score(b).partial_cmp(&score(a)).expect("scores are finite"));
    order
}

/// Computes precision and recall from outcomes by decreasing score.
fn cell(outcomes: impl Iterator<Item = Outcome>, positives: usize) -> Cell {
    let (mut true_positives, mut false_positives) = (0.0, 0.0);
    let mut recalls = Vec::new();
    let mut precisions = Vec::new();
    for outcome in outcomes {
        match outcome {
            Outcome::TruePositive => true_positives += 1.0,
            Outcome::FalsePositive => false_positives += 1.0,
            Outcome::Ignored => {}
        }
        recalls.push(true_positives / positives as f64);
        precisions.push(true_positives / (false_positives + true_positives + f64::EPSILON));
    }
    let mut largest = 0.0;
    for precision in precisions.iter_mut().rev() {
        largest = precision.max(largest);
        *precision = largest;
    }
    let interpolated = recall_thresholds().map(|threshold| {
        let place = recalls.partition_point(|&recall| recall < threshold);
        precisions.get(place).copied().unwrap_or(0.0)
    });
    Cell {
        precision: interpolated.iter().sum::<f64>() / interpolated.len() as f64,
        recall: recalls.last().copied().unwrap_or(0.0),
    }
}

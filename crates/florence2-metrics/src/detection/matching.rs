//! Assigns detections of one image and class to true objects: `COCOeval.evaluateImg`.

use super::dataset::{Annotation, Detection, IouType};
use super::params::{AREA_RANGES, MAX_DETECTIONS, THRESHOLDS, iou_thresholds};
use crate::bbox;
use crate::mask::Mask;

/// What a detection is at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    TruePositive,
    FalsePositive,
    /// Matches a crowd or an object outside of the range of areas, or is itself outside of it and
    /// matches nothing.
    Ignored,
}

/// Detections of one image and class in one range of areas.
pub(super) struct ImageMatches {
    /// Scores in decreasing order.
    pub(super) scores: Vec<f64>,
    /// Outcome of each detection, for each threshold.
    pub(super) outcomes: [Vec<Outcome>; THRESHOLDS],
    /// Number of true objects that are neither crowds nor outside of the range.
    pub(super) positives: usize,
}

/// Matches the detections of one image and class in every range of areas. Detections are in the
/// order of the input.
pub(super) fn match_image(
    annotations: &[&Annotation],
    detections: &[&Detection],
    iou_type: IouType,
) -> [ImageMatches; AREA_RANGES.len()] {
    let mut sorted = detections.to_vec();
    // A stable sort in decreasing order. Scores are finite.
    sorted.sort_by(|a, b| score(b).partial_cmp(&score(a)).expect("scores are finite"));
    sorted.truncate(MAX_DETECTIONS[2]);
    let ious = Ious::new(annotations, &sorted, iou_type);
    AREA_RANGES.map(|range| match_range(annotations, &sorted, &ious, iou_type, range))
}

/// Detections without a score get the same one.
fn score(detection: &Detection) -> f64 {
    detection.score.unwrap_or(1.0)
}

fn match_range(
    annotations: &[&Annotation],
    detections: &[&Detection],
    ious: &Ious,
    iou_type: IouType,
    range: (f64, f64),
) -> ImageMatches {
    let is_outside = |area: f64| area < range.0 || area > range.1;
    let is_ignored =
        |index: &usize| annotations[*index].iscrowd || is_outside(annotations[*index].area);
    let (ignored, counted): (Vec<usize>, Vec<usize>) = (0..annotations.len()).partition(is_ignored);
    let positives = counted.len();
    let candidates = Candidates {
        annotations,
        order: [counted, ignored].concat(),
        positives,
    };
    let outside: Vec<bool> = detections
        .iter()
        .map(|detection| is_outside(area(detection, iou_type)))
        .collect();
    ImageMatches {
        scores: detections
            .iter()
            .map(|detection| score(detection))
            .collect(),
        outcomes: iou_thresholds().map(|threshold| candidates.outcomes(threshold, ious, &outside)),
        positives,
    }
}

/// Area of a detection as `COCO.loadRes` computes it, from the box or from the mask.
fn area(detection: &Detection, iou_type: IouType) -> f64 {
    match (iou_type, &detection.mask) {
        (IouType::Segm, Some(mask)) => f64::from(mask.area()),
        _ => bbox::area(detection.bbox),
    }
}

/// True objects of one image and class in one range of areas.
struct Candidates<'a> {
    annotations: &'a [&'a Annotation],
    /// Indices of the objects: those that count, then those that are ignored.
    order: Vec<usize>,
    /// Number of objects that count.
    positives: usize,
}

impl Candidates<'_> {
    /// Returns the outcome of each detection at one threshold. Each is matched with the object of
    /// the largest intersection over union that is still unmatched. `outside` states which
    /// detections are outside of the range of areas.
    fn outcomes(&self, threshold: f64, ious: &Ious, outside: &[bool]) -> Vec<Outcome> {
        let mut matched = vec![false; self.order.len()];
        let mut outcomes = Vec::with_capacity(outside.len());
        for (detection, &is_outside) in outside.iter().enumerate() {
            let best = self.best(detection, threshold, ious, &matched);
            if let Some(place) = best {
                matched[place] = true;
            }
            outcomes.push(match best {
                Some(place) if place < self.positives => Outcome::TruePositive,
                None if !is_outside => Outcome::FalsePositive,
                _ => Outcome::Ignored,
            });
        }
        outcomes
    }

    /// Returns the place in `order` of the object that a detection matches: the last of those with
    /// the largest intersection over union. An ignored object is matched only if no other is.
    fn best(
        &self,
        detection: usize,
        threshold: f64,
        ious: &Ious,
        matched: &[bool],
    ) -> Option<usize> {
        let mut largest = threshold.min(1.0 - 1e-10);
        let mut best = None;
        for (place, &annotation) in self.order.iter().enumerate() {
            if matched[place] && !self.annotations[annotation].iscrowd {
                continue;
            }
            if place >= self.positives && best.is_some_and(|best| best < self.positives) {
                break;
            }
            let iou = ious.get(detection, annotation);
            if iou >= largest {
                largest = iou;
                best = Some(place);
            }
        }
        best
    }
}

/// Intersections over unions of all pairs of one image and class.
struct Ious {
    /// One row per detection.
    values: Vec<f64>,
    annotations: usize,
}

impl Ious {
    fn new(annotations: &[&Annotation], detections: &[&Detection], iou_type: IouType) -> Self {
        let values = match iou_type {
            IouType::Bbox => box_ious(annotations, detections),
            IouType::Segm => mask_ious(annotations, detections),
        };
        Self {
            values,
            annotations: annotations.len(),
        }
    }

    fn get(&self, detection: usize, annotation: usize) -> f64 {
        self.values[detection * self.annotations + annotation]
    }
}

fn box_ious(annotations: &[&Annotation], detections: &[&Detection]) -> Vec<f64> {
    let pairs = detections
        .iter()
        .flat_map(|d| annotations.iter().map(move |a| (d, a)));
    pairs
        .map(|(d, a)| box_iou(d.bbox, a.bbox, a.iscrowd))
        .collect()
}

fn box_iou(detection: [f64; 4], annotation: [f64; 4], iscrowd: bool) -> f64 {
    if iscrowd {
        bbox::box_iou_with_crowd(detection, annotation)
    } else {
        bbox::box_iou(detection, annotation)
    }
}

fn mask_ious(annotations: &[&Annotation], detections: &[&Detection]) -> Vec<f64> {
    let truths: Vec<BoundedMask> = annotations
        .iter()
        .map(|annotation| BoundedMask::new(annotation.mask.as_ref()))
        .collect();
    let detected = detections
        .iter()
        .map(|detection| BoundedMask::new(detection.mask.as_ref()));
    let row = |detected: BoundedMask| {
        let truths = truths.iter().zip(annotations);
        let ious = truths.map(move |(truth, annotation)| detected.iou(truth, annotation.iscrowd));
        ious.collect::<Vec<f64>>()
    };
    detected.flat_map(row).collect()
}

/// A mask with its bounding box, since masks with disjoint boxes need not be compared.
struct BoundedMask<'a> {
    mask: &'a Mask,
    bounding_box: [f64; 4],
}

impl<'a> BoundedMask<'a> {
    fn new(mask: Option<&'a Mask>) -> Self {
        let mask = mask.expect("validation requires masks");
        Self {
            mask,
            bounding_box: mask.bounding_box(),
        }
    }

    fn iou(&self, truth: &BoundedMask, iscrowd: bool) -> f64 {
        if bbox::box_iou(self.bounding_box, truth.bounding_box) == 0.0 {
            return 0.0;
        }
        let iou = if iscrowd {
            self.mask.iou_with_crowd(truth.mask)
        } else {
            self.mask.iou(truth.mask)
        };
        iou.expect("validation requires equal sizes within an image")
    }
}

//! Boxes as [x, y, width, height].

use crate::error::InvalidValue;

/// Returns the intersection over union of two boxes [x, y, width, height] with finite values, as
/// pycocotools computes it: 0 if they do not overlap.
pub fn box_iou(first: [f64; 4], second: [f64; 4]) -> f64 {
    let overlap = intersection(first, second);
    ratio(overlap, area(first) + area(second) - overlap)
}

/// Returns the part of a box that a crowd's box covers, which COCO uses in place of the intersection
/// over union with `iscrowd` ground truth.
pub fn box_iou_with_crowd(detection: [f64; 4], crowd: [f64; 4]) -> f64 {
    ratio(intersection(detection, crowd), area(detection))
}

pub(crate) fn area([_, _, width, height]: [f64; 4]) -> f64 {
    width * height
}

fn intersection(first: [f64; 4], second: [f64; 4]) -> f64 {
    let side = |axis: usize| {
        let end = (first[axis + 2] + first[axis]).min(second[axis + 2] + second[axis]);
        end - first[axis].max(second[axis])
    };
    let (width, height) = (side(0), side(1));
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    width * height
}

/// The areas of boxes of a tiny size are 0, which pycocotools would divide by.
fn ratio(overlap: f64, union: f64) -> f64 {
    if union > 0.0 { overlap / union } else { 0.0 }
}

/// Returns what is invalid about a box: a value that is not finite, a negative size, or a size at
/// which the area overflows.
pub(crate) fn invalid_box(
    entry: &str,
    field: &'static str,
    value: [f64; 4],
) -> Option<InvalidValue> {
    let is_valid = value.iter().all(|value| value.is_finite())
        && value[2] >= 0.0
        && value[3] >= 0.0
        && area(value).is_finite()
        && (value[0] + value[2]).is_finite()
        && (value[1] + value[3]).is_finite();
    (!is_valid).then(|| InvalidValue {
        entry: entry.to_owned(),
        field,
        found: format!("{value:?}"),
        expected: "[x, y, width, height], finite, with sizes of at least 0".to_owned(),
    })
}

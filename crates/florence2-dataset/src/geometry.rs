//! Boxes and polygons in the plane.

use florence2_postprocess::BoundingBox;

use crate::report::Severity;

/// The part of an image's side by which an annotated box may extend beyond the image without a
/// finding: a rounding error of annotation tools.
const TOLERANCE: f64 = 0.01;

/// The fault of an annotated box in an image of a width and a height, and what was found; `None`
/// for a box with an area within the image.
pub(crate) fn box_fault(
    corners: BoundingBox,
    [width, height]: [f64; 2],
) -> Option<(Severity, String)> {
    let BoundingBox { x1, y1, x2, y2 } = corners;
    let found = |what: &str| format!("{what} (x1 {x1:?}, y1 {y1:?}, x2 {x2:?}, y2 {y2:?})");
    if ![x1, y1, x2, y2].iter().all(|value| value.is_finite()) {
        return Some((Severity::Error, found("a box that is not finite")));
    }
    if x1 >= x2 || y1 >= y2 {
        return Some((Severity::Error, found("a box without area")));
    }
    if x2 <= 0.0 || y2 <= 0.0 || x1 >= width || y1 >= height {
        return Some((Severity::Error, found("a box outside the image")));
    }
    let (x_margin, y_margin) = (TOLERANCE * width, TOLERANCE * height);
    let is_within =
        x1 >= -x_margin && y1 >= -y_margin && x2 <= width + x_margin && y2 <= height + y_margin;
    let partly = || (Severity::Warning, found("a box partly outside the image"));
    (!is_within).then(partly)
}

/// The area of a simple polygon, by the shoelace formula.
pub(crate) fn area(ring: &[[f64; 2]]) -> f64 {
    let next = ring.iter().cycle().skip(1);
    let doubled: f64 = ring
        .iter()
        .zip(next)
        .map(|([x1, y1], [x2, y2])| x1 * y2 - x2 * y1)
        .sum();
    0.5 * doubled.abs()
}

/// The part of a polygon within a window: Sutherland and Hodgman's algorithm. Parts of a concave
/// polygon are connected along the window's border.
pub(crate) fn clip(ring: &[[f64; 2]], window: BoundingBox) -> Vec<[f64; 2]> {
    let ring = clip_side(ring, 0, window.x1, 1.0);
    let ring = clip_side(&ring, 0, window.x2, -1.0);
    let ring = clip_side(&ring, 1, window.y1, 1.0);
    clip_side(&ring, 1, window.y2, -1.0)
}

/// The part of a polygon on one side of a line: `sign * (point[axis] - border) >= 0`.
fn clip_side(ring: &[[f64; 2]], axis: usize, border: f64, sign: f64) -> Vec<[f64; 2]> {
    let distance = |point: &[f64; 2]| sign * (point[axis] - border);
    let mut clipped = Vec::with_capacity(ring.len() + 2);
    let previous = ring.iter().cycle().skip(ring.len().saturating_sub(1));
    for (from, to) in previous.zip(ring) {
        let (before, after) = (distance(from), distance(to));
        if (before < 0.0) != (after < 0.0) {
            let share = before / (before - after);
            let mut crossing = [0, 1].map(|axis| from[axis] + share * (to[axis] - from[axis]));
            crossing[axis] = border;
            clipped.push(crossing);
        }
        if after >= 0.0 {
            clipped.push(*to);
        }
    }
    clipped
}

/// The part of a box within a window; `None` if there is none.
pub(crate) fn intersection(corners: BoundingBox, window: BoundingBox) -> Option<BoundingBox> {
    let common = BoundingBox {
        x1: corners.x1.max(window.x1),
        y1: corners.y1.max(window.y1),
        x2: corners.x2.min(window.x2),
        y2: corners.y2.min(window.y2),
    };
    (common.x1 <= common.x2 && common.y1 <= common.y2).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: BoundingBox = BoundingBox {
        x1: 0.0,
        y1: 0.0,
        x2: 10.0,
        y2: 10.0,
    };

    #[test]
    fn a_clipped_polygon_has_the_common_area() {
        let square = [[-5.0, 5.0], [5.0, 5.0], [5.0, 15.0], [-5.0, 15.0]];
        assert_eq!(area(&square), 100.0);
        assert_eq!(area(&clip(&square, WINDOW)), 25.0);
        let diamond = [[5.0, -5.0], [15.0, 5.0], [5.0, 15.0], [-5.0, 5.0]];
        assert_eq!(area(&clip(&diamond, WINDOW)), 100.0);
        let inside = [[1.0, 1.0], [2.0, 1.0], [2.0, 2.0]];
        assert_eq!(clip(&inside, WINDOW), inside);
        let outside = [[11.0, 1.0], [12.0, 1.0], [12.0, 2.0]];
        assert!(clip(&outside, WINDOW).is_empty());
        assert!(clip(&[], WINDOW).is_empty());
    }

    #[test]
    fn faults_of_boxes() {
        let fault = |corners: [f64; 4]| box_fault(corners.into(), [100.0, 50.0]).map(|(s, _)| s);
        let cases = [
            ([0.0, 0.0, 100.0, 50.0], None),
            ([-0.5, 0.0, 100.5, 50.3], None),
            ([-2.0, 0.0, 50.0, 50.0], Some(Severity::Warning)),
            ([0.0, 0.0, 50.0, 51.0], Some(Severity::Warning)),
            ([5.0, 0.0, 5.0, 50.0], Some(Severity::Error)),
            ([6.0, 0.0, 5.0, 50.0], Some(Severity::Error)),
            ([100.0, 0.0, 120.0, 50.0], Some(Severity::Error)),
            ([0.0, f64::NAN, 50.0, 50.0], Some(Severity::Error)),
            ([0.0, 0.0, f64::INFINITY, 50.0], Some(Severity::Error)),
        ];
        for (corners, expected) in cases {
            assert_eq!(fault(corners), expected, "{corners:?}");
        }
    }
}

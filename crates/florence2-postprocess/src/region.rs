//! A region of the image with its confidence, and its JSON form.

use serde::{Deserialize, Serialize};

use crate::shape::{BoundingBox, Shape};

/// The confidence of a region, from the probabilities of its tokens, 0 to 1.
///
/// One location token of 1000 competes with its neighbours: the exact bin has a small probability even
/// if the box is right. A location therefore counts as the generated one if it lies within the location
/// tolerance of the run, [`LOCATION_TOLERANCE`](crate::LOCATION_TOLERANCE) bins on each side by
/// default.
///
/// The definition and the default are those that rank and calibrate best on 1500 generated scenes,
/// measured on the demo model: on other scenes, `overall` ranks detections better than the label alone,
/// and is close to the share of detections that overlap their object by half (BENCHMARKS.md of the
/// repository has the figures). Objects of these scenes are 130 to 420 bins wide. For objects that are
/// much smaller, a smaller tolerance is more meaningful. The scores of other models have not been
/// measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RegionScore {
    /// The probability that the label is right and that no coordinate is off by more than the
    /// tolerance: `label` times `locations`, or `locations` if the region has no label.
    pub overall: f32,
    /// The probability of the label: the geometric mean over its tokens, so that long labels are not
    /// at a disadvantage. The regions of one phrase share it. `None` if the region has no label.
    pub label: Option<f32>,
    /// The probability that a coordinate lies within the tolerance of the generated one, of the least
    /// certain coordinate. If the vocabulary's location tokens are not contiguous, only the generated
    /// bin counts.
    pub locations: f32,
}

/// A region of the image.
///
/// In JSON, it is an object with the keys `kind` (`"box"`, `"quad"` or `"polygon"`), `label`,
/// `points` (see [`Shape::points`]), `bounding_box` (see [`Shape::bounding_box`]), `instance` and
/// `score`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RegionJson", into = "RegionJson")]
#[non_exhaustive]
pub struct Region {
    /// The outline in pixels of the source image.
    pub shape: Shape,
    /// The name of the object; empty if the task has no names.
    pub label: String,
    /// The instance of this region: rings of one object share it.
    pub instance: usize,
    /// The confidence; `None` without token log-probabilities.
    pub score: Option<RegionScore>,
}

impl Region {
    /// Creates a region without a score.
    pub fn new(shape: Shape, label: impl Into<String>, instance: usize) -> Self {
        Self {
            shape,
            label: label.into(),
            instance,
            score: None,
        }
    }
}

/// The fields of a region in JSON. `bounding_box` follows from the points and is not read.
#[derive(Serialize, Deserialize)]
struct RegionJson {
    kind: Kind,
    label: String,
    points: Vec<[f64; 2]>,
    #[serde(skip_deserializing)]
    bounding_box: Option<BoundingBox>,
    instance: usize,
    score: Option<RegionScore>,
}

/// The meaning of the points.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Box,
    Quad,
    Polygon,
}

impl From<Region> for RegionJson {
    fn from(region: Region) -> Self {
        Self {
            kind: match region.shape {
                Shape::Box(_) => Kind::Box,
                Shape::Quad(_) => Kind::Quad,
                Shape::Polygon(_) => Kind::Polygon,
            },
            points: region.shape.points(),
            bounding_box: Some(region.shape.bounding_box()),
            label: region.label,
            instance: region.instance,
            score: region.score,
        }
    }
}

impl TryFrom<RegionJson> for Region {
    type Error = String;

    fn try_from(json: RegionJson) -> Result<Self, Self::Error> {
        let mismatch = |expected| {
            let found = json.points.len();
            format!("`points`: found {found} points, expected {expected}")
        };
        let shape = match (json.kind, json.points.as_slice()) {
            (Kind::Box, [[x1, y1], [x2, y2]]) => {
                Shape::Box(BoundingBox::from([*x1, *y1, *x2, *y2]))
            }
            (Kind::Box, _) => return Err(mismatch("2 for kind \"box\"")),
            (Kind::Quad, [a, b, c, d]) => Shape::Quad([*a, *b, *c, *d]),
            (Kind::Quad, _) => return Err(mismatch("4 for kind \"quad\"")),
            (Kind::Polygon, points) => Shape::Polygon(points.to_vec()),
        };
        Ok(Self {
            shape,
            label: json.label,
            instance: json.instance,
            score: json.score,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_shape_comes_back_from_json() {
        let shapes = [
            Shape::Box(BoundingBox::from([5.0, 2.0, 3.0, 4.0])),
            Shape::Quad([[1.0, 2.0], [3.0, 2.5], [3.0, 4.0], [1.0, 3.5]]),
            Shape::Polygon(vec![[1.0, 2.0], [3.0, 4.0], [5.0, 2.0]]),
            Shape::Polygon(Vec::new()),
        ];
        for shape in shapes {
            let region = Region::new(shape, "car", 3);
            let json = serde_json::to_value(&region).unwrap();
            assert_eq!(serde_json::from_value::<Region>(json).unwrap(), region);
        }
    }

    #[test]
    fn the_keys_are_those_of_the_documentation() {
        let shape = Shape::Box(BoundingBox::from([5.0, 2.0, 3.0, 4.0]));
        let expected = json!({
            "kind": "box",
            "label": "car",
            "points": [[5.0, 2.0], [3.0, 4.0]],
            "bounding_box": [3.0, 2.0, 5.0, 4.0],
            "instance": 0,
            "score": null,
        });
        let found = serde_json::to_value(Region::new(shape, "car", 0)).unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_kind_with_another_number_of_points_is_an_error() {
        for (kind, expected) in [("box", 2), ("quad", 4)] {
            let json = json!({
                "kind": kind, "label": "", "points": [[1.0, 2.0]], "instance": 0, "score": null,
            });
            let error = serde_json::from_value::<Region>(json).unwrap_err();
            let message =
                format!("`points`: found 1 points, expected {expected} for kind \"{kind}\"");
            assert_eq!(error.to_string(), message);
        }
    }
}

//! A region in JSON: `{"kind", "label", "points", "bounding_box", "instance", "score"}`.

use serde::{Deserialize, Serialize};

use crate::shape::{BoundingBox, Shape};
use crate::types::{Region, RegionScore};

/// The fields of a region in JSON. `bounding_box` follows from the points and is not read.
#[derive(Serialize, Deserialize)]
pub(crate) struct RegionJson {
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

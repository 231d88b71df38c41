//! The outline of a region in pixels of the source image.

use serde::{Deserialize, Serialize};

/// A rectangle with horizontal and vertical sides, given by two opposite corners in pixels.
///
/// In JSON, it is the array `[x1, y1, x2, y2]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 4]", into = "[f64; 4]")]
pub struct BoundingBox {
    /// The x coordinate of the first corner.
    pub x1: f64,
    /// The y coordinate of the first corner.
    pub y1: f64,
    /// The x coordinate of the second corner.
    pub x2: f64,
    /// The y coordinate of the second corner.
    pub y2: f64,
}

/// The outline of a region. All coordinates are in pixels of the source image.
///
/// The list is complete: the grammar of Florence-2's answers has no other shape.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A box with its corners in the order in which the model generated them, usually the upper
    /// left corner first. [`Shape::bounding_box`] sorts them.
    Box(BoundingBox),
    /// The four corners `[x, y]` of a text line, in the order in which the model generated them.
    Quad([[f64; 2]; 4]),
    /// One vertex `[x, y]` per point of a closed ring. The ring has at least one point, except with
    /// [`Coordinates::HfIntegers`](crate::Coordinates::HfIntegers), which keeps the empty rings of
    /// malformed answers as transformers does.
    Polygon(Vec<[f64; 2]>),
}

impl BoundingBox {
    /// Returns the box with its upper left corner first: `x1 <= x2` and `y1 <= y2`.
    #[must_use]
    pub fn sorted(self) -> Self {
        Self {
            x1: self.x1.min(self.x2),
            y1: self.y1.min(self.y2),
            x2: self.x1.max(self.x2),
            y2: self.y1.max(self.y2),
        }
    }

    /// Returns the smallest box around some points; `None` without points.
    fn around(points: &[[f64; 2]]) -> Option<Self> {
        let corner = |[x, y]: [f64; 2]| Self::from([x, y, x, y]);
        let points = points.iter().copied().map(corner);
        points.reduce(|all, point| Self {
            x1: all.x1.min(point.x1),
            y1: all.y1.min(point.y1),
            x2: all.x2.max(point.x2),
            y2: all.y2.max(point.y2),
        })
    }
}

impl Shape {
    /// Returns the smallest box around the shape, upper left corner first (`x1 <= x2` and
    /// `y1 <= y2`). All its coordinates are 0 for a polygon without points.
    pub fn bounding_box(&self) -> BoundingBox {
        let around = match self {
            Self::Box(bounding_box) => Some(bounding_box.sorted()),
            Self::Quad(corners) => BoundingBox::around(corners),
            Self::Polygon(ring) => BoundingBox::around(ring),
        };
        around.unwrap_or(BoundingBox::from([0.0; 4]))
    }

    /// Returns the points `[x, y]` that the model generated: the two corners of a box, the four
    /// corners of a quad, the vertices of a polygon.
    pub fn points(&self) -> Vec<[f64; 2]> {
        match self {
            Self::Box(BoundingBox { x1, y1, x2, y2 }) => vec![[*x1, *y1], [*x2, *y2]],
            Self::Quad(corners) => corners.to_vec(),
            Self::Polygon(ring) => ring.clone(),
        }
    }
}

impl From<[f64; 4]> for BoundingBox {
    /// Converts `[x1, y1, x2, y2]`.
    fn from([x1, y1, x2, y2]: [f64; 4]) -> Self {
        Self { x1, y1, x2, y2 }
    }
}

impl From<BoundingBox> for [f64; 4] {
    /// Converts to `[x1, y1, x2, y2]`.
    fn from(BoundingBox { x1, y1, x2, y2 }: BoundingBox) -> Self {
        [x1, y1, x2, y2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounding_boxes_are_sorted_and_points_are_as_generated() {
        let swapped = Shape::Box(BoundingBox::from([30.0, 40.0, 10.0, 20.0]));
        let quad = Shape::Quad([[10.0, 25.0], [30.0, 20.0], [28.0, 40.0], [11.0, 35.0]]);
        let polygon = Shape::Polygon(vec![[10.0, 40.0], [30.0, 20.0]]);
        let expected = BoundingBox::from([10.0, 20.0, 30.0, 40.0]);
        for shape in [&swapped, &quad, &polygon] {
            assert_eq!(shape.bounding_box(), expected, "{shape:?}");
        }
        assert_eq!(swapped.points(), [[30.0, 40.0], [10.0, 20.0]]);
        assert_eq!(quad.points().len(), 4);
        let empty = Shape::Polygon(Vec::new());
        assert_eq!(<[f64; 4]>::from(empty.bounding_box()), [0.0; 4]);
    }
}

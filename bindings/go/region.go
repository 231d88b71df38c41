package florence2

import (
	"encoding/json"
	"math"
)

// Point is a position in pixels of the image, from its upper left corner.
type Point struct{ X, Y float64 }

// MarshalJSON returns the list [x, y].
func (p Point) MarshalJSON() ([]byte, error) { return json.Marshal([2]float64{p.X, p.Y}) }

// Box is a rectangle: its upper left corner (X1, Y1) and its lower right corner (X2, Y2).
type Box struct{ X1, Y1, X2, Y2 float64 }

// MarshalJSON returns the list [x1, y1, x2, y2].
func (b Box) MarshalJSON() ([]byte, error) {
	return json.Marshal([4]float64{b.X1, b.Y1, b.X2, b.Y2})
}

// RegionKind is the meaning of the points of a region.
type RegionKind string

// The kinds of regions.
const (
	// KindBox has two points: opposite corners in the order in which the model generated them, usually the upper left first.
	KindBox RegionKind = "box"
	// KindQuad has four points: the corners of a text line, in the order in which the model generated them.
	KindQuad RegionKind = "quad"
	// KindPolygon has a point for each vertex of a closed ring.
	KindPolygon RegionKind = "polygon"
)

// RegionScore is the model's confidence in a region. All scores are from 0 to 1.
type RegionScore struct {
	// Overall is Label times Locations, or Locations if the region has no label.
	Overall float32 `json:"overall"`
	// Label is the probability of the label: the geometric mean over its tokens. It is nil if the region has no label.
	Label *float32 `json:"label"`
	// Locations is the probability that the least certain coordinate lies within RunOptions.LocationTolerance of the
	// generated one.
	Locations float32 `json:"locations"`
}

// Region is a part of the image, with its label.
type Region struct {
	Kind RegionKind
	// Label is empty if the region has none.
	Label string
	// Points are the points of the shape. Kind is their meaning.
	Points []Point
	// Instance is the number of the object to which the region belongs. The rings of one object share it.
	Instance int
	// Score is nil if the confidence is not known.
	Score *RegionScore
}

// BoundingBox returns the smallest box that contains all points. It is the zero Box for a region without points.
func (r Region) BoundingBox() Box {
	if len(r.Points) == 0 {
		return Box{}
	}
	box := Box{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)}
	for _, point := range r.Points {
		box.X1, box.Y1 = min(box.X1, point.X), min(box.Y1, point.Y)
		box.X2, box.Y2 = max(box.X2, point.X), max(box.Y2, point.Y)
	}
	return box
}

// MarshalJSON returns the object of the region in the library's JSON.
func (r Region) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind        RegionKind   `json:"kind"`
		Label       string       `json:"label"`
		Points      []Point      `json:"points"`
		BoundingBox Box          `json:"bounding_box"`
		Instance    int          `json:"instance"`
		Score       *RegionScore `json:"score"`
	}{r.Kind, r.Label, append([]Point{}, r.Points...), r.BoundingBox(), r.Instance, r.Score})
}

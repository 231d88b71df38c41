import Foundation

/// A region of the image.
public struct Florence2Region: Codable, Sendable, Equatable {
    /// The outline.
    public let shape: Shape
    /// The label; empty for a task without labels.
    public let label: String
    /// The number of the object to which the region belongs. The polygons of one object share it.
    public let instance: Int
    /// The confidence in the region; `nil` if it is not known.
    public let score: Score?

    /// The smallest box around the shape, upper left corner first.
    public var boundingBox: BoundingBox { shape.boundingBox }

    /// The outline of a region.
    public enum Shape: Sendable, Equatable {
        /// A box with its corners in the order in which the model generated them, usually the upper left corner first.
        case box(BoundingBox)
        /// The four corners of a text line, in the order in which the model generated them.
        case quad(Point, Point, Point, Point)
        /// The vertices of a closed ring.
        case polygon([Point])

        /// The points that the model generated: two corners of a box, four corners of a quad, the vertices of a
        /// polygon.
        public var points: [Point] {
            switch self {
            case .box(let box): [Point(x: box.x1, y: box.y1), Point(x: box.x2, y: box.y2)]
            case .quad(let a, let b, let c, let d): [a, b, c, d]
            case .polygon(let ring): ring
            }
        }

        /// The smallest box around the shape, upper left corner first: `x1 <= x2` and `y1 <= y2`. All its coordinates
        /// are 0 for a polygon without points.
        public var boundingBox: BoundingBox {
            let (x, y) = (points.map(\.x), points.map(\.y))
            return BoundingBox(x1: x.min() ?? 0, y1: y.min() ?? 0, x2: x.max() ?? 0, y2: y.max() ?? 0)
        }
    }

    /// A rectangle with horizontal and vertical sides, by two opposite corners in pixels of the image; `[x1, y1, x2,
    /// y2]` in JSON.
    public struct BoundingBox: Codable, Sendable, Hashable {
        /// The x coordinate of the first corner.
        public let x1: Double
        /// The y coordinate of the first corner.
        public let y1: Double
        /// The x coordinate of the second corner.
        public let x2: Double
        /// The y coordinate of the second corner.
        public let y2: Double

        /// A box by two opposite corners.
        public init(x1: Double, y1: Double, x2: Double, y2: Double) {
            (self.x1, self.y1, self.x2, self.y2) = (x1, y1, x2, y2)
        }

        /// The rectangle, with a width and a height of at least 0.
        public var cgRect: CGRect {
            CGRect(x: min(x1, x2), y: min(y1, y2), width: abs(x2 - x1), height: abs(y2 - y1))
        }

        /// Reads `[x1, y1, x2, y2]`.
        public init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            x1 = try values.decode(Double.self)
            y1 = try values.decode(Double.self)
            x2 = try values.decode(Double.self)
            y2 = try values.decode(Double.self)
        }

        /// Writes `[x1, y1, x2, y2]`.
        public func encode(to encoder: any Encoder) throws {
            var values = encoder.unkeyedContainer()
            for value in [x1, y1, x2, y2] { try values.encode(value) }
        }
    }

    /// A position in pixels of the image, from its upper left corner; `[x, y]` in JSON.
    public struct Point: Codable, Sendable, Hashable {
        /// The distance from the left edge.
        public let x: Double
        /// The distance from the upper edge.
        public let y: Double

        /// A point by its coordinates.
        public init(x: Double, y: Double) {
            (self.x, self.y) = (x, y)
        }

        /// The point for Core Graphics.
        public var cgPoint: CGPoint { CGPoint(x: x, y: y) }

        /// Reads `[x, y]`.
        public init(from decoder: any Decoder) throws {
            var pair = try decoder.unkeyedContainer()
            x = try pair.decode(Double.self)
            y = try pair.decode(Double.self)
        }

        /// Writes `[x, y]`.
        public func encode(to encoder: any Encoder) throws {
            var pair = encoder.unkeyedContainer()
            try pair.encode(x)
            try pair.encode(y)
        }
    }

    /// The confidence in a region, from 0 to 1.
    public struct Score: Codable, Sendable, Equatable {
        /// The score to show: `label` times `locations`, or `locations` if the region has no label.
        public let overall: Float
        /// The probability of the label: the geometric mean over its tokens. `nil` if the region has no label.
        public let label: Float?
        /// The probability that the least certain coordinate is within ``Florence2Model/RunOptions/locationTolerance``
        /// of the generated one.
        public let locations: Float
    }
}

extension Florence2Region {
    private enum CodingKeys: String, CodingKey {
        case kind, label, points, instance, score
        case boundingBox = "bounding_box"
    }

    private enum Kind: String, Codable {
        case box, quad, polygon
    }

    /// Reads a region of the JSON of an answer. Throws if the number of points is not that of the kind.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let kind = try values.decode(Kind.self, forKey: .kind)
        let points = try values.decode([Point].self, forKey: .points)
        switch (kind, points.count) {
        case (.box, 2):
            shape = .box(BoundingBox(x1: points[0].x, y1: points[0].y, x2: points[1].x, y2: points[1].y))
        case (.quad, 4): shape = .quad(points[0], points[1], points[2], points[3])
        case (.polygon, _): shape = .polygon(points)
        default:
            throw DecodingError.dataCorruptedError(
                forKey: .points, in: values,
                debugDescription: "found \(points.count) points for the kind \"\(kind.rawValue)\"")
        }
        label = try values.decode(String.self, forKey: .label)
        instance = try values.decode(Int.self, forKey: .instance)
        score = try values.decodeIfPresent(Score.self, forKey: .score)
    }

    /// Writes a region as the library does, with its bounding box.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        let kind: Kind =
            switch shape {
            case .box: .box
            case .quad: .quad
            case .polygon: .polygon
            }
        try values.encode(kind, forKey: .kind)
        try values.encode(label, forKey: .label)
        try values.encode(shape.points, forKey: .points)
        try values.encode(boundingBox, forKey: .boundingBox)
        try values.encode(instance, forKey: .instance)
        try values.encode(score, forKey: .score)
    }
}

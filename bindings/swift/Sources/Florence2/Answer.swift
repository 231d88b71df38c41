import CFlorence2

/// An answer.
public struct Answer: Codable, Sendable, Equatable {
    /// The task's token, or the free prompt.
    public let task: String
    /// The answer without special tokens.
    public let text: String
    /// The answer with special tokens, as the model generated it.
    public let rawText: String
    /// The regions of the answer, in the order of its text.
    public let regions: [Region]
    /// The confidence in the whole answer, 0 to 1: the geometric mean of the probabilities of its tokens. `nil` without
    /// log-probabilities.
    public let score: Float?
    /// Hugging Face's `sequences_scores`.
    public let sequenceScore: Float
    /// The reason for the end of the answer: "end_of_text" or "length".
    public let finishReason: String
    /// The ids of the decoder's tokens, including the start token.
    public let tokenIDs: [UInt32]
    /// The natural log-probabilities of the tokens; 0 for the start token and for forced tokens.
    public let tokenLogProbs: [Float]
    /// The width of the image in pixels.
    public let width: Int
    /// The height of the image in pixels.
    public let height: Int
    /// The durations of the run's stages, in milliseconds.
    public let timings: [String: Double]
    /// The other answers of `num_return_sequences`, best first.
    public let alternatives: [Answer]?

    enum CodingKeys: String, CodingKey {
        case task, text, regions, score, width, height, alternatives
        case rawText = "raw_text"
        case sequenceScore = "sequence_score"
        case finishReason = "finish_reason"
        case tokenIDs = "token_ids"
        case tokenLogProbs = "token_log_probs"
        case timings = "timings_ms"
    }
}

/// A box (two corners), a quad or a polygon, in pixels of the image.
public struct Region: Codable, Sendable, Equatable {
    /// The meaning of the points.
    public enum Kind: String, Codable, Sendable {
        /// Two corners.
        case box
        /// The four corners of a text line.
        case quad
        /// The vertices of a ring.
        case polygon
    }

    /// The meaning of `points`.
    public let kind: Kind
    /// The label; empty for a task without labels.
    public let label: String
    /// The points of the box, quad or polygon.
    public let points: [Point]
    /// The confidence in the region; `nil` without log-probabilities.
    public let score: RegionScore?
    /// The index of the region's object: rings of one object have the same index.
    public let instance: Int
}

/// A position in pixels of the image, from its upper left corner; `[x, y]` in JSON.
public struct Point: Codable, Sendable, Equatable {
    /// The distance from the left edge.
    public let x: Double
    /// The distance from the upper edge.
    public let y: Double

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
public struct RegionScore: Codable, Sendable, Equatable {
    /// `label` times `locations`; `locations` if the region has no label.
    public let overall: Float
    /// The probability of the label: the geometric mean over its tokens.
    public let label: Float?
    /// The probability that the least certain coordinate is within the location tolerance of the generated one.
    public let locations: Float?
}

/// The likelihood of a given answer.
public struct Score: Codable, Sendable, Equatable {
    /// The mean of the tokens' negative log-probabilities.
    public let loss: Float
    /// The target's tokens, including `<s>` and `</s>`.
    public let tokens: [ScoredToken]
}

/// A token of a target.
public struct ScoredToken: Codable, Sendable, Equatable {
    /// The token's id in the vocabulary.
    public let id: UInt32
    /// The token's text.
    public let text: String
    /// The natural log-probability, given the tokens before this one.
    public let logProb: Float

    enum CodingKeys: String, CodingKey {
        case text
        case id = "token_id"
        case logProb = "log_prob"
    }
}

/// A generated token.
public struct Token: Sendable, Equatable {
    /// The index of the token's request in a batch, else 0.
    public let request: Int
    /// The token's id in the vocabulary.
    public let id: UInt32
    /// The token's text.
    public let text: String
    /// The natural log-probability, given the tokens before this one.
    public let logProb: Float
}

extension Token {
    init(_ native: florence2_token) {
        self.init(
            request: native.request, id: native.token_id, text: String(cString: native.text),
            logProb: native.log_prob)
    }
}

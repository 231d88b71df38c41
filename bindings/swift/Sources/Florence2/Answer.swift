import CFlorence2

/// An answer.
public struct Answer: Codable, Sendable, Equatable {
    /// The task's token, or the free prompt.
    public let task: String
    /// The answer without special tokens.
    public let text: String
    /// The answer as the model wrote it.
    public let rawText: String
    /// What it says of places in the image, in its order.
    public let regions: [Region]
    /// How sure the model was of the whole answer, 0 to 1; nil when nothing is known of its tokens.
    public let score: Float?
    /// Hugging Face's `sequences_scores`.
    public let sequenceScore: Float
    /// Why the answer ended: "end_of_text" or "length".
    public let finishReason: String
    /// The decoder's tokens, start token first.
    public let tokenIDs: [UInt32]
    /// Their natural log-probabilities; 0 for the start token and forced ones.
    public let tokenLogProbs: [Float]
    /// Pixels across of the image.
    public let width: Int
    /// Pixels down of the image.
    public let height: Int
    /// Where the time went, in milliseconds.
    public let timings: [String: Double]
    /// The further answers of `num_return_sequences`, best first.
    public let alternatives: [Answer]?

    enum CodingKeys: String, CodingKey {
        case task, regions, score, width, height, alternatives
        case text = "plain_text"
        case rawText = "text"
        case sequenceScore = "sequence_score"
        case finishReason = "finish_reason"
        case tokenIDs = "token_ids"
        case tokenLogProbs = "token_log_probs"
        case timings = "timings_ms"
    }
}

/// A box (two corners), a quad or a polygon, in pixels of the image.
public struct Region: Codable, Sendable, Equatable {
    /// What the points are.
    public enum Kind: String, Codable, Sendable {
        /// Two corners.
        case box
        /// The four corners of a text line.
        case quad
        /// The vertices of a ring.
        case polygon
    }

    /// What `points` are.
    public let kind: Kind
    /// What is there; empty when the task names nothing.
    public let label: String
    /// Where it is.
    public let points: [Point]
    /// How sure the model was; nil when nothing is known of the tokens.
    public let score: RegionScore?
    /// The object that this region belongs to: rings of one object share the number.
    public let instance: Int
}

/// A position in pixels of the image, from its upper left corner; `[x, y]` in JSON.
public struct Point: Codable, Sendable, Equatable {
    /// Pixels to the right.
    public let x: Double
    /// Pixels down.
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

/// Exponentials of mean log-probabilities, from 0 to 1.
public struct RegionScore: Codable, Sendable, Equatable {
    /// Over all of the region's tokens.
    public let overall: Float
    /// Over the label's.
    public let label: Float?
    /// Over the location's.
    public let locations: Float?
}

/// How likely the model finds a given answer.
public struct Score: Codable, Sendable, Equatable {
    /// The mean of the tokens' negative log-probabilities.
    public let loss: Float
    /// The target's tokens, `<s>` and `</s>` included.
    public let tokens: [ScoredToken]
}

/// A token of a target.
public struct ScoredToken: Codable, Sendable, Equatable {
    /// Its number in the vocabulary.
    public let id: UInt32
    /// What it writes.
    public let text: String
    /// Its natural log-probability, given those before it.
    public let logProb: Float

    enum CodingKeys: String, CodingKey {
        case text
        case id = "token_id"
        case logProb = "log_prob"
    }
}

/// A token as it is chosen.
public struct Token: Sendable, Equatable {
    /// The request that it answers: its index in a batch, else 0.
    public let request: Int
    /// Its number in the vocabulary.
    public let id: UInt32
    /// What it writes.
    public let text: String
    /// Its natural log-probability, given those before it.
    public let logProb: Float
}

extension Token {
    init(_ native: florence2_token) {
        self.init(
            request: native.request, id: native.token_id, text: String(cString: native.text),
            logProb: native.log_prob)
    }
}

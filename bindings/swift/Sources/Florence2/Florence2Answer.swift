/// The answer to a request: its text, its regions and its tokens.
///
/// In JSON, it has the keys of the command `florence2 run --format json`.
public struct Florence2Answer: Codable, Sendable, Equatable {
    /// The token of the task, such as `<OD>`. For a free prompt, the text from a `<` at its start to the first `>`, or
    /// the whole prompt.
    public let task: String
    /// The input of the task as text; `nil` if the task has no input.
    public let input: String?
    /// The answer as plain text: without `<s>`, `</s>` and surrounding white space, with locations such as
    /// `<loc_123>`.
    public let text: String
    /// The answer with all special tokens, as the model generated it.
    public let rawText: String
    /// The regions, in the order of the answer.
    public let regions: [Florence2Region]
    /// The answer as `post_process_generation` of Hugging Face's processor returns it: an object with the task's token
    /// as its key.
    public let hf: Florence2JSON
    /// The confidence in the whole answer, 0 to 1: the geometric mean of the probabilities of its tokens, where a
    /// location counts within `locationTolerance`. `nil` if the answer has no tokens but `<s>` and `</s>`.
    public let score: Float?
    /// Hugging Face's `sequences_scores`: the sum of the log-probabilities of the generated tokens, divided by their
    /// number to the power of `lengthPenalty`.
    public let sequenceScore: Float
    /// The reason for the end of the answer.
    public let finishReason: FinishReason
    /// The ids of the decoder's tokens, start token first.
    public let tokenIDs: [UInt32]
    /// The natural log-probabilities of the tokens; 0 for the start token and for forced tokens.
    public let tokenLogProbs: [Float]
    /// The width of the image in pixels.
    public let width: Int
    /// The height of the image in pixels.
    public let height: Int
    /// The durations of the run's stages.
    public let timings: Timings
    /// The other answers of `numReturnSequences`, best first.
    public let alternatives: [Florence2Answer]

    /// The reason for the end of an answer.
    public struct FinishReason: RawRepresentable, Codable, Sendable, Hashable {
        /// The name of the reason in JSON.
        public let rawValue: String

        /// The reason with a name, which a later version of the library may have added.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// The model chose an end token, or completed a stop string.
        public static let endOfText = FinishReason(rawValue: "end_of_text")
        /// The answer was cut off: it reached `maxNewTokens` or `maxLength`, also if an end token is forced there, or
        /// `maxTime` passed.
        public static let length = FinishReason(rawValue: "length")
    }

    /// The durations of the stages of a run. All answers of a batch have the durations of the batch. An answer about
    /// image features has the durations of their encoding.
    public struct Timings: Codable, Sendable, Equatable {
        private let preprocessMilliseconds: Double
        private let visionMilliseconds: Double
        private let generateMilliseconds: Double

        /// The image is resized and normalised.
        public var preprocess: Duration { .milliseconds(preprocessMilliseconds) }
        /// The vision tower and its projection run.
        public var vision: Duration { .milliseconds(visionMilliseconds) }
        /// The encoder and the decoder run.
        public var generate: Duration { .milliseconds(generateMilliseconds) }

        private enum CodingKeys: String, CodingKey {
            case preprocessMilliseconds = "preprocess"
            case visionMilliseconds = "vision"
            case generateMilliseconds = "generate"
        }
    }

    private enum CodingKeys: String, CodingKey {
        case task, input, text, regions, score, width, height, alternatives
        case rawText = "raw_text"
        case hf = "result"
        case sequenceScore = "sequence_score"
        case finishReason = "finish_reason"
        case tokenIDs = "token_ids"
        case tokenLogProbs = "token_log_probs"
        case timings = "timings_ms"
    }
}

extension Florence2Answer {
    /// Reads the JSON of an answer, which has no key `alternatives` if there is only one answer.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        task = try values.decode(String.self, forKey: .task)
        input = try values.decodeIfPresent(String.self, forKey: .input)
        text = try values.decode(String.self, forKey: .text)
        rawText = try values.decode(String.self, forKey: .rawText)
        regions = try values.decode([Florence2Region].self, forKey: .regions)
        hf = try values.decode(Florence2JSON.self, forKey: .hf)
        score = try values.decodeIfPresent(Float.self, forKey: .score)
        sequenceScore = try values.decode(Float.self, forKey: .sequenceScore)
        finishReason = try values.decode(FinishReason.self, forKey: .finishReason)
        tokenIDs = try values.decode([UInt32].self, forKey: .tokenIDs)
        tokenLogProbs = try values.decode([Float].self, forKey: .tokenLogProbs)
        width = try values.decode(Int.self, forKey: .width)
        height = try values.decode(Int.self, forKey: .height)
        timings = try values.decode(Timings.self, forKey: .timings)
        alternatives = try values.decodeIfPresent([Florence2Answer].self, forKey: .alternatives) ?? []
    }
}

/// The likelihood of a given answer.
public struct Florence2TargetScore: Codable, Sendable, Equatable {
    /// The mean of the tokens' negative log-probabilities.
    public let loss: Float
    /// The target's tokens, including `<s>` and `</s>`.
    public let tokens: [Token]

    /// A token of a target.
    public struct Token: Codable, Sendable, Equatable {
        /// The token's id in the vocabulary.
        public let id: UInt32
        /// The token's text, decoded by itself.
        public let text: String
        /// The natural log-probability, given the tokens before this one.
        public let logProb: Float

        private enum CodingKeys: String, CodingKey {
            case text
            case id = "token_id"
            case logProb = "log_prob"
        }
    }
}

/// A value of JSON.
public enum Florence2JSON: Codable, Sendable, Hashable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number.
    case number(Double)
    /// A string.
    case string(String)
    /// An array.
    case array([Florence2JSON])
    /// An object.
    case object([String: Florence2JSON])

    /// Reads any value.
    public init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let bool = try? value.decode(Bool.self) {
            self = .bool(bool)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let string = try? value.decode(String.self) {
            self = .string(string)
        } else if let array = try? value.decode([Florence2JSON].self) {
            self = .array(array)
        } else {
            self = .object(try value.decode([String: Florence2JSON].self))
        }
    }

    /// Writes the value.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }

    /// The value of a key of an object; `nil` if this is no object, or without the key.
    public subscript(key: String) -> Florence2JSON? {
        guard case .object(let values) = self else { return nil }
        return values[key]
    }
}

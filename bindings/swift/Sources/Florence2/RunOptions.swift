import CFlorence2
import Foundation

/// Options of a run. The values of the model's files replace those that are `nil`.
public struct RunOptions: Sendable {
    /// The number of beams of the beam search; 1 for greedy search or sampling.
    public var numBeams: Int?
    /// The number of answers per request, at most `numBeams` without sampling.
    public var numReturnSequences: Int?
    /// The largest number of tokens of an answer, including the end token.
    public var maxNewTokens: Int?
    /// The smallest number of tokens of an answer.
    public var minNewTokens: Int?
    /// The exponent of the length by which a beam's score is divided.
    public var lengthPenalty: Float?
    /// The divisor of the scores of tokens that were already generated.
    public var repetitionPenalty: Float?
    /// The length of token sequences that must not occur twice.
    public var noRepeatNgramSize: Int?
    /// True to sample tokens instead of choosing the most likely ones.
    public var doSample: Bool?
    /// The divisor of the scores before sampling.
    public var temperature: Float?
    /// Sample from the k most likely tokens.
    public var topK: Int?
    /// Sample from the most likely tokens that together reach this probability.
    public var topP: Float?
    /// The seed of the sampling: the same seed gives the same tokens.
    public var seed: UInt64?
    /// Other options as a JSON object with keys of generation_config.json.
    public var generationConfig: String?
    /// True for integer coordinates, as in Hugging Face's transformers.
    public var hfCompat = false
    /// The deadline in milliseconds, after which the run fails with
    /// ``Florence2Error/Status-swift.struct/deadlineExceeded``; 0 for none.
    public var deadlineMilliseconds: UInt64 = 0

    /// The most frequent options. The other options are set by their names.
    public init(numBeams: Int? = nil, maxNewTokens: Int? = nil) {
        self.numBeams = numBeams
        self.maxNewTokens = maxNewTokens
    }

    /// All generation options as one JSON object. The library validates the values.
    func json() throws(Florence2Error) -> String? {
        var options: [String: Any] = [:]
        if let generationConfig {
            let object = try? JSONSerialization.jsonObject(with: Data(generationConfig.utf8))
            guard let object = object as? [String: Any] else {
                throw Florence2Error(
                    status: .invalidArgument, message: "argument `generationConfig`: expected a JSON object")
            }
            options = object
        }
        let named: [(String, Any?)] = [
            ("num_beams", numBeams), ("num_return_sequences", numReturnSequences),
            ("max_new_tokens", maxNewTokens), ("min_new_tokens", minNewTokens),
            ("length_penalty", lengthPenalty), ("repetition_penalty", repetitionPenalty),
            ("no_repeat_ngram_size", noRepeatNgramSize), ("do_sample", doSample),
            ("temperature", temperature), ("top_k", topK), ("top_p", topP), ("seed", seed),
        ]
        for case (let name, let value?) in named { options[name] = value }
        guard !options.isEmpty else { return nil }
        guard JSONSerialization.isValidJSONObject(options),
            let data = try? JSONSerialization.data(withJSONObject: options)
        else {
            throw Florence2Error(
                status: .invalidArgument, message: "argument `options`: found a number that is not finite")
        }
        return String(decoding: data, as: UTF8.self)
    }
}

/// A cancel token of the library: any thread can end a call with it.
final class Cancel: Sendable {
    private let handle: Handle

    init() throws(Florence2Error) {
        handle = Handle(try make { florence2_cancel_new($0, $1) }) { florence2_cancel_free($0) }
    }

    var pointer: OpaquePointer { handle.pointer }

    func fire() { florence2_cancel_fire(handle.pointer) }
}

/// A closure that C calls. It keeps the closure's error, because no error may unwind through the library.
final class Callback<Value> {
    private let closure: (Value) throws -> Void
    /// The closure's first error.
    private(set) var error: (any Error)?

    init(_ closure: @escaping (Value) throws -> Void) { self.closure = closure }

    /// The argument `user` of the C callback, valid as long as this object lives.
    var user: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    /// Calls the closure of `user`. Returns non-zero to end the call of the library, which may report further values
    /// before it stops.
    static func call(_ user: UnsafeMutableRawPointer?, _ value: @autoclosure () -> Value) -> Int32 {
        let callback = Unmanaged<Callback>.fromOpaque(user!).takeUnretainedValue()
        guard callback.error == nil else { return 1 }
        do {
            try callback.closure(value())
            return 0
        } catch {
            callback.error = error
            return 1
        }
    }
}

import CFlorence2
import Foundation

/// How to run; what is nil is as the model's files say.
public struct RunOptions: Sendable {
    /// Beams of the beam search; 1 for greedy search or sampling.
    public var numBeams: Int?
    /// Answers per request, at most `numBeams` without sampling.
    public var numReturnSequences: Int?
    /// Tokens of an answer at most, the end token included.
    public var maxNewTokens: Int?
    /// Tokens of an answer at least.
    public var minNewTokens: Int?
    /// Exponent of the length by which a beam's score is divided.
    public var lengthPenalty: Float?
    /// Divides the scores of tokens already written.
    public var repetitionPenalty: Float?
    /// No sequence of this many tokens occurs twice.
    public var noRepeatNgramSize: Int?
    /// Whether tokens are drawn by their probability.
    public var doSample: Bool?
    /// Divides the scores before drawing.
    public var temperature: Float?
    /// Draws are among this many most likely tokens.
    public var topK: Int?
    /// Draws are among the most likely tokens that together reach this probability.
    public var topP: Float?
    /// The same seed draws the same tokens.
    public var seed: UInt64?
    /// Further options as a JSON object, by their names in generation_config.json.
    public var generationConfig: String?
    /// Whether coordinates are transformers' whole numbers.
    public var hfCompat = false
    /// Milliseconds until the run ends with ``Florence2Error/Status-swift.struct/deadlineExceeded``; 0 for never.
    public var deadlineMilliseconds: UInt64 = 0

    /// Options that differ from the model's own; the others are set by their names.
    public init(numBeams: Int? = nil, maxNewTokens: Int? = nil) {
        self.numBeams = numBeams
        self.maxNewTokens = maxNewTokens
    }

    /// All generation options as one JSON object: the library checks their values.
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

/// Ends runs early, from any thread.
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

import CFlorence2
import Foundation

/// A loaded model: captions, detects, grounds, segments and reads, by a prompt.
///
/// Immutable: any number of threads and tasks may run it at once.
public final class Model: Sendable {
    private let handle: Handle

    /// How to load a model.
    public struct LoadOptions: Sendable {
        /// One of ``Library/devices``, or "auto".
        public var device: String?
        /// How weights are kept and multiplied: "f32", "f16", "bf16" or "int8", as the device has them; `nil` for f32.
        public var dtype: String?
        /// Folders of LoRA adapters, merged in order.
        public var adapters: [String] = []
        /// Threads that the model computes with, its own; 0 for the process's.
        public var threads = 0

        /// On a device, with weights of a type, with so many threads; on the best device in f32 by default.
        public init(device: String? = nil, dtype: String? = nil, threads: Int = 0) {
            self.device = device
            self.dtype = dtype
            self.threads = threads
        }
    }

    private init(
        _ options: LoadOptions,
        _ load: (
            UnsafePointer<florence2_load_options>, UnsafeMutablePointer<OpaquePointer?>,
            UnsafeMutablePointer<OpaquePointer?>
        ) -> Int32
    ) throws(Florence2Error) {
        try Library.checkABI()
        guard options.threads >= 0 else {
            throw Florence2Error(
                status: .invalidArgument, message: "argument `threads`: found \(options.threads), expected 0 or more")
        }
        let texts = CStrings()
        var native = florence2_load_options()
        florence2_load_options_init(&native, MemoryLayout<florence2_load_options>.size)
        native.device = try texts.of(options.device, "device")
        native.dtype = try texts.of(options.dtype, "dtype")
        native.threads = options.threads
        var adapters: [UnsafePointer<CChar>?] = []
        for adapter in options.adapters { adapters.append(try texts.of(adapter, "adapters")) }
        let model = try make { model, error in
            adapters.withUnsafeBufferPointer { adapters in
                native.adapters = adapters.baseAddress
                native.adapters_len = adapters.count
                return load(&native, model, error)
            }
        }
        handle = Handle(model) { florence2_model_free($0) }
        withExtendedLifetime(texts) {}
    }

    /// Loads a model folder in Microsoft's or Hugging Face's layout.
    public convenience init(contentsOf directory: String, options: LoadOptions = .init()) throws(Florence2Error) {
        let texts = CStrings()
        let directory = try texts.of(directory, "directory")
        try self.init(options) { florence2_model_load(directory, $0, $1, $2) }
        withExtendedLifetime(texts) {}
    }

    /// The embedded demo model, which knows coloured shapes and short words.
    public static func demo(options: LoadOptions = .init()) throws(Florence2Error) -> Model {
        try Model(options) { florence2_model_load_demo($0, $1, $2) }
    }

    /// Where the model is, such as "cpu".
    public var device: String { String(cString: florence2_model_device(handle.pointer)) }

    /// Settings and tensors of the model's files that it was loaded without, one line each.
    public var warnings: [String] {
        (0..<florence2_model_warning_count(handle.pointer)).map {
            String(cString: florence2_model_warning(handle.pointer, $0))
        }
    }

    /// Answers a request. `onToken` hears of each token as it is chosen, when the search has one beam; what it throws
    /// ends the run and is thrown here.
    public func run(
        _ request: Request, options: RunOptions = .init(), onToken: ((Token) throws -> Void)? = nil
    ) throws -> Answer {
        try run([request], options: options, onToken: onToken)[0]
    }

    /// Answers requests together, each as it would be answered alone.
    public func run(
        _ requests: [Request], options: RunOptions = .init(), onToken: ((Token) throws -> Void)? = nil
    ) throws -> [Answer] {
        try run(requests, options, Cancel(), onToken)
    }

    /// Answers a request on another thread. Cancelling the task ends the run with `CancellationError`.
    public func run(_ request: Request, options: RunOptions = .init()) async throws -> Answer {
        try await run([request], options: options)[0]
    }

    /// Answers requests together on another thread. Cancelling the task ends the run with `CancellationError`.
    public func run(_ requests: [Request], options: RunOptions = .init()) async throws -> [Answer] {
        let cancel = try Cancel()
        return try await inBackground(cancel) { try self.run(requests, options, cancel, nil) }
    }

    /// The answer's tokens as they are chosen, which one beam gives. Ending the iteration ends the run.
    public func tokens(
        _ request: Request, options: RunOptions = .init(numBeams: 1)
    ) -> AsyncThrowingStream<Token, any Error> {
        AsyncThrowingStream { stream in
            do {
                let cancel = try Cancel()
                stream.onTermination = { _ in cancel.fire() }
                DispatchQueue.global().async {
                    let answers = Swift.Result {
                        try self.run([request], options, cancel) { stream.yield($0) }
                    }
                    switch answers {
                    case .success: stream.finish()
                    case .failure(let error): stream.finish(throwing: error)
                    }
                }
            } catch {
                stream.finish(throwing: error)
            }
        }
    }

    /// Sends an image through the vision tower, once for any number of requests about it.
    public func encode(_ image: Image) throws(Florence2Error) -> ImageFeatures {
        ImageFeatures(
            try make { florence2_model_encode_image(handle.pointer, image.handle.pointer, nil, $0, $1) })
    }

    /// Tells how likely the model finds `target` as the answer.
    public func score(_ request: Request, target: String) throws -> Score {
        let texts = CStrings()
        var native = try request.native(texts)
        let target = try texts.of(target, "target")
        let score = try make { florence2_model_score(handle.pointer, &native, target, nil, $0, $1) }
        defer { florence2_score_free(score) }
        withExtendedLifetime((texts, request)) {}
        return try JSONDecoder().decode(Score.self, from: Data(String(cString: florence2_score_json(score)).utf8))
    }

    private func run(
        _ requests: [Request], _ options: RunOptions, _ cancel: Cancel, _ onToken: ((Token) throws -> Void)?
    ) throws -> [Answer] {
        let texts = CStrings()
        var natives: [florence2_request] = []
        for request in requests { natives.append(try request.native(texts)) }
        var native = florence2_run_options()
        florence2_run_options_init(&native, MemoryLayout<florence2_run_options>.size)
        native.generation_config = try texts.of(try options.json(), "options")
        native.compat = options.hfCompat ? 1 : 0
        native.deadline_ms = options.deadlineMilliseconds
        native.cancel = cancel.pointer
        let listener = onToken.map(TokenListener.init)
        if let listener {
            native.user = Unmanaged.passUnretained(listener).toOpaque()
            // The library passes back `user`, and a token.
            native.on_token = { token, user in
                Unmanaged<TokenListener>.fromOpaque(user!).takeUnretainedValue().hear(token!.pointee)
            }
        }
        var results = [OpaquePointer?](repeating: nil, count: requests.count)
        defer { for result in results { florence2_result_free(result) } }
        do {
            try check { florence2_model_run_batch(handle.pointer, natives, natives.count, &native, &results, $0) }
        } catch {
            throw listener?.failed ?? error
        }
        withExtendedLifetime((texts, requests, cancel, listener)) {}
        return try results.map {
            try JSONDecoder().decode(Answer.self, from: Data(String(cString: florence2_result_json($0)).utf8))
        }
    }
}

/// Does work on another thread; cancelling the task fires `cancel`, and gives `CancellationError`.
private func inBackground<Value: Sendable>(
    _ cancel: Cancel, _ work: @escaping @Sendable () throws -> Value
) async throws -> Value {
    try await withTaskCancellationHandler {
        do {
            return try await withCheckedThrowingContinuation { continuation in
                DispatchQueue.global().async { continuation.resume(with: Swift.Result(catching: work)) }
            }
        } catch let error as Florence2Error where error.status == .cancelled {
            throw CancellationError()
        }
    } onCancel: {
        cancel.fire()
    }
}

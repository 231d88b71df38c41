import CFlorence2
import Foundation

/// A loaded model for captioning, detection, grounding, segmentation and OCR.
///
/// Immutable: any number of threads and tasks may run it at the same time.
///
/// Loads, runs, encodings and scores have a synchronous form, which blocks the thread, and an async form with the same
/// name, which works on another thread and ends with `CancellationError` when the task is cancelled.
public final class Florence2Model: Sendable {
    let handle: Handle

    private init(
        _ source: Source, _ options: LoadOptions, _ cancel: CancelToken?, _ onProgress: ((LoadProgress) throws -> Void)?
    ) throws {
        try Florence2Library.checkABI()
        let arguments = CArguments()
        var native = try options.native(arguments)
        native.cancel = cancel?.pointer
        let callbacks = onProgress.map(LoadCallbacks.init)
        callbacks?.set(&native)
        do {
            handle = Handle(try source.load(&native, arguments)) { florence2_model_free($0) }
        } catch {
            throw callbacks?.error ?? error
        }
        withExtendedLifetime((arguments, cancel, callbacks)) {}
    }

    /// Loads a model folder in Microsoft's or Hugging Face's layout.
    ///
    /// `onProgress` is called before the first tensor and after each, on this thread. An error that it throws ends the
    /// loading and is thrown by this call.
    public convenience init(
        contentsOf folder: URL, options: LoadOptions = .init(), onProgress: ((LoadProgress) throws -> Void)? = nil
    ) throws {
        try self.init(.folder(folder), options, nil, onProgress)
    }

    /// Loads a model from the contents of its folder's files, by their names: config.json, generation_config.json where
    /// the model has one, preprocessor_config.json or processor_config.json, the tokenizer's files, and the weights in
    /// one file or in shards with their index. `onProgress` is called as by ``init(contentsOf:options:onProgress:)``.
    public convenience init(
        files: [String: Data], options: LoadOptions = .init(), onProgress: ((LoadProgress) throws -> Void)? = nil
    ) throws {
        try self.init(.files(files), options, nil, onProgress)
    }

    /// Loads the embedded demo model, which is trained on coloured shapes and short words. `onProgress` is called as by
    /// ``init(contentsOf:options:onProgress:)``.
    public static func demo(
        options: LoadOptions = .init(), onProgress: ((LoadProgress) throws -> Void)? = nil
    ) throws -> Florence2Model {
        try Florence2Model(.demo, options, nil, onProgress)
    }

    /// Loads a model on another thread, which calls `onProgress`. Cancelling the task ends the loading with
    /// `CancellationError`.
    public static func load(
        _ source: Source, options: LoadOptions = .init(),
        onProgress: (@Sendable (LoadProgress) throws -> Void)? = nil
    ) async throws -> Florence2Model {
        let limits = try CallLimits(timeout: nil)
        return try await limits.inBackground { try Florence2Model(source, options, limits.cancel, onProgress) }
    }

    /// The model's device, such as "cpu".
    public var device: String { String(cString: florence2_model_device(handle.pointer)) }

    /// A description of the model as a JSON object with the keys "device", "dtype", "threads", "vocab_size",
    /// "max_new_tokens" and "generation_config".
    public var info: String { String(cString: florence2_model_info_json(handle.pointer)) }

    /// The settings and tensors of the model's files that are not used, one line each.
    public var warnings: [String] {
        (0..<florence2_model_warning_count(handle.pointer)).map {
            String(cString: florence2_model_warning(handle.pointer, $0))
        }
    }

    /// Returns the id of a token, for options such as ``RunOptions/eosTokenID``. Throws if the vocabulary does not
    /// contain the token, which is written as in the tokenizer's file.
    public func tokenID(_ token: String) throws(Florence2Error) -> UInt32 {
        let arguments = CArguments()
        let token = try arguments.string(token, "token")
        var id: UInt32 = 0
        try check { florence2_model_token_id(handle.pointer, token, &id, $0) }
        withExtendedLifetime(arguments) {}
        return id
    }
}

extension Florence2Model {
    /// Runs a request.
    ///
    /// `onToken` is called once per token: during the search with one beam, else after the search for the best answer.
    /// `onProgress` is called once per step of the search. An error that a callback throws ends the run and is thrown
    /// by this call. A callback may call any function of the package, also a run of the same model.
    public func run(
        _ request: Florence2Request, options: RunOptions = .init(), onToken: ((Florence2Token) throws -> Void)? = nil,
        onProgress: ((RunProgress) throws -> Void)? = nil
    ) throws -> Florence2Answer {
        let limits = try CallLimits(timeout: options.timeout)
        return try run(request, options, limits, RunCallbacks(onToken, onProgress))
    }

    /// Runs a request on another thread, which calls the callbacks. Cancelling the task ends the run with
    /// `CancellationError`.
    public func run(
        _ request: Florence2Request, options: RunOptions = .init(),
        onToken: (@Sendable (Florence2Token) throws -> Void)? = nil,
        onProgress: (@Sendable (RunProgress) throws -> Void)? = nil
    ) async throws -> Florence2Answer {
        let limits = try CallLimits(timeout: options.timeout)
        return try await limits.inBackground {
            try self.run(request, options, limits, RunCallbacks(onToken, onProgress))
        }
    }

    /// Runs requests in one batch. Returns an answer or an error for each request: a request that fails does not affect
    /// the others. Each answer is the same as that of a run with this request alone.
    ///
    /// Throws an error that concerns all requests: of the options, the deadline, the device or a callback. The callbacks
    /// are called as in a run of one request. ``Florence2Token/request`` is the index of a token's request.
    public func runBatch(
        _ requests: [Florence2Request], options: RunOptions = .init(),
        onToken: ((Florence2Token) throws -> Void)? = nil, onProgress: ((RunProgress) throws -> Void)? = nil
    ) throws -> [Result<Florence2Answer, Florence2Error>] {
        let limits = try CallLimits(timeout: options.timeout)
        return try runBatch(requests, options, limits, RunCallbacks(onToken, onProgress))
    }

    /// Runs requests in one batch on another thread, which calls the callbacks. Returns an answer or an error for each
    /// request. Cancelling the task ends the run with `CancellationError`.
    public func runBatch(
        _ requests: [Florence2Request], options: RunOptions = .init(),
        onToken: (@Sendable (Florence2Token) throws -> Void)? = nil,
        onProgress: (@Sendable (RunProgress) throws -> Void)? = nil
    ) async throws -> [Result<Florence2Answer, Florence2Error>] {
        let limits = try CallLimits(timeout: options.timeout)
        return try await limits.inBackground {
            try self.runBatch(requests, options, limits, RunCallbacks(onToken, onProgress))
        }
    }

    /// Runs a request on another thread and returns its tokens: during the search with one beam, else after it. Ending
    /// the iteration ends the run.
    public func tokens(
        _ request: Florence2Request, options: RunOptions = .init(numBeams: 1)
    ) -> AsyncThrowingStream<Florence2Token, any Error> {
        AsyncThrowingStream { stream in
            do {
                let limits = try CallLimits(timeout: options.timeout)
                stream.onTermination = { _ in limits.cancel.fire() }
                DispatchQueue.global().async {
                    let callbacks = RunCallbacks({ stream.yield($0) }, nil)
                    switch Result(catching: { try self.run(request, options, limits, callbacks) }) {
                    case .success: stream.finish()
                    case .failure(let error): stream.finish(throwing: error)
                    }
                }
            } catch {
                stream.finish(throwing: error)
            }
        }
    }

    /// Runs the vision tower on an image, once for any number of requests to this model. With a `timeout`, it fails with
    /// ``Florence2Error/Status-swift.struct/deadlineExceeded`` after this time.
    public func encodeImage(
        _ image: Florence2Image, timeout: Duration? = nil
    ) throws(Florence2Error) -> Florence2ImageFeatures {
        try encodeImage(image, CallLimits(timeout: timeout))
    }

    /// Runs the vision tower on an image on another thread. Cancelling the task ends it with `CancellationError`.
    public func encodeImage(_ image: Florence2Image, timeout: Duration? = nil) async throws -> Florence2ImageFeatures {
        let limits = try CallLimits(timeout: timeout)
        return try await limits.inBackground { try self.encodeImage(image, limits) }
    }

    /// Returns the likelihood of `target` as the answer. `target` is written as the model would generate it, without
    /// `<s>` and `</s>`. With a `timeout`, it fails with ``Florence2Error/Status-swift.struct/deadlineExceeded`` after
    /// this time.
    public func score(
        _ request: Florence2Request, target: String, timeout: Duration? = nil
    ) throws(Florence2Error) -> Florence2TargetScore {
        try score(request, target, CallLimits(timeout: timeout))
    }

    /// Returns the likelihood of `target` as the answer, computed on another thread. Cancelling the task ends the call
    /// with `CancellationError`.
    public func score(
        _ request: Florence2Request, target: String, timeout: Duration? = nil
    ) async throws -> Florence2TargetScore {
        let limits = try CallLimits(timeout: timeout)
        return try await limits.inBackground { try self.score(request, target, limits) }
    }
}

extension Florence2Model {
    private func run(
        _ request: Florence2Request, _ options: RunOptions, _ limits: CallLimits, _ callbacks: RunCallbacks
    ) throws -> Florence2Answer {
        let arguments = CArguments()
        var native = try request.native(arguments)
        var nativeOptions = try options.native(arguments)
        try limits.set(&nativeOptions)
        callbacks.set(&nativeOptions)
        let result: OpaquePointer
        do {
            result = try make { florence2_model_run(handle.pointer, &native, &nativeOptions, $0, $1) }
        } catch {
            throw callbacks.error ?? error
        }
        defer { florence2_result_free(result) }
        withExtendedLifetime((arguments, request, limits, callbacks)) {}
        return try decode(florence2_result_json(result))
    }

    private func runBatch(
        _ requests: [Florence2Request], _ options: RunOptions, _ limits: CallLimits, _ callbacks: RunCallbacks
    ) throws -> [Result<Florence2Answer, Florence2Error>] {
        let arguments = CArguments()
        var natives: [florence2_request] = []
        for request in requests { natives.append(try request.native(arguments)) }
        var nativeOptions = try options.native(arguments)
        try limits.set(&nativeOptions)
        callbacks.set(&nativeOptions)
        var results = [OpaquePointer?](repeating: nil, count: requests.count)
        var errors = [OpaquePointer?](repeating: nil, count: requests.count)
        defer {
            for result in results { florence2_result_free(result) }
            for error in errors { florence2_error_free(error) }
        }
        do {
            try check {
                florence2_model_run_batch(
                    handle.pointer, natives, natives.count, &nativeOptions, &results, &errors, $0)
            }
        } catch {
            throw callbacks.error ?? error
        }
        withExtendedLifetime((arguments, requests, limits, callbacks)) {}
        return try zip(results, errors).map { result, error in
            guard let result else { return .failure(Florence2Error(florence2_error_status(error), error)) }
            return .success(try decode(florence2_result_json(result)))
        }
    }

    private func encodeImage(
        _ image: Florence2Image, _ limits: CallLimits
    ) throws(Florence2Error) -> Florence2ImageFeatures {
        var options = try limits.options()
        let features = try make {
            florence2_model_encode_image(handle.pointer, image.handle.pointer, &options, $0, $1)
        }
        withExtendedLifetime((image, limits)) {}
        return Florence2ImageFeatures(features)
    }

    private func score(
        _ request: Florence2Request, _ target: String, _ limits: CallLimits
    ) throws(Florence2Error) -> Florence2TargetScore {
        let arguments = CArguments()
        var native = try request.native(arguments)
        let target = try arguments.string(target, "target")
        var options = try limits.options()
        let score = try make { florence2_model_score(handle.pointer, &native, target, &options, $0, $1) }
        defer { florence2_score_free(score) }
        withExtendedLifetime((arguments, request, limits)) {}
        return try decode(florence2_score_json(score))
    }
}

/// Reads JSON of the library. An error is a difference between this package and the library.
private func decode<Value: Decodable>(_ json: UnsafePointer<CChar>) throws(Florence2Error) -> Value {
    do {
        return try JSONDecoder().decode(Value.self, from: Data(bytes: json, count: strlen(json)))
    } catch {
        throw Florence2Error(status: .notInThisBuild, message: "libflorence2: found JSON of another version: \(error)")
    }
}

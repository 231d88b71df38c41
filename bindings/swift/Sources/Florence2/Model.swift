import CFlorence2
import Foundation

/// A loaded model for captioning, detection, grounding, segmentation and OCR.
///
/// Immutable: any number of threads and tasks may run it at once.
public final class Model: Sendable {
    private let handle: Handle

    private init(
        _ source: Source, _ options: LoadOptions, _ cancel: Cancel?, _ onProgress: ((LoadProgress) throws -> Void)?
    ) throws {
        try Library.checkABI()
        let arguments = CArguments()
        var native = try options.native(arguments)
        native.cancel = cancel?.pointer
        let callback = onProgress.map(Callback<LoadProgress>.init)
        if let callback {
            native.user = callback.user
            native.on_progress = { progress, user in
                Callback<LoadProgress>.call(user, LoadProgress(progress!.pointee))
            }
        }
        let model: OpaquePointer
        do {
            switch source {
            case .folder(let directory):
                let directory = try arguments.string(directory, "directory")
                model = try make { florence2_model_load(directory, &native, $0, $1) }
            case .files(let files):
                let array = try arguments.files(files, "files")
                model = try make { florence2_model_load_memory(array, files.count, &native, $0, $1) }
            case .demo:
                model = try make { florence2_model_load_demo(&native, $0, $1) }
            }
        } catch {
            throw callback?.error ?? error
        }
        handle = Handle(model) { florence2_model_free($0) }
        withExtendedLifetime((arguments, cancel, callback)) {}
    }

    /// Loads a model folder in Microsoft's or Hugging Face's layout.
    ///
    /// `onProgress` is called before the first tensor and after each, on this thread. An error that it throws ends the
    /// loading and is thrown by this call.
    public convenience init(
        contentsOf directory: String, options: LoadOptions = .init(),
        onProgress: ((LoadProgress) throws -> Void)? = nil
    ) throws {
        try self.init(.folder(directory), options, nil, onProgress)
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
    ) throws -> Model {
        try Model(.demo, options, nil, onProgress)
    }

    /// Loads a model on another thread, which calls `onProgress`. Cancelling the task ends the loading with
    /// `CancellationError`.
    public static func load(
        _ source: Source, options: LoadOptions = .init(),
        onProgress: (@Sendable (LoadProgress) throws -> Void)? = nil
    ) async throws -> Model {
        let cancel = try Cancel()
        return try await inBackground(cancel) { try Model(source, options, cancel, onProgress) }
    }

    /// The model's device, such as "cpu".
    public var device: String { String(cString: florence2_model_device(handle.pointer)) }

    /// The settings and tensors of the model's files that are not used, one line each.
    public var warnings: [String] {
        (0..<florence2_model_warning_count(handle.pointer)).map {
            String(cString: florence2_model_warning(handle.pointer, $0))
        }
    }

    /// Answers a request.
    ///
    /// `onToken` is called once per token: during the search with one beam, else after the search for the best answer.
    /// An error that it throws ends the run and is thrown by this call.
    public func run(
        _ request: Request, options: RunOptions = .init(), onToken: ((Token) throws -> Void)? = nil
    ) throws -> Answer {
        try run([request], options: options, onToken: onToken)[0]
    }

    /// Answers requests in one batch. Each answer is the same as that of a run with this request alone.
    public func run(
        _ requests: [Request], options: RunOptions = .init(), onToken: ((Token) throws -> Void)? = nil
    ) throws -> [Answer] {
        try run(requests, options, Cancel(), onToken).map { try $0.get() }
    }

    /// Answers requests in one batch. Returns an answer or an error for each request: a request that fails does not
    /// affect the others. Throws an error of the options, the deadline, the device or the callback.
    public func runEach(
        _ requests: [Request], options: RunOptions = .init(), onToken: ((Token) throws -> Void)? = nil
    ) throws -> [Result<Answer, Florence2Error>] {
        try run(requests, options, Cancel(), onToken, each: true)
    }

    /// Answers a request on another thread. Cancelling the task ends the run with `CancellationError`.
    public func run(_ request: Request, options: RunOptions = .init()) async throws -> Answer {
        try await run([request], options: options)[0]
    }

    /// Answers requests in one batch on another thread. Cancelling the task ends the run with `CancellationError`.
    public func run(_ requests: [Request], options: RunOptions = .init()) async throws -> [Answer] {
        let cancel = try Cancel()
        return try await inBackground(cancel) {
            try self.run(requests, options, cancel, nil).map { try $0.get() }
        }
    }

    /// Answers requests in one batch on another thread. Returns an answer or an error for each request. Cancelling the
    /// task ends the run with `CancellationError`.
    public func runEach(
        _ requests: [Request], options: RunOptions = .init()
    ) async throws -> [Result<Answer, Florence2Error>] {
        let cancel = try Cancel()
        return try await inBackground(cancel) { try self.run(requests, options, cancel, nil, each: true) }
    }

    /// The answer's tokens: during the search with one beam, else after it. Ending the iteration ends the run.
    public func tokens(
        _ request: Request, options: RunOptions = .init(numBeams: 1)
    ) -> AsyncThrowingStream<Token, any Error> {
        AsyncThrowingStream { stream in
            do {
                let cancel = try Cancel()
                stream.onTermination = { _ in cancel.fire() }
                DispatchQueue.global().async {
                    let answers = Result {
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

    /// Runs the vision tower on an image, once for any number of requests.
    public func encode(_ image: Image) throws(Florence2Error) -> ImageFeatures {
        ImageFeatures(
            try make { florence2_model_encode_image(handle.pointer, image.handle.pointer, nil, $0, $1) })
    }

    /// Returns the likelihood of `target` as the answer.
    public func score(_ request: Request, target: String) throws -> Score {
        let arguments = CArguments()
        var native = try request.native(arguments)
        let target = try arguments.string(target, "target")
        let score = try make { florence2_model_score(handle.pointer, &native, target, nil, $0, $1) }
        defer { florence2_score_free(score) }
        withExtendedLifetime((arguments, request)) {}
        return try JSONDecoder().decode(Score.self, from: Data(String(cString: florence2_score_json(score)).utf8))
    }

    private func run(
        _ requests: [Request], _ options: RunOptions, _ cancel: Cancel, _ onToken: ((Token) throws -> Void)?,
        each: Bool = false
    ) throws -> [Result<Answer, Florence2Error>] {
        let arguments = CArguments()
        var natives: [florence2_request] = []
        for request in requests { natives.append(try request.native(arguments)) }
        var native = florence2_run_options()
        florence2_run_options_init(&native, MemoryLayout<florence2_run_options>.size)
        native.generation_config = try arguments.string(try options.json(), "options")
        native.coordinates = options.hfCompat ? 1 : 0
        native.deadline_ms = options.deadlineMilliseconds
        native.cancel = cancel.pointer
        let callback = onToken.map(Callback<Token>.init)
        if let callback {
            native.user = callback.user
            native.on_token = { token, user in Callback<Token>.call(user, Token(token!.pointee)) }
        }
        var results = [OpaquePointer?](repeating: nil, count: requests.count)
        var errors = [OpaquePointer?](repeating: nil, count: requests.count)
        defer {
            for result in results { florence2_result_free(result) }
            for error in errors { florence2_error_free(error) }
        }
        do {
            try check {
                each
                    ? florence2_model_run_batch(
                        handle.pointer, natives, natives.count, &native, &results, &errors, $0)
                    : florence2_model_run_batch(
                        handle.pointer, natives, natives.count, &native, &results, nil, $0)
            }
        } catch {
            throw callback?.error ?? error
        }
        withExtendedLifetime((arguments, requests, cancel, callback)) {}
        return try zip(results, errors).map { result, error in
            guard let result else { return .failure(Florence2Error(florence2_error_status(error), error)) }
            let json = Data(String(cString: florence2_result_json(result)).utf8)
            return .success(try JSONDecoder().decode(Answer.self, from: json))
        }
    }
}

/// Runs `work` on another thread. Cancelling the task fires `cancel` and throws `CancellationError`.
private func inBackground<Value: Sendable>(
    _ cancel: Cancel, _ work: @escaping @Sendable () throws -> Value
) async throws -> Value {
    try await withTaskCancellationHandler {
        do {
            return try await withCheckedThrowingContinuation { continuation in
                DispatchQueue.global().async { continuation.resume(with: Result(catching: work)) }
            }
        } catch let error as Florence2Error where error.status == .cancelled {
            throw CancellationError()
        }
    } onCancel: {
        cancel.fire()
    }
}

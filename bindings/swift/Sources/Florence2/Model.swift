import CFlorence2
import Foundation

/// A loaded model: captions, detects, grounds, segments and reads, by a prompt.
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

    /// The embedded demo model, which knows coloured shapes and short words. `onProgress` is called as by
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
        try run(requests, options, Cancel(), onToken).map { try $0.get() }
    }

    /// Answers requests together. A request that fails has its error in the place of its answer, and the others keep
    /// their answers. Throws for what concerns all requests: the options, the deadline, the device, the callback.
    public func runEach(
        _ requests: [Request], options: RunOptions = .init(), onToken: ((Token) throws -> Void)? = nil
    ) throws -> [Result<Answer, Florence2Error>] {
        try run(requests, options, Cancel(), onToken, each: true)
    }

    /// Answers a request on another thread. Cancelling the task ends the run with `CancellationError`.
    public func run(_ request: Request, options: RunOptions = .init()) async throws -> Answer {
        try await run([request], options: options)[0]
    }

    /// Answers requests together on another thread. Cancelling the task ends the run with `CancellationError`.
    public func run(_ requests: [Request], options: RunOptions = .init()) async throws -> [Answer] {
        let cancel = try Cancel()
        return try await inBackground(cancel) {
            try self.run(requests, options, cancel, nil).map { try $0.get() }
        }
    }

    /// Answers requests together on another thread, each with its answer or its error. Cancelling the task ends the run
    /// with `CancellationError`.
    public func runEach(
        _ requests: [Request], options: RunOptions = .init()
    ) async throws -> [Result<Answer, Florence2Error>] {
        let cancel = try Cancel()
        return try await inBackground(cancel) { try self.run(requests, options, cancel, nil, each: true) }
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

    /// Sends an image through the vision tower, once for any number of requests about it.
    public func encode(_ image: Image) throws(Florence2Error) -> ImageFeatures {
        ImageFeatures(
            try make { florence2_model_encode_image(handle.pointer, image.handle.pointer, nil, $0, $1) })
    }

    /// Tells how likely the model finds `target` as the answer.
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
        native.compat = options.hfCompat ? 1 : 0
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
                    ? florence2_model_run_batch_each(
                        handle.pointer, natives, natives.count, &native, &results, &errors, $0)
                    : florence2_model_run_batch(handle.pointer, natives, natives.count, &native, &results, $0)
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

/// Does work on another thread; cancelling the task fires `cancel`, and gives `CancellationError`.
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

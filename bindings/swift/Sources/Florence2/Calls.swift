import CFlorence2
import Foundation

/// The time limit and the cancel token of a call. The limit begins when the object is created.
struct CallLimits: Sendable {
    private let deadline: ContinuousClock.Instant?
    let cancel: CancelToken

    init(timeout: Duration?) throws(Florence2Error) {
        deadline = timeout.map { .now + $0 }
        cancel = try CancelToken()
    }

    /// Sets the cancel token and the remaining time. Throws if no time remains.
    func set(_ native: inout florence2_run_options) throws(Florence2Error) {
        native.cancel = cancel.pointer
        guard let deadline else { return }
        let remaining = ContinuousClock.now.duration(to: deadline)
        guard remaining > .zero else {
            throw Florence2Error(status: .deadlineExceeded, message: "the deadline passed before the call began")
        }
        // Rounded up, because C has no limit for 0. 100 million years are no limit either.
        let (seconds, attoseconds) = remaining.components
        let milliseconds = UInt64(attoseconds) / 1_000_000_000_000_000 + 1
        native.deadline_ms = UInt64(min(seconds, 1 << 52)) * 1000 + milliseconds
    }

    /// The options of a call that has only limits.
    func options() throws(Florence2Error) -> florence2_run_options {
        var native = florence2_run_options()
        florence2_run_options_init(&native, MemoryLayout<florence2_run_options>.size)
        try set(&native)
        return native
    }

    /// Runs `work` on another thread. Cancelling the task cancels the call and throws `CancellationError`.
    func inBackground<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
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
}

/// A cancel token of the library: any thread can end a call with it.
final class CancelToken: Sendable {
    private let handle: Handle

    init() throws(Florence2Error) {
        handle = Handle(try make { florence2_cancel_new($0, $1) }) { florence2_cancel_free($0) }
    }

    var pointer: OpaquePointer { handle.pointer }

    func fire() { florence2_cancel_fire(handle.pointer) }
}

/// Closures that C calls. It keeps the first error of a closure, because no error may unwind through the library.
class Callbacks {
    private(set) var error: (any Error)?

    /// The argument `user` of the C callbacks, valid as long as this object lives.
    var user: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    /// The object with a `user`.
    static func from(_ user: UnsafeMutableRawPointer?) -> Self {
        Unmanaged<Self>.fromOpaque(user!).takeUnretainedValue()
    }

    /// Calls a closure. Returns non-zero to end the call of the library, which may report further values before it
    /// stops.
    func call<Value>(_ closure: ((Value) throws -> Void)?, _ value: @autoclosure () -> Value) -> Int32 {
        guard error == nil else { return 1 }
        do {
            try closure?(value())
            return 0
        } catch {
            self.error = error
            return 1
        }
    }
}

/// The callback of a load.
final class LoadCallbacks: Callbacks {
    private let onProgress: (Florence2Model.LoadProgress) throws -> Void

    init(_ onProgress: @escaping (Florence2Model.LoadProgress) throws -> Void) { self.onProgress = onProgress }

    func set(_ native: inout florence2_load_options) {
        native.user = user
        native.on_progress = { progress, user in
            let callbacks = LoadCallbacks.from(user)
            return callbacks.call(callbacks.onProgress, .init(progress!.pointee))
        }
    }
}

/// The callbacks of a run.
final class RunCallbacks: Callbacks {
    private let onToken: ((Florence2Token) throws -> Void)?
    private let onProgress: ((Florence2Model.RunProgress) throws -> Void)?

    init(
        _ onToken: ((Florence2Token) throws -> Void)?, _ onProgress: ((Florence2Model.RunProgress) throws -> Void)?
    ) {
        self.onToken = onToken
        self.onProgress = onProgress
    }

    func set(_ native: inout florence2_run_options) {
        native.user = user
        if onToken != nil {
            native.on_token = { token, user in
                let callbacks = RunCallbacks.from(user)
                return callbacks.call(callbacks.onToken, .init(token!.pointee))
            }
        }
        if onProgress != nil {
            native.on_progress = { progress, user in
                let callbacks = RunCallbacks.from(user)
                return callbacks.call(callbacks.onProgress, .init(progress!.pointee))
            }
        }
    }
}

import CFlorence2
import Foundation

extension Florence2Library {
    /// The severity of a log message.
    public enum LogLevel: Int32, Sendable, Comparable {
        /// Errors that no error of a call reports, and the messages of panics.
        case error = 1
        /// Settings and files that are probably unintended.
        case warn
        /// Completed operations, such as a loaded model.
        case info
        /// Details, such as every failed call.
        case debug
        /// All messages.
        case trace

        /// True if `left` is more severe.
        public static func < (left: LogLevel, right: LogLevel) -> Bool { left.rawValue < right.rawValue }
    }

    /// A log message of the library.
    public struct LogMessage: Sendable, Equatable {
        /// The severity.
        public let level: LogLevel
        /// The part of the library that logs the message.
        public let target: String
        /// One line.
        public let message: String
    }

    /// Sets the log handler of the process, which receives the messages of `maxLevel` and of more severe levels. It
    /// replaces the previous handler, which is not called any more when this function returns. At first, there is none.
    ///
    /// Any thread may call the handler, and several threads may call it at the same time. The handler must not set or
    /// remove a handler, load or run a model, or call ``trim()``.
    public static func setLogHandler(
        maxLevel: LogLevel = .info, _ handler: @escaping @Sendable (LogMessage) -> Void
    ) throws(Florence2Error) {
        try LogHandler.current.replace(LogHandler.Closure(handler), maxLevel: maxLevel.rawValue)
    }

    /// Removes the log handler of the process.
    public static func removeLogHandler() throws(Florence2Error) {
        try LogHandler.current.replace(nil, maxLevel: 0)
    }
}

/// The log handler of the process. It keeps the closure that the library calls.
private final class LogHandler: @unchecked Sendable {
    static let current = LogHandler()

    final class Closure: Sendable {
        let call: @Sendable (Florence2Library.LogMessage) -> Void

        init(_ call: @escaping @Sendable (Florence2Library.LogMessage) -> Void) { self.call = call }
    }

    private let lock = NSLock()
    // Read and written only with the lock.
    private var closure: Closure?

    func replace(_ closure: Closure?, maxLevel: Int32) throws(Florence2Error) {
        lock.lock()
        defer { lock.unlock() }
        let user = closure.map { Unmanaged.passUnretained($0).toOpaque() }
        let callback: florence2_log_callback = { level, target, message, user in
            guard let user, let level = Florence2Library.LogLevel(rawValue: Int32(level)) else { return }
            Unmanaged<Closure>.fromOpaque(user).takeUnretainedValue().call(
                .init(level: level, target: String(cString: target!), message: String(cString: message!)))
        }
        try check { florence2_log_set(closure == nil ? nil : callback, user, maxLevel, $0) }
        self.closure = closure
    }
}

import CFlorence2

/// A call that failed.
public struct Florence2Error: Error, Equatable, CustomStringConvertible {
    /// Why a call failed: `florence2_status`.
    public struct Status: RawRepresentable, Hashable, Sendable {
        /// Its number in the C API.
        public let rawValue: Int32

        /// The status of a number, also of one that later versions of the library add.
        public init(rawValue: Int32) { self.rawValue = rawValue }

        /// An argument, an option or the combination of several cannot be.
        public static let invalidArgument = Status(rawValue: 1)
        /// A file could not be opened or read.
        public static let io = Status(rawValue: 2)
        /// A file of the model is not what its name promises, or the weights do not fit it.
        public static let invalidModel = Status(rawValue: 3)
        /// An image cannot be decoded, or has more pixels than are accepted.
        public static let invalidImage = Status(rawValue: 4)
        /// The library or the machine has no such device.
        public static let unsupportedDevice = Status(rawValue: 5)
        /// The library was built without what the call needs.
        public static let notInThisBuild = Status(rawValue: 6)
        /// The run was cancelled.
        public static let cancelled = Status(rawValue: 7)
        /// The deadline passed before the answer was complete.
        public static let deadlineExceeded = Status(rawValue: 8)
        /// The model computed NaN or infinity.
        public static let notFinite = Status(rawValue: 9)
        /// A fault of the library.
        public static let panic = Status(rawValue: 10)
        /// The model's device failed; only a model that is loaded anew gives answers.
        public static let deviceFailed = Status(rawValue: 11)
        /// The process was forked after a model was loaded.
        public static let forked = Status(rawValue: 12)
    }

    /// Why the call failed.
    public let status: Status
    /// One line that names the argument, file or key, what was found and what was expected.
    public let message: String

    /// The message.
    public var description: String { message }
}

extension Florence2Error {
    /// The error of a call or of a request, which stays the caller's to free.
    init(_ status: Int32, _ error: OpaquePointer?) {
        let message = String(cString: florence2_error_message(error))
        // A status that this library version does not know comes without an error.
        self.init(status: .init(rawValue: status), message: message.isEmpty ? "florence2 status \(status)" : message)
    }
}

/// Calls the library. Throws the error of a call that fails.
func check(_ call: (UnsafeMutablePointer<OpaquePointer?>) -> Int32) throws(Florence2Error) {
    var error: OpaquePointer?
    let status = call(&error)
    guard status != 0 else { return }
    defer { florence2_error_free(error) }
    throw Florence2Error(status, error)
}

/// Calls the library for an object.
func make(
    _ call: (UnsafeMutablePointer<OpaquePointer?>, UnsafeMutablePointer<OpaquePointer?>) -> Int32
) throws(Florence2Error) -> OpaquePointer {
    var made: OpaquePointer?
    try check { call(&made, $0) }
    guard let made else {
        throw Florence2Error(status: .panic, message: "libflorence2: found neither an object nor an error")
    }
    return made
}

import CFlorence2

/// The error of a call or of a request in a batch.
public struct Florence2Error: Error, Equatable, CustomStringConvertible {
    /// The kind of an error: `florence2_status` of the C API.
    public struct Status: RawRepresentable, Hashable, Sendable {
        /// The number in the C API.
        public let rawValue: Int32

        /// The status with a number, which a later version of the library may have added.
        public init(rawValue: Int32) { self.rawValue = rawValue }

        /// An argument, an option or a combination of them is invalid; the message names it.
        public static let invalidArgument = Status(rawValue: 1)
        /// A file could not be opened or read.
        public static let io = Status(rawValue: 2)
        /// A file of the model has invalid content, or the weights do not match the configuration.
        public static let invalidModel = Status(rawValue: 3)
        /// An image cannot be decoded, or has more pixels than the limit.
        public static let invalidImage = Status(rawValue: 4)
        /// The library or the machine does not have the device or its data type, or the device's memory is too small.
        public static let unsupportedDevice = Status(rawValue: 5)
        /// The library was built without a feature that the call requires.
        public static let notInThisBuild = Status(rawValue: 6)
        /// The call was cancelled.
        public static let cancelled = Status(rawValue: 7)
        /// The deadline passed before the answer was complete.
        public static let deadlineExceeded = Status(rawValue: 8)
        /// The model computed NaN or infinity.
        public static let notFinite = Status(rawValue: 9)
        /// A bug in the library.
        public static let panic = Status(rawValue: 10)
        /// The model's device failed. Load the model again to run it.
        public static let deviceFailed = Status(rawValue: 11)
        /// The process was forked after a model was loaded.
        public static let forked = Status(rawValue: 12)

        /// The name in the C API, such as "FLORENCE2_STATUS_IO"; `nil` for a status that the library does not have.
        public var name: String? { florence2_status_name(rawValue).map { String(cString: $0) } }
    }

    /// The kind of the error.
    public let status: Status
    /// One line with the argument, file or key, the value found and the value expected.
    public let message: String

    /// The message.
    public var description: String { message }
}

extension Florence2Error {
    /// Copies an error of the library, which the caller frees.
    init(_ status: Int32, _ error: OpaquePointer?) {
        let message = String(cString: florence2_error_message(error))
        // The library returns a status alone when it cannot create the error.
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

/// Calls a function of the library that creates an object, and returns the object.
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

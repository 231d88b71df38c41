import CFlorence2

/// The loaded library.
public enum Library {
    /// Its version, such as "1.2.3".
    public static var version: String { String(cString: florence2_version()) }

    /// What a model can be loaded onto.
    public static var devices: [String] {
        (0..<florence2_device_count()).map { String(cString: florence2_device_name($0)) }
    }

    /// The library and the machine as a JSON object, for reports of faults.
    public static var systemInfo: String { String(cString: florence2_system_info_json()) }

    /// Frees memory that the library keeps for later runs.
    public static func trim() { florence2_trim() }

    /// Sets the SIMD level of the device "cpu" for the whole process, before the first model is loaded.
    public static func setSIMDLevel(_ level: String) throws(Florence2Error) {
        let texts = CStrings()
        let level = try texts.of(level, "level")
        try check { florence2_simd_level_set(level, $0) }
        withExtendedLifetime(texts) {}
    }

    /// Refuses a library of another binary interface than this package was built with.
    static func checkABI() throws(Florence2Error) {
        let found = florence2_abi_version()
        let expected = UInt32(FLORENCE2_ABI_VERSION)
        guard found == expected else {
            throw Florence2Error(
                status: .notInThisBuild, message: "libflorence2: found ABI \(found), expected \(expected)")
        }
    }
}

/// An object of the library that any number of threads may use at once, freed with its last reference.
class Handle: @unchecked Sendable {
    // Immutable, and what it points to is: the library says so of each of these objects.
    let pointer: OpaquePointer
    private let free: @Sendable (OpaquePointer) -> Void

    init(_ pointer: OpaquePointer, free: @escaping @Sendable (OpaquePointer) -> Void) {
        self.pointer = pointer
        self.free = free
    }

    deinit { free(pointer) }
}

/// C strings that live as long as this.
final class CStrings {
    private var texts: [UnsafeMutablePointer<CChar>] = []

    /// The text as C reads it: UTF-8 that ends with NUL, so none may be inside.
    func of(_ text: String?, _ argument: String) throws(Florence2Error) -> UnsafePointer<CChar>? {
        guard let text else { return nil }
        guard !text.utf8.contains(0) else {
            throw Florence2Error(
                status: .invalidArgument, message: "argument `\(argument)`: found a NUL character, expected none")
        }
        let bytes = text.utf8CString
        let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
        copy.initialize(from: Array(bytes), count: bytes.count)
        texts.append(copy)
        return UnsafePointer(copy)
    }

    deinit {
        for text in texts { text.deallocate() }
    }
}

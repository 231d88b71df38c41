import CFlorence2
import Foundation

/// The loaded library.
public enum Florence2Library {
    /// The version, such as "1.2.3".
    public static var version: String { String(cString: florence2_version()) }

    /// The devices on which a model can be loaded, best first.
    public static var devices: [String] {
        (0..<florence2_device_count()).map { String(cString: florence2_device_name($0)) }
    }

    /// A description of the library and the machine as a JSON object, for bug reports.
    public static var systemInfo: String { String(cString: florence2_system_info_json()) }

    /// Returns memory that the library keeps for later runs to the system.
    public static func trim() { florence2_trim() }

    /// Sets the SIMD level of the device "cpu" for the whole process, before the first model is loaded: "portable",
    /// "avx2", "avx2-vnni", "avx512", "avx512-vnni", "avx512-dot" or "amx" on x86-64, "portable", "neon" or "neon-dot"
    /// on AArch64.
    public static func setSIMDLevel(_ level: String) throws(Florence2Error) {
        let arguments = CArguments()
        let level = try arguments.string(level, "level")
        try check { florence2_simd_level_set(level, $0) }
        withExtendedLifetime(arguments) {}
    }

    /// Throws if the ABI of the loaded library differs from the ABI that this package was built with.
    static func checkABI() throws(Florence2Error) {
        let found = florence2_abi_version()
        let expected = UInt32(FLORENCE2_ABI_VERSION)
        guard found == expected else {
            throw Florence2Error(
                status: .notInThisBuild, message: "libflorence2: found ABI \(found), expected \(expected)")
        }
    }
}

/// An object of the library that any number of threads may use at once. The last reference frees it.
class Handle: @unchecked Sendable {
    // The pointer is immutable, and the library documents each of these objects as thread-safe.
    let pointer: OpaquePointer
    private let free: @Sendable (OpaquePointer) -> Void

    init(_ pointer: OpaquePointer, free: @escaping @Sendable (OpaquePointer) -> Void) {
        self.pointer = pointer
        self.free = free
    }

    deinit { free(pointer) }
}

/// Arguments of a call as C reads them. The pointers are valid as long as this object lives.
final class CArguments {
    private var allocations: [UnsafeMutableRawPointer] = []
    private var objects: [NSData] = []

    /// Copies a string to UTF-8 that ends with NUL. Throws when the string contains a NUL character.
    func string(_ string: String?, _ argument: String) throws(Florence2Error) -> UnsafePointer<CChar>? {
        guard let string else { return nil }
        guard !string.utf8.contains(0) else {
            throw Florence2Error(
                status: .invalidArgument, message: "argument `\(argument)`: found a NUL character, expected none")
        }
        return array(Array(string.utf8CString))
    }

    /// Copies the path of a file URL.
    func path(_ url: URL?, _ argument: String) throws(Florence2Error) -> UnsafePointer<CChar>? {
        guard let url else { return nil }
        guard url.isFileURL,
            let path = url.withUnsafeFileSystemRepresentation({ $0.map { String(cString: $0) } })
        else {
            throw Florence2Error(
                status: .invalidArgument, message: "argument `\(argument)`: found \(url), expected the URL of a file")
        }
        return try string(path, argument)
    }

    /// Copies an array.
    func array<Element>(_ elements: [Element]) -> UnsafePointer<Element>? {
        let copy = UnsafeMutablePointer<Element>.allocate(capacity: elements.count)
        copy.initialize(from: elements, count: elements.count)
        allocations.append(copy)
        return UnsafePointer(copy)
    }

    /// The bytes of `data`. Foundation copies them on Linux, and shares them on Apple's platforms.
    func bytes(_ data: Data) -> UnsafePointer<UInt8> {
        let object = data as NSData
        objects.append(object)
        return object.bytes.assumingMemoryBound(to: UInt8.self)
    }

    /// Files by name, sorted so that the same files give the same error.
    func files(_ files: [String: Data], _ argument: String) throws(Florence2Error) -> UnsafePointer<florence2_file>? {
        var native: [florence2_file] = []
        for (name, data) in files.sorted(by: { $0.key < $1.key }) {
            native.append(
                florence2_file(name: try string(name, argument), data: bytes(data), data_len: data.count))
        }
        return array(native)
    }

    deinit {
        for allocation in allocations { allocation.deallocate() }
    }
}

/// A number as a C type. Throws when the number is less than `least` or too large for the type.
func exactly<Number: FixedWidthInteger>(
    _ number: Int, _ argument: String, atLeast least: Int = 0
) throws(Florence2Error) -> Number {
    guard number >= least, let exact = Number(exactly: number) else {
        throw Florence2Error(
            status: .invalidArgument,
            message: "argument `\(argument)`: found \(number), expected \(least) to \(Number.max)")
    }
    return exact
}

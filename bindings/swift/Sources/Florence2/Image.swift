import CFlorence2
import Foundation

/// An image: 8-bit RGB pixels in memory. Immutable.
public final class Image: Sendable {
    let handle: Handle

    private init(_ make: () throws(Florence2Error) -> OpaquePointer) throws(Florence2Error) {
        handle = Handle(try make()) { florence2_image_free($0) }
    }

    /// Reads a file: JPEG, PNG, WebP, BMP, GIF or TIFF.
    public convenience init(contentsOf path: String) throws(Florence2Error) {
        let texts = CStrings()
        let path = try texts.of(path, "path")
        try self.init { () throws(Florence2Error) in try make { florence2_image_from_path(path, $0, $1) } }
        withExtendedLifetime(texts) {}
    }

    /// Decodes a file's bytes.
    public convenience init(encoded: Data) throws(Florence2Error) {
        let bytes = [UInt8](encoded)
        try self.init { () throws(Florence2Error) in
            try make { florence2_image_from_encoded(bytes, bytes.count, $0, $1) }
        }
    }

    /// The order of a pixel's channels, one byte each. Alpha is dropped.
    public enum PixelFormat: Int32, Sendable {
        /// Red, green, blue.
        case rgb
        /// Red, green, blue, alpha.
        case rgba
        /// Blue, green, red.
        case bgr
        /// Blue, green, red, alpha.
        case bgra
        /// One channel.
        case gray
    }

    /// Takes pixels, such as a camera's frame: `height` rows of `stride` bytes; 0 for rows without a gap.
    public convenience init(
        pixels: Data, width: Int, height: Int, format: PixelFormat, stride: Int = 0
    ) throws(Florence2Error) {
        guard let columns = UInt32(exactly: width), let rows = UInt32(exactly: height), stride >= 0 else {
            throw Florence2Error(
                status: .invalidArgument,
                message: "pixels: found \(width)x\(height) with rows of \(stride) bytes, expected no negative number")
        }
        let bytes = [UInt8](pixels)
        try self.init { () throws(Florence2Error) in
            try make { image, error in
                bytes.withUnsafeBufferPointer { bytes in
                    var native = florence2_pixels()
                    florence2_pixels_init(&native, MemoryLayout<florence2_pixels>.size)
                    native.data = bytes.baseAddress
                    native.data_len = bytes.count
                    native.stride_bytes = stride
                    native.width_px = columns
                    native.height_px = rows
                    native.format = format.rawValue
                    return florence2_image_from_pixels(&native, image, error)
                }
            }
        }
    }

    /// Pixels across.
    public var width: Int { Int(florence2_image_width_px(handle.pointer)) }

    /// Pixels down.
    public var height: Int { Int(florence2_image_height_px(handle.pointer)) }
}

/// An image that went through a model's vision tower once, for any number of requests about it. Immutable.
public final class ImageFeatures: Sendable {
    let handle: Handle

    init(_ pointer: OpaquePointer) {
        handle = Handle(pointer) { florence2_image_features_free($0) }
    }
}

import CFlorence2
import Foundation

/// An image: 8-bit RGB pixels in memory. Immutable.
public final class Image: Sendable {
    let handle: Handle

    private init(_ make: (CArguments) throws(Florence2Error) -> OpaquePointer) throws(Florence2Error) {
        let arguments = CArguments()
        handle = Handle(try make(arguments)) { florence2_image_free($0) }
        withExtendedLifetime(arguments) {}
    }

    /// Reads a file: JPEG, PNG, WebP, BMP, GIF or TIFF. An image of more than `maxPixels` pixels is refused before
    /// it is decoded; 0 for the library's limit, 178,956,970.
    public convenience init(contentsOf path: String, maxPixels: Int = 0) throws(Florence2Error) {
        var options = try Image.decodeOptions(maxPixels)
        try self.init { arguments throws(Florence2Error) in
            let path = try arguments.string(path, "path")
            return try make { florence2_image_from_path(path, &options, $0, $1) }
        }
    }

    /// Decodes the contents of a file, with the limit of ``init(contentsOf:maxPixels:)``.
    public convenience init(encoded: Data, maxPixels: Int = 0) throws(Florence2Error) {
        var options = try Image.decodeOptions(maxPixels)
        try self.init { arguments throws(Florence2Error) in
            let bytes = arguments.bytes(encoded)
            return try make { florence2_image_from_encoded(bytes, encoded.count, &options, $0, $1) }
        }
    }

    private static func decodeOptions(_ maxPixels: Int) throws(Florence2Error) -> florence2_decode_options {
        var native = florence2_decode_options()
        florence2_decode_options_init(&native, MemoryLayout<florence2_decode_options>.size)
        native.max_pixels = try exactly(maxPixels, "maxPixels")
        return native
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
        try self.init { arguments throws(Florence2Error) in
            var native = florence2_pixels()
            florence2_pixels_init(&native, MemoryLayout<florence2_pixels>.size)
            native.data = arguments.bytes(pixels)
            native.data_len = pixels.count
            native.stride_bytes = try exactly(stride, "stride")
            native.width_px = try exactly(width, "width")
            native.height_px = try exactly(height, "height")
            native.format = format.rawValue
            return try make { florence2_image_from_pixels(&native, $0, $1) }
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

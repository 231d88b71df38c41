import CFlorence2
import Foundation

/// An image: 8-bit RGB pixels in memory. Immutable.
public final class Florence2Image: Sendable {
    let handle: Handle

    private init(_ make: (CArguments) throws(Florence2Error) -> OpaquePointer) throws(Florence2Error) {
        let arguments = CArguments()
        handle = Handle(try make(arguments)) { florence2_image_free($0) }
        withExtendedLifetime(arguments) {}
    }

    /// Reads a file: JPEG, PNG, WebP, BMP, GIF or TIFF, and applies its EXIF orientation. An image of more than `maxPixels` pixels is refused before
    /// it is decoded; 0 for the library's limit, 178,956,970.
    public convenience init(contentsOf file: URL, maxPixels: Int = 0) throws(Florence2Error) {
        var options = try Florence2Image.decodeOptions(maxPixels)
        try self.init { arguments throws(Florence2Error) in
            let path = try arguments.path(file, "file")
            return try make { florence2_image_from_path(path, &options, $0, $1) }
        }
    }

    /// Decodes the contents of a file, with the limit of ``init(contentsOf:maxPixels:)``.
    public convenience init(encoded: Data, maxPixels: Int = 0) throws(Florence2Error) {
        var options = try Florence2Image.decodeOptions(maxPixels)
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

    /// A rectangle in pixels, from the upper left corner of a frame.
    public struct Region: Sendable {
        /// The first column.
        public var x: Int
        /// The first row.
        public var y: Int
        /// The number of columns, at least 1.
        public var width: Int
        /// The number of rows, at least 1.
        public var height: Int

        /// A rectangle by its first pixel and its size.
        public init(x: Int, y: Int, width: Int, height: Int) {
            self.x = x
            self.y = y
            self.width = width
            self.height = height
        }
    }

    /// The four fields of a region in C, which are 0 for the whole frame.
    private static func native(_ region: Region?) throws(Florence2Error) -> (UInt32, UInt32, UInt32, UInt32) {
        guard let region else { return (0, 0, 0, 0) }
        return (
            try exactly(region.x, "region.x"), try exactly(region.y, "region.y"),
            try exactly(region.width, "region.width", atLeast: 1),
            try exactly(region.height, "region.height", atLeast: 1)
        )
    }

    /// Copies pixels, such as a camera's frame: `height` rows of `stride` bytes; 0 for rows without gaps. `region` is
    /// the part to copy; `nil` for the whole frame.
    public convenience init(
        pixels: Data, width: Int, height: Int, format: PixelFormat, stride: Int = 0, region: Region? = nil
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
            (
                native.region_x_px, native.region_y_px, native.region_width_px, native.region_height_px
            ) = try Florence2Image.native(region)
            return try make { florence2_image_from_pixels(&native, $0, $1) }
        }
    }

    /// A plane of a YUV frame: rows of 8-bit samples. The last row may end with its last sample.
    public struct Plane: Sendable {
        /// The samples.
        public var data: Data
        /// Bytes from the start of a row to the start of the next; 0 for rows without gaps.
        public var stride: Int

        /// A plane by its samples and its stride.
        public init(_ data: Data, stride: Int = 0) {
            self.data = data
            self.stride = stride
        }
    }

    /// The planes of a YUV frame with 4:2:0 subsampling: one chroma sample for 2x2 pixels, rounded up at odd sizes.
    public enum YUV: Sendable {
        /// A plane of luma, and a plane in which U and V alternate.
        case nv12(y: Plane, uv: Plane)
        /// Planes of luma, U and V.
        case i420(y: Plane, u: Plane, v: Plane)
    }

    /// The matrix between YUV and RGB.
    public enum YUVMatrix: Int32, Sendable {
        /// ITU-R BT.601: most cameras, and video of standard definition.
        case bt601
        /// ITU-R BT.709: video of high definition.
        case bt709
    }

    /// The range of a YUV frame's samples.
    public enum YUVRange: Int32, Sendable {
        /// Luma from 16 to 235, chroma from 16 to 240.
        case limited
        /// All samples from 0 to 255, as in JPEG.
        case full
    }

    /// Converts a YUV frame to RGB. `region` is the part to convert; `nil` for the whole frame.
    public convenience init(
        yuv: YUV, width: Int, height: Int, matrix: YUVMatrix = .bt601, range: YUVRange = .limited,
        region: Region? = nil
    ) throws(Florence2Error) {
        try self.init { arguments throws(Florence2Error) in
            var native = florence2_yuv()
            florence2_yuv_init(&native, MemoryLayout<florence2_yuv>.size)
            let (y, u, v): (Plane, Plane, Plane?)
            switch yuv {
            case .nv12(let luma, let chroma):
                (y, u, v) = (luma, chroma, nil)
                native.format = Int32(FLORENCE2_YUV_FORMAT_NV12.rawValue)
            case .i420(let luma, let blue, let red):
                (y, u, v) = (luma, blue, red)
                native.format = Int32(FLORENCE2_YUV_FORMAT_I420.rawValue)
            }
            (native.y, native.y_len) = (arguments.bytes(y.data), y.data.count)
            native.y_stride_bytes = try exactly(y.stride, "y.stride")
            (native.u, native.u_len) = (arguments.bytes(u.data), u.data.count)
            native.u_stride_bytes = try exactly(u.stride, v == nil ? "uv.stride" : "u.stride")
            if let v {
                (native.v, native.v_len) = (arguments.bytes(v.data), v.data.count)
                native.v_stride_bytes = try exactly(v.stride, "v.stride")
            }
            native.width_px = try exactly(width, "width")
            native.height_px = try exactly(height, "height")
            native.matrix = matrix.rawValue
            native.range = range.rawValue
            (
                native.region_x_px, native.region_y_px, native.region_width_px, native.region_height_px
            ) = try Florence2Image.native(region)
            return try make { florence2_image_from_yuv(&native, $0, $1) }
        }
    }

    /// The width in pixels.
    public var width: Int { Int(florence2_image_width_px(handle.pointer)) }

    /// The height in pixels.
    public var height: Int { Int(florence2_image_height_px(handle.pointer)) }
}

/// The output of a model's vision tower for an image, for any number of requests to the same model. Immutable.
public final class Florence2ImageFeatures: Sendable {
    let handle: Handle

    init(_ pointer: OpaquePointer) {
        handle = Handle(pointer) { florence2_image_features_free($0) }
    }
}

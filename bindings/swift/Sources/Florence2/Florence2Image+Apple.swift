// These initialisers are compiled only on Apple systems, and are not part of the tests, which run on Linux.
#if canImport(CoreGraphics)
import CoreGraphics
import Foundation

extension Florence2Image {
    /// Converts a Core Graphics image to sRGB pixels. Transparent pixels are drawn on black. Only on Apple systems.
    ///
    /// The orientation of a `UIImage` or of an image file is not part of a `CGImage`: rotate the image first.
    public convenience init(_ image: CGImage) throws(Florence2Error) {
        let (width, height) = (image.width, image.height)
        var pixels = Data(count: 4 * width * height)
        let drawn = pixels.withUnsafeMutableBytes { (bytes: UnsafeMutableRawBufferPointer) -> Bool in
            guard let space = CGColorSpace(name: CGColorSpace.sRGB),
                let context = CGContext(
                    data: bytes.baseAddress, width: width, height: height, bitsPerComponent: 8,
                    bytesPerRow: 4 * width, space: space, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
            else { return false }
            context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
            return true
        }
        guard drawn else {
            throw Florence2Error(
                status: .invalidImage,
                message: "argument `image`: Core Graphics cannot create a bitmap of \(width)x\(height) pixels")
        }
        try self.init(pixels: pixels, width: width, height: height, format: .rgba)
    }
}
#endif

#if canImport(CoreVideo)
import CoreVideo
import Foundation

extension Florence2Image {
    /// Copies a frame of a camera or a video. Only on Apple systems.
    ///
    /// The formats are 32BGRA, 32RGBA, 24RGB, 24BGR, OneComponent8 and 8-bit 4:2:0 (420v, 420f, y420, f420), whose range
    /// is that of the format. `matrix` is the matrix of a 4:2:0 frame; `nil` for the matrix in the frame's attachments,
    /// or BT.601 without one. `region` is the part to copy; `nil` for the whole frame. Fails with
    /// ``Florence2Error/Status-swift.struct/invalidImage`` for other formats.
    public convenience init(
        _ frame: CVPixelBuffer, matrix: YUVMatrix? = nil, region: Region? = nil
    ) throws(Florence2Error) {
        let locked = CVPixelBufferLockBaseAddress(frame, .readOnly)
        guard locked == kCVReturnSuccess else {
            throw Florence2Error(
                status: .invalidImage, message: "argument `frame`: Core Video cannot lock it, status \(locked)")
        }
        defer { CVPixelBufferUnlockBaseAddress(frame, .readOnly) }
        let (width, height) = (CVPixelBufferGetWidth(frame), CVPixelBufferGetHeight(frame))
        if let format = Florence2Image.packedFormat(frame) {
            let stride = CVPixelBufferGetBytesPerRow(frame)
            let pixels = try Florence2Image.bytes(CVPixelBufferGetBaseAddress(frame), stride * height)
            try self.init(pixels: pixels, width: width, height: height, format: format, stride: stride, region: region)
        } else {
            let (yuv, range) = try Florence2Image.planes(frame)
            try self.init(
                yuv: yuv, width: width, height: height, matrix: matrix ?? Florence2Image.attachedMatrix(frame),
                range: range, region: region)
        }
    }

    /// The order of channels of a frame with one plane; `nil` for another format.
    private static func packedFormat(_ frame: CVPixelBuffer) -> PixelFormat? {
        switch CVPixelBufferGetPixelFormatType(frame) {
        case kCVPixelFormatType_32BGRA: .bgra
        case kCVPixelFormatType_32RGBA: .rgba
        case kCVPixelFormatType_24RGB: .rgb
        case kCVPixelFormatType_24BGR: .bgr
        case kCVPixelFormatType_OneComponent8: .gray
        default: nil
        }
    }

    /// The planes of a locked 4:2:0 frame, without a copy.
    private static func planes(_ frame: CVPixelBuffer) throws(Florence2Error) -> (YUV, YUVRange) {
        func plane(_ index: Int) throws(Florence2Error) -> Plane {
            let stride = CVPixelBufferGetBytesPerRowOfPlane(frame, index)
            let length = stride * CVPixelBufferGetHeightOfPlane(frame, index)
            return Plane(try bytes(CVPixelBufferGetBaseAddressOfPlane(frame, index), length), stride: stride)
        }
        let format = CVPixelBufferGetPixelFormatType(frame)
        switch format {
        case kCVPixelFormatType_420YpCbCr8BiPlanarVideoRange:
            return (.nv12(y: try plane(0), uv: try plane(1)), .limited)
        case kCVPixelFormatType_420YpCbCr8BiPlanarFullRange:
            return (.nv12(y: try plane(0), uv: try plane(1)), .full)
        case kCVPixelFormatType_420YpCbCr8Planar:
            return (.i420(y: try plane(0), u: try plane(1), v: try plane(2)), .limited)
        case kCVPixelFormatType_420YpCbCr8PlanarFullRange:
            return (.i420(y: try plane(0), u: try plane(1), v: try plane(2)), .full)
        default:
            throw Florence2Error(
                status: .invalidImage,
                message: "argument `frame`: found the pixel format \(format), "
                    + "expected 32BGRA, 32RGBA, 24RGB, 24BGR, OneComponent8 or 8-bit 4:2:0")
        }
    }

    /// The bytes of a plane, which are valid while the frame is locked.
    private static func bytes(_ address: UnsafeMutableRawPointer?, _ length: Int) throws(Florence2Error) -> Data {
        guard let address else {
            throw Florence2Error(status: .invalidImage, message: "argument `frame`: it has no memory")
        }
        return Data(bytesNoCopy: address, count: length, deallocator: .none)
    }

    /// The matrix in the frame's attachments, or BT.601.
    private static func attachedMatrix(_ frame: CVPixelBuffer) -> YUVMatrix {
        let attachment = CVBufferCopyAttachment(frame, kCVImageBufferYCbCrMatrixKey, nil)
        return attachment as? String == kCVImageBufferYCbCrMatrix_ITU_R_709_2 as String ? .bt709 : .bt601
    }
}
#endif

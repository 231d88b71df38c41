package florence2

// #include <florence2.h>
import "C"

import (
	"fmt"
	"image"
	"image/draw"
	"io"
	"runtime"
	"unsafe"
)

// Image is an image in memory: 8-bit RGB pixels. Any number of goroutines and models may use it at the same time.
type Image struct{ handle *handle }

// newImage makes an image with a function of the library, unless an argument was refused.
func newImage(args *arguments, with func(**C.florence2_image, **C.florence2_error) C.florence2_status) (*Image, error) {
	if args.err != nil {
		return nil, args.err
	}
	var made *C.florence2_image
	var raised *C.florence2_error
	if err := check(with(&made, &raised), raised); err != nil {
		return nil, err
	}
	img := &Image{newHandle("image", unsafe.Pointer(made), func(p unsafe.Pointer) { C.florence2_image_free((*C.florence2_image)(p)) })}
	runtime.AddCleanup(img, (*handle).close, img.handle)
	return img, nil
}

// Decoder decodes image files and applies their EXIF orientation. The formats are JPEG, PNG, WebP, BMP, GIF (the first
// frame) and TIFF. The zero value has the defaults.
type Decoder struct {
	// MaxPixels is the maximum number of pixels of an image. An image with more pixels is an error, which is returned before
	// the image is decoded. The default is 0, which means 178,956,970.
	MaxPixels int
}

// OpenImage reads and decodes a file, as [Decoder.OpenImage] does with the default options.
func OpenImage(path string) (*Image, error) { return Decoder{}.OpenImage(path) }

// ReadImage reads and decodes the contents of a file, as [Decoder.ReadImage] does with the default options.
func ReadImage(reader io.Reader) (*Image, error) { return Decoder{}.ReadImage(reader) }

// OpenImage reads and decodes a file. The error matches ErrIO if the file cannot be read, and ErrInvalidImage if it cannot be
// decoded or has too many pixels. The path is also the value of "image" in the JSON of results.
func (d Decoder) OpenImage(path string) (*Image, error) {
	var args arguments
	defer args.release()
	name, options := args.text(path), d.native(&args)
	return newImage(&args, func(made **C.florence2_image, raised **C.florence2_error) C.florence2_status {
		return C.florence2_image_from_path(name, options, made, raised)
	})
}

// ReadImage reads the contents of a file to their end and decodes them. An error of the reader is returned unchanged. The
// error matches ErrInvalidImage if the contents cannot be decoded or have too many pixels.
func (d Decoder) ReadImage(reader io.Reader) (*Image, error) {
	encoded, err := io.ReadAll(reader)
	if err != nil {
		return nil, err
	}
	var args arguments
	defer args.release()
	data, size := args.bytes(encoded)
	options := d.native(&args)
	return newImage(&args, func(made **C.florence2_image, raised **C.florence2_error) C.florence2_status {
		return C.florence2_image_from_encoded(data, size, options, made, raised)
	})
}

func (d Decoder) native(args *arguments) *C.florence2_decode_options {
	native := (*C.florence2_decode_options)(args.array(1, C.sizeof_florence2_decode_options))
	C.florence2_decode_options_init(native, C.sizeof_florence2_decode_options)
	native.max_pixels = C.uint64_t(args.size("MaxPixels", d.MaxPixels))
	return native
}

// NewImage converts an [image.Image]. It ignores alpha: a transparent pixel keeps its colour. The error matches
// ErrInvalidImage if the image has no pixels.
func NewImage(source image.Image) (*Image, error) {
	bounds := source.Bounds()
	if bounds.Empty() {
		return nil, &Error{Reason: ErrInvalidImage, Message: fmt.Sprintf("image: found %dx%d pixels, expected at least 1x1", bounds.Dx(), bounds.Dy())}
	}
	pixels, ok := source.(*image.NRGBA)
	if !ok {
		pixels = image.NewNRGBA(image.Rect(0, 0, bounds.Dx(), bounds.Dy()))
		draw.Draw(pixels, pixels.Bounds(), source, bounds.Min, draw.Src)
	}
	begin := pixels.PixOffset(pixels.Rect.Min.X, pixels.Rect.Min.Y)
	return NewImageFromPixels(Pixels{
		Data: pixels.Pix[begin:], Stride: pixels.Stride, Width: bounds.Dx(), Height: bounds.Dy(), Format: RGBA,
	})
}

// PixelFormat is the order of the channels of a pixel, one byte per channel. Alpha is ignored.
type PixelFormat int32

// The pixel formats.
const (
	RGB  PixelFormat = C.FLORENCE2_PIXEL_FORMAT_RGB
	RGBA PixelFormat = C.FLORENCE2_PIXEL_FORMAT_RGBA
	BGR  PixelFormat = C.FLORENCE2_PIXEL_FORMAT_BGR
	BGRA PixelFormat = C.FLORENCE2_PIXEL_FORMAT_BGRA
	Gray PixelFormat = C.FLORENCE2_PIXEL_FORMAT_GRAY
)

// Pixels is a buffer of pixels, such as a camera frame.
type Pixels struct {
	// Data holds the rows from top to bottom. The last row may lack its padding.
	Data []byte
	// Stride is the number of bytes from the start of a row to the start of the next; 0 for rows without padding.
	Stride int
	// Width and Height are in pixels.
	Width, Height int
	// Format is RGB by default.
	Format PixelFormat
	// Region is the part that becomes the image, in pixels from the upper left corner; zero for all of it.
	Region image.Rectangle
}

// NewImageFromPixels creates an image from a buffer of pixels, which it copies.
func NewImageFromPixels(pixels Pixels) (*Image, error) {
	var args arguments
	defer args.release()
	native := (*C.florence2_pixels)(args.array(1, C.sizeof_florence2_pixels))
	C.florence2_pixels_init(native, C.sizeof_florence2_pixels)
	native.data, native.data_len = args.bytes(pixels.Data)
	native.stride_bytes = args.size("Stride", pixels.Stride)
	native.width_px, native.height_px = args.pixels("Width", pixels.Width), args.pixels("Height", pixels.Height)
	native.format = C.int32_t(pixels.Format)
	native.region_x_px, native.region_y_px, native.region_width_px, native.region_height_px = args.region(pixels.Region)
	return newImage(&args, func(made **C.florence2_image, raised **C.florence2_error) C.florence2_status {
		return C.florence2_image_from_pixels(native, made, raised)
	})
}

// YUVFormat is the layout of the chroma planes of a YUV frame.
type YUVFormat int32

// YUVMatrix is the matrix between YUV and RGB.
type YUVMatrix int32

// YUVRange is the range of the samples of a YUV frame.
type YUVRange int32

// The formats, matrices and ranges of YUV frames.
const (
	// NV12 has one plane with alternating U and V samples.
	NV12 YUVFormat = C.FLORENCE2_YUV_FORMAT_NV12
	// I420 has a plane of U samples and a plane of V samples.
	I420 YUVFormat = C.FLORENCE2_YUV_FORMAT_I420

	// BT601 is ITU-R BT.601: most cameras, JPEG, and standard-definition video.
	BT601 YUVMatrix = C.FLORENCE2_YUV_MATRIX_BT601
	// BT709 is ITU-R BT.709: high-definition video.
	BT709 YUVMatrix = C.FLORENCE2_YUV_MATRIX_BT709

	// LimitedRange has luma from 16 to 235 and chroma from 16 to 240.
	LimitedRange YUVRange = C.FLORENCE2_YUV_RANGE_LIMITED
	// FullRange has all samples from 0 to 255, as in JPEG.
	FullRange YUVRange = C.FLORENCE2_YUV_RANGE_FULL
)

// YUV is a frame of 8-bit samples with 4:2:0 subsampling: one sample of U and one of V for every 2x2 pixels. The defaults of
// Format, Matrix and Range are NV12, BT601 and LimitedRange.
type YUV struct {
	// Y is the luma plane. U is the plane of U samples, or of alternating U and V samples with NV12. V is the plane of V
	// samples, which is nil with NV12. The last row of a plane may lack its padding.
	Y, U, V []byte
	// The strides are the numbers of bytes from the start of a row to the start of the next; 0 for rows without padding.
	YStride, UStride, VStride int
	// Width and Height are in pixels.
	Width, Height int
	Format        YUVFormat
	Matrix        YUVMatrix
	Range         YUVRange
	// Region is the part that becomes the image, in pixels from the upper left corner; zero for all of it.
	Region image.Rectangle
}

// NewImageFromYUV creates an image from a YUV frame, which it converts to RGB.
func NewImageFromYUV(frame YUV) (*Image, error) {
	var args arguments
	defer args.release()
	native := (*C.florence2_yuv)(args.array(1, C.sizeof_florence2_yuv))
	C.florence2_yuv_init(native, C.sizeof_florence2_yuv)
	native.y, native.y_len = args.bytes(frame.Y)
	native.u, native.u_len = args.bytes(frame.U)
	native.v, native.v_len = args.bytes(frame.V)
	native.y_stride_bytes = args.size("YStride", frame.YStride)
	native.u_stride_bytes = args.size("UStride", frame.UStride)
	native.v_stride_bytes = args.size("VStride", frame.VStride)
	native.width_px, native.height_px = args.pixels("Width", frame.Width), args.pixels("Height", frame.Height)
	native.format, native.matrix = C.int32_t(frame.Format), C.int32_t(frame.Matrix)
	native._range = C.int32_t(frame.Range)
	native.region_x_px, native.region_y_px, native.region_width_px, native.region_height_px = args.region(frame.Region)
	return newImage(&args, func(made **C.florence2_image, raised **C.florence2_error) C.florence2_status {
		return C.florence2_image_from_yuv(native, made, raised)
	})
}

// region converts a region of interest.
func (a *arguments) region(region image.Rectangle) (x, y, width, height C.uint32_t) {
	return a.pixels("Region.Min.X", region.Min.X), a.pixels("Region.Min.Y", region.Min.Y),
		a.pixels("Region.Dx()", region.Dx()), a.pixels("Region.Dy()", region.Dy())
}

// Size returns the width and the height of the image in pixels, and zeros for a closed image.
func (i *Image) Size() (width, height int) {
	pointer, err := i.handle.borrow()
	if err != nil {
		return 0, 0
	}
	defer i.handle.release()
	native := (*C.florence2_image)(pointer)
	return int(C.florence2_image_width_px(native)), int(C.florence2_image_height_px(native))
}

// Close frees the image, after the calls that use it have returned. It does not wait for them, and may be called more than
// once and from a callback. It returns nil.
func (i *Image) Close() error {
	i.handle.close()
	return nil
}

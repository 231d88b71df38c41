package florence2

/*
#include <florence2.h>
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"image"
	"image/draw"
	"io"
	"runtime"
	"unsafe"
)

// Image is a decoded image.
type Image struct{ handle *handle }

func newImage(made *C.florence2_image) *Image {
	img := &Image{newHandle(unsafe.Pointer(made), func(p unsafe.Pointer) { C.florence2_image_free((*C.florence2_image)(p)) })}
	runtime.AddCleanup(img, (*handle).close, img.handle)
	return img
}

// OpenImage reads a file: JPEG, PNG, WebP, BMP, GIF or TIFF.
func OpenImage(path string) (*Image, error) {
	var texts cStrings
	defer texts.free()
	native := texts.of(path)
	if texts.err != nil {
		return nil, texts.err
	}
	var made *C.florence2_image
	var raised *C.florence2_error
	if err := check(C.florence2_image_from_path(native, &made, &raised), raised); err != nil {
		return nil, err
	}
	return newImage(made), nil
}

// ReadImage reads an image file's bytes from a reader.
func ReadImage(reader io.Reader) (*Image, error) {
	encoded, err := io.ReadAll(reader)
	if err != nil {
		return nil, err
	}
	var made *C.florence2_image
	var raised *C.florence2_error
	data := (*C.uint8_t)(unsafe.SliceData(encoded))
	if err := check(C.florence2_image_from_encoded(data, C.size_t(len(encoded)), &made, &raised), raised); err != nil {
		return nil, err
	}
	return newImage(made), nil
}

// NewImage takes an image of Go's; what is transparent shows its colour.
func NewImage(source image.Image) (*Image, error) {
	bounds := source.Bounds()
	pixels, ok := source.(*image.NRGBA)
	if !ok {
		pixels = image.NewNRGBA(image.Rect(0, 0, bounds.Dx(), bounds.Dy()))
		draw.Draw(pixels, pixels.Bounds(), source, bounds.Min, draw.Src)
	}
	if bounds.Empty() {
		return nil, &Error{InvalidImage, fmt.Sprintf("image: found %dx%d pixels, expected at least 1x1", bounds.Dx(), bounds.Dy())}
	}
	begin := pixels.PixOffset(pixels.Rect.Min.X, pixels.Rect.Min.Y)
	data := pixels.Pix[begin:]
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(unsafe.SliceData(data))
	var native C.florence2_pixels
	C.florence2_pixels_init(&native, C.size_t(unsafe.Sizeof(native)))
	native.data, native.data_len = (*C.uint8_t)(unsafe.SliceData(data)), C.size_t(len(data))
	native.stride_bytes = C.size_t(pixels.Stride)
	native.width_px, native.height_px = C.uint32_t(bounds.Dx()), C.uint32_t(bounds.Dy())
	native.format = C.FLORENCE2_PIXEL_FORMAT_RGBA
	var made *C.florence2_image
	var raised *C.florence2_error
	if err := check(C.florence2_image_from_pixels(&native, &made, &raised), raised); err != nil {
		return nil, err
	}
	return newImage(made), nil
}

// Size is the image's width and height in pixels; zeros once it is closed.
func (i *Image) Size() (width, height int) {
	pointer, err := i.handle.borrow()
	if err != nil {
		return 0, 0
	}
	defer i.handle.release()
	native := (*C.florence2_image)(pointer)
	return int(C.florence2_image_width_px(native)), int(C.florence2_image_height_px(native))
}

// Close frees the image, after the runs that use it have ended. It does not wait for them, and may be called more than
// once and from a callback.
func (i *Image) Close() error {
	i.handle.close()
	return nil
}

// Package florence2 captions, detects, grounds, segments and reads with Microsoft's Florence-2.
//
//	model, err := florence2.Load("Florence-2-base", nil)
//	...
//	defer model.Close()
//	img, err := florence2.OpenImage("street.jpg")
//	...
//	defer img.Close()
//	result, err := model.Run(ctx, florence2.Request{Image: img, Task: "<OD>"}, nil)
//
// It is linked with libflorence2, which pkg-config finds: PKG_CONFIG_PATH says where `cargo xtask dist` put it.
package florence2

/*
#cgo pkg-config: florence2
#include <florence2.h>
#include <stdlib.h>
*/
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"io"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// Version is the library's version.
func Version() string { return C.GoString(C.florence2_version()) }

// Devices are what a model can be loaded onto.
func Devices() []string {
	names := make([]string, C.florence2_device_count())
	for index := range names {
		names[index] = C.GoString(C.florence2_device_name(C.size_t(index)))
	}
	return names
}

// SystemInfo describes the library and the machine as a JSON object, for reports of faults.
func SystemInfo() string { return C.GoString(C.florence2_system_info_json()) }

// Trim frees memory that the library keeps for later runs.
func Trim() { C.florence2_trim() }

// SetSIMDLevel sets the SIMD level of the device cpu for the whole process, before the first model is loaded.
func SetSIMDLevel(level string) error {
	var texts cStrings
	defer texts.free()
	name := texts.of(level)
	if texts.err != nil {
		return texts.err
	}
	var raised *C.florence2_error
	return check(C.florence2_simd_level_set(name, &raised), raised)
}

// ErrClosed is returned by calls on a closed handle.
var ErrClosed = errors.New("florence2: already closed")

// handle is an object of the library. Any number of calls may use it at once, also nested ones and several uses in one
// call. It is freed when it is closed and no call uses it, by whichever of the two happens last.
type handle struct {
	lock    sync.Mutex
	pointer unsafe.Pointer
	users   int
	closed  bool
	free    func(unsafe.Pointer)
}

func newHandle(pointer unsafe.Pointer, free func(unsafe.Pointer)) *handle {
	return &handle{pointer: pointer, free: free}
}

// borrow returns the object. The caller must call release once for each borrow.
func (h *handle) borrow() (unsafe.Pointer, error) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	h.users++
	return h.pointer, nil
}

func (h *handle) release() {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.users--
	h.freeUnused()
}

func (h *handle) close() {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.closed = true
	h.freeUnused()
}

// freeUnused frees the object once. The caller holds the lock.
func (h *handle) freeUnused() {
	if h.closed && h.users == 0 && h.pointer != nil {
		h.free(h.pointer)
		h.pointer = nil
	}
}

// Model is a loaded model. Any number of goroutines may run it at once.
type Model struct{ handle *handle }

// LoadOptions says how to load; zero values are the defaults.
type LoadOptions struct {
	// Device is one of Devices, or auto.
	Device string
	// Dtype is how weights are kept and multiplied: f32, f16, bf16 or int8, as the device has them; empty for f32.
	Dtype string
	// Adapters are folders of LoRA adapters, merged in order.
	Adapters []string
	// Threads that the model computes with, its own; 0 for the process's.
	Threads int
}

// Load loads a model folder in either layout. A nil options is the default.
func Load(directory string, options *LoadOptions) (*Model, error) {
	var texts cStrings
	defer texts.free()
	folder := texts.of(directory)
	if texts.err != nil {
		return nil, texts.err
	}
	return load(options, func(native *C.florence2_load_options, model **C.florence2_model, raised **C.florence2_error) C.florence2_status {
		return C.florence2_model_load(folder, native, model, raised)
	})
}

// Demo loads the embedded demo model, which knows coloured shapes and short words.
func Demo(options *LoadOptions) (*Model, error) {
	return load(options, func(native *C.florence2_load_options, model **C.florence2_model, raised **C.florence2_error) C.florence2_status {
		return C.florence2_model_load_demo(native, model, raised)
	})
}

type loader func(*C.florence2_load_options, **C.florence2_model, **C.florence2_error) C.florence2_status

func load(options *LoadOptions, with loader) (*Model, error) {
	if options == nil {
		options = &LoadOptions{}
	}
	if options.Threads < 0 {
		return nil, &Error{InvalidArgument, fmt.Sprintf("argument `Threads`: found %d, expected 0 or more", options.Threads)}
	}
	var texts cStrings
	defer texts.free()
	var native C.florence2_load_options
	C.florence2_load_options_init(&native, C.size_t(unsafe.Sizeof(native)))
	native.device, native.dtype = texts.of(options.Device), texts.of(options.Dtype)
	native.threads = C.size_t(options.Threads)
	if count := len(options.Adapters); count > 0 {
		// Pointers to C strings must lie in C's memory too.
		adapters := C.malloc(C.size_t(count) * C.size_t(unsafe.Sizeof(uintptr(0))))
		defer C.free(adapters)
		for index, adapter := range options.Adapters {
			unsafe.Slice((**C.char)(adapters), count)[index] = texts.of(adapter)
		}
		native.adapters, native.adapters_len = (**C.char)(adapters), C.size_t(count)
	}
	if texts.err != nil {
		return nil, texts.err
	}
	var made *C.florence2_model
	var raised *C.florence2_error
	if err := check(with(&native, &made, &raised), raised); err != nil {
		return nil, err
	}
	model := &Model{newHandle(unsafe.Pointer(made), func(p unsafe.Pointer) { C.florence2_model_free((*C.florence2_model)(p)) })}
	runtime.AddCleanup(model, (*handle).close, model.handle)
	return model, nil
}

// Warnings are the settings and tensors of the model's files that it was loaded without, one line each; none when it is
// closed.
func (m *Model) Warnings() []string {
	pointer, err := m.handle.borrow()
	if err != nil {
		return nil
	}
	defer m.handle.release()
	native := (*C.florence2_model)(pointer)
	warnings := make([]string, C.florence2_model_warning_count(native))
	for index := range warnings {
		warnings[index] = C.GoString(C.florence2_model_warning(native, C.size_t(index)))
	}
	return warnings
}

// Close frees the model, after the runs that use it have ended. It does not wait for them, and may be called more than
// once and from a callback.
func (m *Model) Close() error {
	m.handle.close()
	return nil
}

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

// Features are an image that went through the vision tower once, to be asked often.
type Features struct{ handle *handle }

// Close frees the features, after the runs that use them have ended. It does not wait for them, and may be called more
// than once and from a callback.
func (f *Features) Close() error {
	f.handle.close()
	return nil
}

// Request is a question about an image, or about its features.
type Request struct {
	Image    *Image
	Features *Features
	// Task is a task's token, such as <OD>.
	Task string
	// Input is the task's text, where it needs one.
	Input string
	// Region is the task's box in pixels, where it needs one: x1, y1, x2, y2.
	Region *[4]float64
	// Prompt is free text instead of a task, for fine-tunes.
	Prompt string
}

// Token is a token as it is chosen.
type Token struct {
	Request int
	ID      uint32
	Text    string
	LogProb float32
}

// RunOptions says how to run; zero values are the model's own.
type RunOptions struct {
	// Generation holds options by their names in generation_config.json.
	Generation map[string]any
	// HFCompat gives transformers' integer coordinates.
	HFCompat bool
	// OnToken hears of each token; an error ends the run and is its error.
	OnToken func(Token) error
}

// Run answers one request. It ends early when the context does, with the context's error.
func (m *Model) Run(ctx context.Context, request Request, options *RunOptions) (*Result, error) {
	results, err := m.RunBatch(ctx, []Request{request}, options)
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

// RunBatch answers requests together, each as it would be answered alone.
func (m *Model) RunBatch(ctx context.Context, requests []Request, options *RunOptions) ([]*Result, error) {
	if len(requests) == 0 {
		return nil, nil
	}
	call, err := m.prepare(ctx, requests, options)
	if err != nil {
		return nil, err
	}
	defer call.release()
	made := make([]*C.florence2_result, len(requests))
	var raised *C.florence2_error
	status := C.florence2_model_run_batch(call.model, call.requests, C.size_t(len(requests)), call.options, unsafe.SliceData(made), &raised)
	if err := call.failure(ctx, status, raised); err != nil {
		return nil, err
	}
	results := make([]*Result, len(made))
	for index, native := range made {
		defer C.florence2_result_free(native)
		if results[index], err = newResult(native); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// EncodeImage runs the vision tower, once for many requests.
func (m *Model) EncodeImage(ctx context.Context, img *Image) (*Features, error) {
	call, err := m.prepare(ctx, []Request{{Image: img}}, nil)
	if err != nil {
		return nil, err
	}
	defer call.release()
	var made *C.florence2_image_features
	var raised *C.florence2_error
	status := C.florence2_model_encode_image(call.model, call.requests.image, call.options, &made, &raised)
	if err := call.failure(ctx, status, raised); err != nil {
		return nil, err
	}
	features := &Features{newHandle(unsafe.Pointer(made), func(p unsafe.Pointer) {
		C.florence2_image_features_free((*C.florence2_image_features)(p))
	})}
	runtime.AddCleanup(features, (*handle).close, features.handle)
	return features, nil
}

// Score tells how likely the model finds the target as the answer.
func (m *Model) Score(ctx context.Context, request Request, target string) (*Score, error) {
	call, err := m.prepare(ctx, []Request{request}, nil)
	if err != nil {
		return nil, err
	}
	defer call.release()
	var texts cStrings
	defer texts.free()
	text := texts.of(target)
	if texts.err != nil {
		return nil, texts.err
	}
	var made *C.florence2_score
	var raised *C.florence2_error
	status := C.florence2_model_score(call.model, call.requests, text, call.options, &made, &raised)
	if err := call.failure(ctx, status, raised); err != nil {
		return nil, err
	}
	defer C.florence2_score_free(made)
	score := &Score{}
	return score, json.Unmarshal([]byte(C.GoString(C.florence2_score_json(made))), score)
}

// nativeCall is a call's arguments in C's memory, and what to undo after it.
type nativeCall struct {
	model    *C.florence2_model
	requests *C.florence2_request
	options  *C.florence2_run_options
	listener *tokenListener
	undo     []func()
}

func (c *nativeCall) release() {
	for index := len(c.undo) - 1; index >= 0; index-- {
		c.undo[index]()
	}
}

// failure is a call's error: the callback's or the context's where one of them ended it.
func (c *nativeCall) failure(ctx context.Context, status C.florence2_status, raised *C.florence2_error) error {
	err := check(status, raised)
	if c.listener != nil && c.listener.paniced != nil {
		panic(c.listener.paniced)
	}
	if err != nil && c.listener != nil && c.listener.failed != nil {
		return c.listener.failed
	}
	if ended := ctx.Err(); ended != nil && (errors.Is(err, Cancelled) || errors.Is(err, DeadlineExceeded)) {
		return ended
	}
	return err
}

// prepare makes a call that the caller must release, unless it gives an error.
func (m *Model) prepare(ctx context.Context, requests []Request, options *RunOptions) (*nativeCall, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	call := &nativeCall{}
	if err := call.fillAll(ctx, m, requests, options); err != nil {
		call.release()
		return nil, err
	}
	return call, nil
}

func (c *nativeCall) fillAll(ctx context.Context, m *Model, requests []Request, options *RunOptions) error {
	model, err := m.handle.borrow()
	if err != nil {
		return err
	}
	c.undo = append(c.undo, m.handle.release)
	c.model = (*C.florence2_model)(model)
	texts := &cStrings{}
	c.undo = append(c.undo, texts.free)
	c.requests = (*C.florence2_request)(C.calloc(C.size_t(len(requests)), C.sizeof_florence2_request))
	c.undo = append(c.undo, func() { C.free(unsafe.Pointer(c.requests)) })
	for index, request := range requests {
		if err := c.fill(&unsafe.Slice(c.requests, len(requests))[index], request, texts); err != nil {
			return err
		}
	}
	return c.setOptions(ctx, options, texts)
}

func (c *nativeCall) fill(native *C.florence2_request, request Request, texts *cStrings) error {
	C.florence2_request_init(native, C.sizeof_florence2_request)
	if request.Image != nil {
		pointer, err := request.Image.handle.borrow()
		if err != nil {
			return err
		}
		c.undo = append(c.undo, request.Image.handle.release)
		native.image = (*C.florence2_image)(pointer)
	}
	if request.Features != nil {
		pointer, err := request.Features.handle.borrow()
		if err != nil {
			return err
		}
		c.undo = append(c.undo, request.Features.handle.release)
		native.image_features = (*C.florence2_image_features)(pointer)
	}
	native.task, native.prompt = texts.of(request.Task), texts.of(request.Prompt)
	native.input = texts.of(request.Input)
	if request.Region != nil {
		for index, coordinate := range request.Region {
			native.region[index] = C.double(coordinate)
		}
		native.region_unit = C.FLORENCE2_REGION_UNIT_PX
	}
	return texts.err
}

func (c *nativeCall) setOptions(ctx context.Context, options *RunOptions, texts *cStrings) error {
	c.options = (*C.florence2_run_options)(C.calloc(1, C.sizeof_florence2_run_options))
	c.undo = append(c.undo, func() { C.free(unsafe.Pointer(c.options)) })
	C.florence2_run_options_init(c.options, C.sizeof_florence2_run_options)
	if options == nil {
		options = &RunOptions{}
	}
	if len(options.Generation) > 0 {
		generation, err := json.Marshal(options.Generation)
		if err != nil {
			return err
		}
		c.options.generation_config = texts.of(string(generation))
	}
	if options.HFCompat {
		c.options.compat = C.FLORENCE2_COMPAT_HF
	}
	if options.OnToken != nil {
		c.listener = &tokenListener{onToken: options.OnToken}
		handle := listen(c.options, c.listener)
		c.undo = append(c.undo, handle.Delete)
	}
	if deadline, ok := ctx.Deadline(); ok {
		c.options.deadline_ms = C.uint64_t(max(1, time.Until(deadline).Milliseconds()))
	}
	return c.watch(ctx)
}

// watch fires the library's cancel when the context ends.
func (c *nativeCall) watch(ctx context.Context) error {
	if ctx.Done() == nil {
		return nil
	}
	var cancel *C.florence2_cancel
	var raised *C.florence2_error
	if err := check(C.florence2_cancel_new(&cancel, &raised), raised); err != nil {
		return err
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		C.florence2_cancel_fire(cancel)
		close(fired)
	})
	c.undo = append(c.undo, func() {
		if !stop() {
			<-fired
		}
		C.florence2_cancel_free(cancel)
	})
	c.options.cancel = cancel
	return nil
}

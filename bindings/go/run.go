package florence2

// #include <florence2.h>
import "C"

import (
	"context"
	"math"
	"runtime"
	"time"
	"unsafe"
)

// Features are the output of a model's vision tower for an image. Requests that use them skip the vision tower. Only the
// model that created them accepts them.
type Features struct{ handle *handle }

// Close frees the features, after the calls that use them have returned. It does not wait for them, and may be called more
// than once and from a callback. It returns nil.
func (f *Features) Close() error {
	f.handle.close()
	return nil
}

// RegionUnit is the unit of the field Region of a Request.
type RegionUnit int32

// The units of regions.
const (
	// UnitPixels is the unit of pixels of the image.
	UnitPixels RegionUnit = iota
	// UnitNormalized is the unit of fractions of the image's width and height, 0 to 1.
	UnitNormalized
)

// Request is an image with a task or a prompt. Set either Image or Features, either Task or Prompt and, if the task needs
// an input, either Input or Region.
type Request struct {
	Image *Image
	// Features are the features of the image, from EncodeImage of the same model.
	Features *Features
	// Task is a token such as [TaskOD].
	Task Task
	// Prompt is the text instead of a task, as Hugging Face's processor reads it: the token of a task with its input, or any
	// other text, which is passed to the model unchanged.
	Prompt string
	// Input is the input of the task as text: a phrase, or a region as four location tokens.
	Input string
	// Region is the input of the task as a box. A box that extends beyond the image is clipped. A box outside of the image
	// is an error.
	Region *Box
	// RegionUnit is the unit of Region. The default is UnitPixels.
	RegionUnit RegionUnit
}

// Token is a generated token.
type Token struct {
	// Request is the index of the token's request in the batch; 0 for Run.
	Request int
	ID      uint32
	// Text is the text of the token. A character that consists of several tokens is part of the text of the last of them.
	// The text of <s>, </s> and <pad> is empty.
	Text string
	// LogProb is the natural logarithm of the token's probability, given the tokens before it; 0 for a forced token.
	LogProb float32
}

// Progress is the progress of a run.
type Progress struct {
	// NewTokens is the number of tokens that were generated for each incomplete answer.
	NewTokens int
	// MaxNewTokens is the maximum number of tokens of an answer. Most answers are complete earlier.
	MaxNewTokens int
}

// Coordinates are the conventions of results where Microsoft's code and Hugging Face's transformers differ.
type Coordinates int32

// The conventions of results.
const (
	// BinCenters are the conventions of Microsoft's code: coordinates are the centres of the model's bins, with fractions.
	BinCenters Coordinates = C.FLORENCE2_COORDINATES_BIN_CENTERS
	// HFIntegers are the conventions of transformers: coordinates are the bins' centres, truncated to integers. Labels of
	// boxes lack the characters outside ASCII.
	HFIntegers Coordinates = C.FLORENCE2_COORDINATES_HF_INTEGERS
)

// RunOptions are the options of a run. The zero value has the defaults.
type RunOptions struct {
	// Generation holds the generation options.
	Generation GenerationOptions
	// Coordinates are the conventions of the result. The default is BinCenters.
	Coordinates Coordinates
	// LocationTolerance is the number of bins on each side of a generated coordinate that count as the same coordinate in
	// the scores of regions and answers; 1000 bins are a side of the image. It does not affect the generated tokens. Nil
	// selects the default, 50.
	LocationTolerance *int
	// OnToken is called once per generated token, in order, on the goroutine that runs. With greedy search or sampling and
	// one answer per request, it is called as soon as the token is chosen, otherwise after the search for the tokens of the
	// best answer. If it returns an error, the run ends with this error.
	OnToken func(Token) error
	// OnProgress is called once per step of the search, on the goroutine that runs. If it returns an error, the run ends
	// with this error.
	OnProgress func(Progress) error
}

// Outcome is the result of one request of a batch, or its error. One of the two is nil.
type Outcome struct {
	Result *Result
	Err    error
}

// Run runs a request: it preprocesses the image, runs the vision tower, generates tokens and parses the answer. Nil options
// are the defaults. If the context ends, the error matches ErrCancelled or ErrDeadlineExceeded, and the context's error.
func (m *Model) Run(ctx context.Context, request Request, options *RunOptions) (*Result, error) {
	call, err := m.prepare(ctx, []Request{request}, options)
	if err != nil {
		return nil, err
	}
	defer call.args.release()
	if err := call.refused[0]; err != nil {
		return nil, err
	}
	var made *C.florence2_result
	var raised *C.florence2_error
	status := C.florence2_model_run(call.model, call.requests, call.options, &made, &raised)
	if err := call.failure(ctx, status, raised); err != nil {
		return nil, err
	}
	return newResult(made), nil
}

// RunBatch runs requests in one batch and returns an outcome for each, in their order. A request that fails does not affect
// the others. Each result equals the result of Run. An image that several requests share is encoded once. Nil options are
// the defaults.
//
// RunBatch returns an error and no outcomes if an option is invalid, if the model is closed, if the context or a callback
// ends the run, or if the device fails.
func (m *Model) RunBatch(ctx context.Context, requests []Request, options *RunOptions) ([]Outcome, error) {
	call, err := m.prepare(ctx, requests, options)
	if err != nil {
		return nil, err
	}
	defer call.args.release()
	made := make([]*C.florence2_result, len(requests))
	failed := make([]*C.florence2_error, len(requests))
	var raised *C.florence2_error
	status := C.florence2_model_run_batch(call.model, call.requests, C.size_t(len(requests)), call.options,
		unsafe.SliceData(made), unsafe.SliceData(failed), &raised)
	if err := call.failure(ctx, status, raised); err != nil {
		return nil, err
	}
	outcomes := make([]Outcome, len(requests))
	for index, refused := range call.refused {
		outcomes[index] = newOutcome(made[index], failed[index], refused)
	}
	return outcomes, nil
}

// newOutcome converts the result or the error of a request. The error of an argument that the binding refused replaces
// the library's error about the empty request that was passed instead.
func newOutcome(made *C.florence2_result, failed *C.florence2_error, refused error) Outcome {
	if made != nil {
		return Outcome{Result: newResult(made)}
	}
	err := takeError(failed)
	if refused != nil {
		err = refused
	}
	return Outcome{Err: err}
}

// EncodeImage runs an image through the vision tower. The features serve any number of requests about the image.
func (m *Model) EncodeImage(ctx context.Context, img *Image) (*Features, error) {
	call, err := m.prepare(ctx, []Request{{Image: img}}, nil)
	if err != nil {
		return nil, err
	}
	defer call.args.release()
	if err := call.refused[0]; err != nil {
		return nil, err
	}
	var made *C.florence2_image_features
	var raised *C.florence2_error
	status := C.florence2_model_encode_image(call.model, call.requests.image, call.options, &made, &raised)
	if err := call.failure(ctx, status, raised); err != nil {
		return nil, err
	}
	features := &Features{newHandle("image features", unsafe.Pointer(made), func(p unsafe.Pointer) {
		C.florence2_image_features_free((*C.florence2_image_features)(p))
	})}
	runtime.AddCleanup(features, (*handle).close, features.handle)
	return features, nil
}

// Score computes the likelihood of a target as the answer to a request. The target is an answer as the model would generate
// it, without <s> and </s>.
func (m *Model) Score(ctx context.Context, request Request, target string) (*Score, error) {
	call, err := m.prepare(ctx, []Request{request}, nil)
	if err != nil {
		return nil, err
	}
	defer call.args.release()
	if err := call.refused[0]; err != nil {
		return nil, err
	}
	text := call.args.requiredText(target)
	if call.args.err != nil {
		return nil, call.args.err
	}
	var made *C.florence2_score
	var raised *C.florence2_error
	status := C.florence2_model_score(call.model, call.requests, text, call.options, &made, &raised)
	if err := call.failure(ctx, status, raised); err != nil {
		return nil, err
	}
	defer C.florence2_score_free(made)
	return readScore(made), nil
}

// nativeCall holds the arguments of a call on a model.
type nativeCall struct {
	args     arguments
	model    *C.florence2_model
	requests *C.florence2_request
	// refused holds an error for each request that the binding cannot pass to the library, else nil.
	refused   []error
	options   *C.florence2_run_options
	callbacks *runCallbacks
}

// failure returns the error of a call: the callback's or the context's, if one of them ended the call.
func (c *nativeCall) failure(ctx context.Context, status C.florence2_status, raised *C.florence2_error) error {
	return c.callbacks.failure(contextError(ctx, check(status, raised)))
}

// prepare converts the arguments of a call. The caller must release them, unless prepare returns an error.
func (m *Model) prepare(ctx context.Context, requests []Request, options *RunOptions) (*nativeCall, error) {
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	model, err := m.handle.borrow()
	if err != nil {
		return nil, err
	}
	call := &nativeCall{model: (*C.florence2_model)(model), refused: make([]error, len(requests))}
	call.args.onRelease(m.handle.release)
	call.requests = (*C.florence2_request)(call.args.array(len(requests), C.sizeof_florence2_request))
	for index, request := range requests {
		native := &unsafe.Slice(call.requests, len(requests))[index]
		if call.refused[index] = call.setRequest(native, request); call.refused[index] != nil {
			C.florence2_request_init(native, C.sizeof_florence2_request)
		}
	}
	if err := call.setOptions(ctx, options); err != nil {
		call.args.release()
		return nil, err
	}
	return call, nil
}

func (c *nativeCall) setRequest(native *C.florence2_request, request Request) error {
	C.florence2_request_init(native, C.sizeof_florence2_request)
	if request.Image != nil {
		pointer, err := request.Image.handle.borrow()
		if err != nil {
			return err
		}
		c.args.onRelease(request.Image.handle.release)
		native.image = (*C.florence2_image)(pointer)
	}
	if request.Features != nil {
		pointer, err := request.Features.handle.borrow()
		if err != nil {
			return err
		}
		c.args.onRelease(request.Features.handle.release)
		native.image_features = (*C.florence2_image_features)(pointer)
	}
	native.task, native.prompt = c.args.text(string(request.Task)), c.args.text(request.Prompt)
	native.input = c.args.text(request.Input)
	if box := request.Region; box != nil {
		native.region = [4]C.double{C.double(box.X1), C.double(box.Y1), C.double(box.X2), C.double(box.Y2)}
		// UnitPixels is the zero value here, and no region is 0 in C.
		native.region_unit = C.int32_t(request.RegionUnit) + C.FLORENCE2_REGION_UNIT_PX
	}
	return c.args.takeErr()
}

func (c *nativeCall) setOptions(ctx context.Context, options *RunOptions) error {
	c.options = (*C.florence2_run_options)(c.args.array(1, C.sizeof_florence2_run_options))
	C.florence2_run_options_init(c.options, C.sizeof_florence2_run_options)
	if options == nil {
		options = &RunOptions{}
	}
	generation, err := options.Generation.json()
	if err != nil {
		return err
	}
	c.options.generation_config = c.args.text(generation)
	c.options.coordinates = C.int32_t(options.Coordinates)
	if tolerance := options.LocationTolerance; tolerance != nil {
		// 0 is the default in C, and -1 is 0 bins.
		c.options.location_tolerance = -1
		if *tolerance != 0 {
			c.options.location_tolerance = C.int32_t(min(c.args.size("LocationTolerance", *tolerance), math.MaxInt32))
		}
	}
	c.callbacks = c.args.setRunCallbacks(c.options, options)
	if deadline, ok := ctx.Deadline(); ok {
		c.options.deadline_ms = C.uint64_t(max(1, time.Until(deadline).Milliseconds()))
	}
	c.options.cancel = c.args.cancel(ctx)
	return c.args.err
}

package florence2

// #include <florence2.h>
import "C"

import (
	"context"
	"encoding/json"
	"runtime"
	"time"
	"unsafe"
)

// Features are the output of a model's vision tower for an image. Several requests can share them.
type Features struct{ handle *handle }

// Close frees the features, after the runs that use them have ended. It does not wait for them, and may be called more
// than once and from a callback.
func (f *Features) Close() error {
	f.handle.close()
	return nil
}

// Request is a task or a prompt about an image or its features.
type Request struct {
	Image    *Image
	Features *Features
	// Task is a task's token, such as <OD>.
	Task string
	// Input is the task's text, if the task requires one.
	Input string
	// Region is the task's box in pixels, if the task requires one: x1, y1, x2, y2.
	Region *[4]float64
	// Prompt is free text instead of a task, for fine-tuned models.
	Prompt string
}

// Token is a generated token. Request is the index of its request in the batch.
type Token struct {
	Request int
	ID      uint32
	Text    string
	LogProb float32
}

// RunOptions are the options of a run. A zero value keeps the model's setting.
type RunOptions struct {
	// Generation holds the generation options.
	Generation GenerationOptions
	// HFCompat selects transformers' integer coordinates.
	HFCompat bool
	// OnToken is called once per generated token, in order, on the goroutine that runs. If it returns an error, the run
	// ends with this error.
	OnToken func(Token) error
}

// Outcome is the result of one request of a batch, or its error. One of the two is nil.
type Outcome struct {
	Result *Result
	Err    error
}

// Run runs one request. It ends early when the context ends, with the context's error.
func (m *Model) Run(ctx context.Context, request Request, options *RunOptions) (*Result, error) {
	results, err := m.RunBatch(ctx, []Request{request}, options)
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

// RunBatch runs requests in one batch. Each result equals the result of the request alone. If one request fails, the batch
// fails; RunBatchEach keeps the other results.
func (m *Model) RunBatch(ctx context.Context, requests []Request, options *RunOptions) ([]*Result, error) {
	if len(requests) == 0 {
		return nil, nil
	}
	call, err := m.prepare(ctx, requests, options)
	if err != nil {
		return nil, err
	}
	defer call.args.release()
	if err := call.refusal(); err != nil {
		return nil, err
	}
	made := make([]*C.florence2_result, len(requests))
	var raised *C.florence2_error
	status := C.florence2_model_run_batch(call.model, call.requests, C.size_t(len(requests)), call.options,
		unsafe.SliceData(made), nil, &raised)
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

// RunBatchEach runs requests in one batch, as RunBatch does, and returns an outcome for each: a request that fails does not
// discard the results of the others. The call fails if the options are invalid, the context or a callback ends it, or the
// device fails.
func (m *Model) RunBatchEach(ctx context.Context, requests []Request, options *RunOptions) ([]Outcome, error) {
	if len(requests) == 0 {
		return nil, nil
	}
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
	for index, outcome := range call.refused {
		outcomes[index] = newOutcome(made[index], failed[index], outcome)
	}
	return outcomes, nil
}

// newOutcome converts the result or the error of a request, which it frees. The error of an argument that the binding
// refused replaces the library's error about the empty request that was passed instead.
func newOutcome(made *C.florence2_result, failed *C.florence2_error, refused error) Outcome {
	defer C.florence2_result_free(made)
	if made == nil {
		err := takeError(failed)
		if refused != nil {
			err = refused
		}
		return Outcome{Err: err}
	}
	result, err := newResult(made)
	if err != nil {
		return Outcome{Err: err}
	}
	return Outcome{Result: result}
}

// EncodeImage runs the vision tower once, for any number of requests.
func (m *Model) EncodeImage(ctx context.Context, img *Image) (*Features, error) {
	call, err := m.prepare(ctx, []Request{{Image: img}}, nil)
	if err != nil {
		return nil, err
	}
	defer call.args.release()
	if err := call.refusal(); err != nil {
		return nil, err
	}
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

// Score computes the probability of a target as the answer to a request.
func (m *Model) Score(ctx context.Context, request Request, target string) (*Score, error) {
	call, err := m.prepare(ctx, []Request{request}, nil)
	if err != nil {
		return nil, err
	}
	defer call.args.release()
	text := call.args.text(target)
	if err := call.refusal(); err != nil {
		return nil, err
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

// nativeCall holds the arguments of a call on a model.
type nativeCall struct {
	args     arguments
	model    *C.florence2_model
	requests *C.florence2_request
	// refused holds an error for each request that the binding cannot pass to the library, else nil.
	refused []error
	options *C.florence2_run_options
	tokens  *callback[Token]
}

// refusal returns the first error of the arguments.
func (c *nativeCall) refusal() error {
	for _, err := range c.refused {
		if err != nil {
			return err
		}
	}
	return c.args.err
}

// failure returns the error of a call: the callback's or the context's, if one of them ended the call.
func (c *nativeCall) failure(ctx context.Context, status C.florence2_status, raised *C.florence2_error) error {
	return c.tokens.failure(contextError(ctx, check(status, raised)))
}

// prepare converts the arguments of a call. The caller must release them, unless prepare returns an error.
func (m *Model) prepare(ctx context.Context, requests []Request, options *RunOptions) (*nativeCall, error) {
	if err := ctx.Err(); err != nil {
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
	native.task, native.prompt = c.args.text(request.Task), c.args.text(request.Prompt)
	native.input = c.args.text(request.Input)
	if request.Region != nil {
		for index, coordinate := range request.Region {
			native.region[index] = C.double(coordinate)
		}
		native.region_unit = C.FLORENCE2_REGION_UNIT_PX
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
	if options.HFCompat {
		c.options.coordinates = C.FLORENCE2_COORDINATES_HF_INTEGERS
	}
	c.tokens = c.args.setTokenCallback(c.options, options.OnToken)
	if deadline, ok := ctx.Deadline(); ok {
		c.options.deadline_ms = C.uint64_t(max(1, time.Until(deadline).Milliseconds()))
	}
	c.options.cancel = c.args.cancel(ctx)
	return c.args.err
}

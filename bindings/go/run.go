package florence2

/*
#include <florence2.h>
#include <stdlib.h>
*/
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"time"
	"unsafe"
)

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

package florence2

/*
#include <florence2.h>
#include <stdlib.h>

extern int32_t florence2GoToken(florence2_token *token, uintptr_t callbacks);
extern int32_t florence2GoProgress(florence2_progress *progress, uintptr_t callbacks);
extern int32_t florence2GoLoadProgress(florence2_load_progress *progress, uintptr_t callback);

// Go's stack must not hold the number of a cgo.Handle as a pointer: it is passed to Go as a uintptr_t.
static int32_t florence2_go_on_token(const florence2_token *token, void *user) {
    return florence2GoToken((florence2_token *)token, (uintptr_t)user);
}

static int32_t florence2_go_on_progress(const florence2_progress *progress, void *user) {
    return florence2GoProgress((florence2_progress *)progress, (uintptr_t)user);
}

static int32_t florence2_go_on_load_progress(const florence2_load_progress *progress, void *user) {
    return florence2GoLoadProgress((florence2_load_progress *)progress, (uintptr_t)user);
}

static void florence2_go_set_run_callbacks(florence2_run_options *options, bool tokens, bool progress, uintptr_t callbacks) {
    options->on_token = tokens ? florence2_go_on_token : 0;
    options->on_progress = progress ? florence2_go_on_progress : 0;
    options->user = (void *)callbacks;
}

static void florence2_go_set_load_callback(florence2_load_options *options, uintptr_t callback) {
    options->on_progress = florence2_go_on_load_progress;
    options->user = (void *)callback;
}
*/
import "C"

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/cgo"
	"strings"
	"unsafe"
)

func init() {
	if found := uint32(C.florence2_abi_version()); found != C.FLORENCE2_ABI_VERSION {
		panic(fmt.Sprintf("libflorence2: found ABI %d, expected %d", found, C.FLORENCE2_ABI_VERSION))
	}
}

// arguments holds what the arguments of a call need until release: C memory, pinned Go memory and functions that undo its
// preparation. It keeps the first error of a conversion.
type arguments struct {
	undo   []func()
	pinner runtime.Pinner
	err    error
}

// release undoes the preparation in reverse order.
func (a *arguments) release() {
	for index := len(a.undo) - 1; index >= 0; index-- {
		a.undo[index]()
	}
	a.pinner.Unpin()
}

func (a *arguments) onRelease(undo func()) { a.undo = append(a.undo, undo) }

func (a *arguments) refuse(format string, values ...any) {
	if a.err == nil {
		a.err = &Error{Reason: ErrInvalidArgument, Message: fmt.Sprintf(format, values...)}
	}
}

// takeErr returns the error and clears it, so that the arguments of the next request are checked anew.
func (a *arguments) takeErr() error {
	err := a.err
	a.err = nil
	return err
}

// array returns cleared C memory for a number of elements, or NULL for none.
func (a *arguments) array(count int, size uintptr) unsafe.Pointer {
	if count == 0 {
		return nil
	}
	made := C.calloc(C.size_t(count), C.size_t(size))
	a.onRelease(func() { C.free(made) })
	return made
}

// text returns a C string, or NULL for an empty text. A NUL character is refused, because it ends a C string.
func (a *arguments) text(text string) *C.char {
	if text == "" {
		return nil
	}
	return a.requiredText(text)
}

// requiredText returns a C string, which may be empty.
func (a *arguments) requiredText(text string) *C.char {
	if strings.ContainsRune(text, 0) {
		a.refuse("text %q: found a NUL character, expected none", text)
		return nil
	}
	made := C.CString(text)
	a.onRelease(func() { C.free(unsafe.Pointer(made)) })
	return made
}

// bytes pins a slice, so that C memory may point to its elements.
func (a *arguments) bytes(data []byte) (*C.uint8_t, C.size_t) {
	if len(data) == 0 {
		return nil, 0
	}
	a.pinner.Pin(unsafe.SliceData(data))
	return (*C.uint8_t)(unsafe.SliceData(data)), C.size_t(len(data))
}

// size converts an argument to size_t, which represents no negative numbers.
func (a *arguments) size(name string, value int) C.size_t {
	if value < 0 {
		a.refuse("argument `%s`: found %d, expected 0 or more", name, value)
	}
	return C.size_t(value)
}

// pixels converts a coordinate or a length in pixels.
func (a *arguments) pixels(name string, value int) C.uint32_t {
	if int64(value) > math.MaxUint32 {
		a.refuse("argument `%s`: found %d, expected at most %d", name, value, uint32(math.MaxUint32))
	}
	return C.uint32_t(a.size(name, value))
}

// cancel returns a cancel token that is fired when the context ends, or NULL if the context cannot end.
func (a *arguments) cancel(ctx context.Context) *C.florence2_cancel {
	if ctx.Done() == nil || a.err != nil {
		return nil
	}
	var cancel *C.florence2_cancel
	var raised *C.florence2_error
	if a.err = check(C.florence2_cancel_new(&cancel, &raised), raised); a.err != nil {
		return nil
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		C.florence2_cancel_fire(cancel)
		close(fired)
	})
	a.onRelease(func() {
		if !stop() {
			<-fired
		}
		C.florence2_cancel_free(cancel)
	})
	return cancel
}

// stopper keeps the first error or panic of the callbacks of a call until the library returns.
type stopper struct {
	failed   error
	panicked any
}

// call calls a callback. It returns non-zero to end the library's call. The library may call callbacks again before it
// stops: they do not replace the first error or panic.
func (s *stopper) call(callback func() error) (stop C.int32_t) {
	if s.failed != nil || s.panicked != nil {
		return 1
	}
	defer func() {
		if s.panicked = recover(); s.panicked != nil {
			stop = 1
		}
	}()
	if s.failed = callback(); s.failed != nil {
		return 1
	}
	return 0
}

// failure returns the callback's error instead of the library's, if a callback ended the call. It repeats the
// callback's panic.
func (s *stopper) failure(err error) error {
	if s.panicked != nil {
		panic(s.panicked)
	}
	if err != nil && s.failed != nil {
		return s.failed
	}
	return err
}

// runCallbacks are the callbacks of a run.
type runCallbacks struct {
	stopper
	onToken    func(Token) error
	onProgress func(Progress) error
}

// loadCallback is the callback of a model's loading.
type loadCallback struct {
	stopper
	onProgress func(LoadProgress) error
}

//export florence2GoToken
func florence2GoToken(token *C.florence2_token, handle C.uintptr_t) C.int32_t {
	callbacks := cgo.Handle(handle).Value().(*runCallbacks)
	return callbacks.call(func() error {
		return callbacks.onToken(Token{
			Request: int(token.request),
			ID:      uint32(token.token_id),
			Text:    C.GoString(token.text),
			LogProb: float32(token.log_prob),
		})
	})
}

//export florence2GoProgress
func florence2GoProgress(progress *C.florence2_progress, handle C.uintptr_t) C.int32_t {
	callbacks := cgo.Handle(handle).Value().(*runCallbacks)
	return callbacks.call(func() error {
		return callbacks.onProgress(Progress{NewTokens: int(progress.new_tokens), MaxNewTokens: int(progress.max_new_tokens)})
	})
}

//export florence2GoLoadProgress
func florence2GoLoadProgress(progress *C.florence2_load_progress, handle C.uintptr_t) C.int32_t {
	callback := cgo.Handle(handle).Value().(*loadCallback)
	return callback.call(func() error {
		return callback.onProgress(LoadProgress{
			Tensors:         int(progress.tensors),
			TotalTensors:    int(progress.total_tensors),
			Parameters:      uint64(progress.parameters),
			TotalParameters: uint64(progress.total_parameters),
		})
	})
}

// setRunCallbacks sets the callbacks of a run.
func (a *arguments) setRunCallbacks(native *C.florence2_run_options, options *RunOptions) *runCallbacks {
	made := &runCallbacks{onToken: options.OnToken, onProgress: options.OnProgress}
	tokens, progress := options.OnToken != nil, options.OnProgress != nil
	if tokens || progress {
		C.florence2_go_set_run_callbacks(native, C.bool(tokens), C.bool(progress), a.callbackHandle(made))
	}
	return made
}

// setLoadCallback sets the callback of a model's loading.
func (a *arguments) setLoadCallback(native *C.florence2_load_options, onProgress func(LoadProgress) error) *loadCallback {
	made := &loadCallback{onProgress: onProgress}
	if onProgress != nil {
		C.florence2_go_set_load_callback(native, a.callbackHandle(made))
	}
	return made
}

func (a *arguments) callbackHandle(made any) C.uintptr_t {
	handle := cgo.NewHandle(made)
	a.onRelease(handle.Delete)
	return C.uintptr_t(handle)
}

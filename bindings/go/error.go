package florence2

// #include <florence2.h>
import "C"

import (
	"context"
	"errors"
	"fmt"
)

// The reasons of failures. Every error of this package matches one of them with [errors.Is], except errors that a reader
// or a callback of the program returned, which are returned unchanged.
var (
	// ErrInvalidArgument is the reason if an argument, an option or a combination of them is invalid. The message names it.
	ErrInvalidArgument = errors.New("florence2: invalid argument")
	// ErrIO is the reason if a file cannot be opened or read.
	ErrIO = errors.New("florence2: input or output error")
	// ErrInvalidModel is the reason if a file of the model is malformed, or the weights do not match the configuration.
	ErrInvalidModel = errors.New("florence2: invalid model")
	// ErrInvalidImage is the reason if an image cannot be decoded, has no pixels, or has more pixels than the limit.
	ErrInvalidImage = errors.New("florence2: invalid image")
	// ErrUnsupportedDevice is the reason if the device is not available in this build or on this machine, does not support
	// the dtype, or has too little memory for the model.
	ErrUnsupportedDevice = errors.New("florence2: unsupported device")
	// ErrNotInThisBuild is the reason if the library was built without a feature that the call requires.
	ErrNotInThisBuild = errors.New("florence2: not in this build of the library")
	// ErrCancelled is the reason if the context was cancelled. The error also matches [context.Canceled] and the cause of
	// the context.
	ErrCancelled = errors.New("florence2: cancelled")
	// ErrDeadlineExceeded is the reason if the deadline of the context passed. The error also matches
	// [context.DeadlineExceeded].
	ErrDeadlineExceeded = errors.New("florence2: deadline exceeded")
	// ErrNotFinite is the reason if the model computed no usable score, because its weights or its input contain NaN or
	// infinity.
	ErrNotFinite = errors.New("florence2: no finite score")
	// ErrPanic is the reason if the library has a bug (a Rust panic). All models and images remain valid.
	ErrPanic = errors.New("florence2: bug in the library")
	// ErrDeviceFailed is the reason if the device failed during a run: it ran out of memory, or its driver reported an
	// error. All later runs of the model fail too. Load the model again.
	ErrDeviceFailed = errors.New("florence2: device failed")
	// ErrForked is the reason if the process was forked after a model was loaded.
	ErrForked = errors.New("florence2: forked process")
	// ErrClosed is the reason if the model, the image or the features were closed before the call.
	ErrClosed = errors.New("florence2: already closed")
)

var reasons = map[C.florence2_status]error{
	C.FLORENCE2_STATUS_INVALID_ARGUMENT:   ErrInvalidArgument,
	C.FLORENCE2_STATUS_IO:                 ErrIO,
	C.FLORENCE2_STATUS_INVALID_MODEL:      ErrInvalidModel,
	C.FLORENCE2_STATUS_INVALID_IMAGE:      ErrInvalidImage,
	C.FLORENCE2_STATUS_UNSUPPORTED_DEVICE: ErrUnsupportedDevice,
	C.FLORENCE2_STATUS_NOT_IN_THIS_BUILD:  ErrNotInThisBuild,
	C.FLORENCE2_STATUS_CANCELLED:          ErrCancelled,
	C.FLORENCE2_STATUS_DEADLINE_EXCEEDED:  ErrDeadlineExceeded,
	C.FLORENCE2_STATUS_NOT_FINITE:         ErrNotFinite,
	C.FLORENCE2_STATUS_PANIC:              ErrPanic,
	C.FLORENCE2_STATUS_DEVICE_FAILED:      ErrDeviceFailed,
	C.FLORENCE2_STATUS_FORKED:             ErrForked,
}

// Error is the error of a failed call.
type Error struct {
	// Reason is one of the errors of this package, such as ErrInvalidImage. For a status of a later version of the library,
	// it is another error, which has the status's name.
	Reason error
	// Message is one line. It names the argument, file or key, the value that was found and the value that was expected.
	Message string
	// causes are the errors of the context that ended the call.
	causes []error
}

// Error returns the message.
func (e *Error) Error() string { return "florence2: " + e.Message }

// Unwrap returns the reason, and the errors of the context if the context ended the call.
func (e *Error) Unwrap() []error { return append([]error{e.Reason}, e.causes...) }

// check converts the status and the error of a call. It frees the error.
func check(status C.florence2_status, raised *C.florence2_error) error {
	if status == C.FLORENCE2_STATUS_OK {
		return nil
	}
	return takeError(raised)
}

// takeError converts an error of the library, which it frees.
func takeError(raised *C.florence2_error) error {
	defer C.florence2_error_free(raised)
	return &Error{Reason: reasonOf(C.florence2_error_status(raised)), Message: C.GoString(C.florence2_error_message(raised))}
}

func reasonOf(status C.florence2_status) error {
	if reason, ok := reasons[status]; ok {
		return reason
	}
	if name := C.florence2_status_name(C.int32_t(status)); name != nil {
		return fmt.Errorf("florence2: status %s", C.GoString(name))
	}
	return fmt.Errorf("florence2: status %d", int32(status))
}

// checkContext returns an error if the context has ended.
func checkContext(ctx context.Context) error {
	ended := ctx.Err()
	if ended == nil {
		return nil
	}
	made := &Error{Reason: ErrCancelled, Message: context.Cause(ctx).Error(), causes: []error{ended, context.Cause(ctx)}}
	if errors.Is(ended, context.DeadlineExceeded) {
		made.Reason = ErrDeadlineExceeded
	}
	return made
}

// contextError returns the error of the context instead of the library's, if the end of the context ended the call.
func contextError(ctx context.Context, err error) error {
	if !errors.Is(err, ErrCancelled) && !errors.Is(err, ErrDeadlineExceeded) {
		return err
	}
	if ended := checkContext(ctx); ended != nil {
		return ended
	}
	// The library can report the deadline before the context does. It has no other deadline than the context's.
	var failed *Error
	if errors.As(err, &failed) && failed.Reason == ErrDeadlineExceeded {
		failed.causes = []error{context.DeadlineExceeded}
	}
	return err
}

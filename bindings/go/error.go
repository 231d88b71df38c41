package florence2

// #include <florence2.h>
import "C"

import "fmt"

// Status is the reason of a failure. It is an error, so that errors.Is compares it:
//
//	errors.Is(err, florence2.InvalidImage)
type Status int32

// The statuses of the library. Later versions may add more.
const (
	InvalidArgument   Status = C.FLORENCE2_STATUS_INVALID_ARGUMENT
	IO                Status = C.FLORENCE2_STATUS_IO
	InvalidModel      Status = C.FLORENCE2_STATUS_INVALID_MODEL
	InvalidImage      Status = C.FLORENCE2_STATUS_INVALID_IMAGE
	UnsupportedDevice Status = C.FLORENCE2_STATUS_UNSUPPORTED_DEVICE
	NotInThisBuild    Status = C.FLORENCE2_STATUS_NOT_IN_THIS_BUILD
	Cancelled         Status = C.FLORENCE2_STATUS_CANCELLED
	DeadlineExceeded  Status = C.FLORENCE2_STATUS_DEADLINE_EXCEEDED
	NotFinite         Status = C.FLORENCE2_STATUS_NOT_FINITE
	Panic             Status = C.FLORENCE2_STATUS_PANIC
	DeviceFailed      Status = C.FLORENCE2_STATUS_DEVICE_FAILED
	Forked            Status = C.FLORENCE2_STATUS_FORKED
)

// Error returns the status's name, or its number if the library has no name for it.
func (s Status) Error() string {
	if name := C.florence2_status_name(C.int32_t(s)); name != nil {
		return C.GoString(name)
	}
	return fmt.Sprintf("florence2 status %d", int32(s))
}

// Error is the failure of a call, with the library's message.
type Error struct {
	Status  Status
	Message string
}

func (e *Error) Error() string { return "florence2: " + e.Message }

// Unwrap returns the status, for errors.Is.
func (e *Error) Unwrap() error { return e.Status }

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
	return &Error{Status(C.florence2_error_status(raised)), C.GoString(C.florence2_error_message(raised))}
}

package florence2

/*
#include <florence2.h>
#include <stdlib.h>

extern int32_t florence2GoToken(florence2_token *token, void *user);

static int32_t florence2_go_on_token(const florence2_token *token, void *user) {
    return florence2GoToken((florence2_token *)token, user);
}

static void florence2_go_hear_tokens(florence2_run_options *options, uintptr_t handle) {
    options->on_token = florence2_go_on_token;
    options->user = (void *)handle;
}
*/
import "C"

import (
	"fmt"
	"runtime/cgo"
	"strings"
	"unsafe"
)

func init() {
	if found := uint32(C.florence2_abi_version()); found != C.FLORENCE2_ABI_VERSION {
		panic(fmt.Sprintf("libflorence2: found ABI %d, expected %d", found, C.FLORENCE2_ABI_VERSION))
	}
}

// Status says why a call failed. It is an error, so that errors.Is tells which:
//
//	errors.Is(err, florence2.InvalidImage)
type Status int32

// The reasons that there are.
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

// Error is the status' name.
func (s Status) Error() string {
	if name := C.florence2_status_name(C.int32_t(s)); name != nil {
		return C.GoString(name)
	}
	return fmt.Sprintf("florence2 status %d", int32(s))
}

// Error is a call that failed, with the library's message.
type Error struct {
	Status  Status
	Message string
}

func (e *Error) Error() string { return "florence2: " + e.Message }

// Unwrap gives the status, for errors.Is.
func (e *Error) Unwrap() error { return e.Status }

// check makes an error of a status and of what the library says about it, which it frees.
func check(status C.florence2_status, raised *C.florence2_error) error {
	if status == C.FLORENCE2_STATUS_OK {
		return nil
	}
	defer C.florence2_error_free(raised)
	return &Error{Status(status), C.GoString(C.florence2_error_message(raised))}
}

// cStrings holds C strings until free, and the first text that C could not read.
type cStrings struct {
	made []unsafe.Pointer
	err  error
}

// of gives the string, or NULL for an empty one. C's end with NUL, so none may be inside.
func (s *cStrings) of(text string) *C.char {
	if text == "" {
		return nil
	}
	if strings.ContainsRune(text, 0) {
		s.err = &Error{InvalidArgument, fmt.Sprintf("text %q: found a NUL character, expected none", text)}
		return nil
	}
	made := C.CString(text)
	s.made = append(s.made, unsafe.Pointer(made))
	return made
}

func (s *cStrings) free() {
	for _, text := range s.made {
		C.free(text)
	}
}

//export florence2GoToken
func florence2GoToken(token *C.florence2_token, user unsafe.Pointer) C.int32_t {
	listener := cgo.Handle(uintptr(user)).Value().(*tokenListener)
	return listener.hear(Token{
		Request: int(token.request),
		ID:      uint32(token.token_id),
		Text:    C.GoString(token.text),
		LogProb: float32(token.log_prob),
	})
}

// tokenListener carries a callback's error, or its panic, past the library.
type tokenListener struct {
	onToken func(Token) error
	failed  error
	paniced any
}

// hear returns non-zero to end the run. The library may report further tokens before it stops: they must not replace the
// first error or panic.
func (l *tokenListener) hear(token Token) (stop C.int32_t) {
	if l.failed != nil || l.paniced != nil {
		return 1
	}
	defer func() {
		if l.paniced = recover(); l.paniced != nil {
			stop = 1
		}
	}()
	if l.failed = l.onToken(token); l.failed != nil {
		return 1
	}
	return 0
}

// listen makes the options tell the listener of tokens, until the handle is deleted.
func listen(options *C.florence2_run_options, listener *tokenListener) cgo.Handle {
	handle := cgo.NewHandle(listener)
	C.florence2_go_hear_tokens(options, C.uintptr_t(handle))
	return handle
}

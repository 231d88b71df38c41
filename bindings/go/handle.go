package florence2

import (
	"fmt"
	"sync"
	"unsafe"
)

// handle is an object of the library. Any number of calls may use it at once; calls may be nested, and one call may use it
// several times. It is freed when it is closed and no call uses it, by whichever of the two happens last.
type handle struct {
	lock    sync.Mutex
	name    string
	pointer unsafe.Pointer
	users   int
	closed  bool
	free    func(unsafe.Pointer)
}

func newHandle(name string, pointer unsafe.Pointer, free func(unsafe.Pointer)) *handle {
	return &handle{name: name, pointer: pointer, free: free}
}

// borrow returns the object. The caller must call release once for each borrow.
func (h *handle) borrow() (unsafe.Pointer, error) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.closed {
		return nil, &Error{Reason: ErrClosed, Message: fmt.Sprintf("%s: found it closed, expected it open", h.name)}
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

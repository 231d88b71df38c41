package florence2

/*
#include <florence2.h>
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

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

package florence2

// #include <florence2.h>
import "C"

import (
	"context"
	"maps"
	"math"
	"runtime"
	"slices"
	"unsafe"
)

// Model is a loaded model. Any number of goroutines may run it at once.
type Model struct{ handle *handle }

// Files are the contents of the files of a model's or an adapter's folder, by name, such as "config.json".
type Files map[string][]byte

// Adapter is a LoRA adapter in PEFT's format, in a folder or in memory. One of Folder and Files must be set.
type Adapter struct {
	// Folder holds adapter_config.json and the adapter's weights.
	Folder string
	// Files holds adapter_config.json and the adapter's weights in memory.
	Files Files
	// Scale is the factor of the adapter's updates, as PEFT's set_scale; 0 for 1.
	Scale float32
}

// LoadProgress is the progress of loading a model. A parameter is one value of a tensor.
type LoadProgress struct {
	Tensors, TotalTensors       int
	Parameters, TotalParameters uint64
}

// LoadOptions are the options of loading a model. A zero value is the default.
type LoadOptions struct {
	// Device is one of Devices, or auto.
	Device string
	// Dtype is the number type of the weights and their products: f32, f16, bf16 or int8; empty for f32. A device may
	// support only some of them.
	Dtype string
	// Adapters are merged into the weights in this order.
	Adapters []Adapter
	// Threads is the size of the model's own thread pool; 0 for the pool that all models of the process share.
	Threads int
	// SpinLimit is the largest number of threads that spin between two operations of a run on the CPU; 0 for the
	// library's default, -1 for none.
	SpinLimit int
	// Weights is the path of a weights file or of an index of shards that replaces the weights in the model's folder.
	Weights string
	// Processor is a folder with the files of the image processor and the tokenizer, if they are not in the model's folder.
	Processor string
	// Context ends the loading early, with the context's error; nil for context.Background().
	Context context.Context
	// OnProgress is called before the first tensor and after each, on the goroutine that loads. If it returns an error,
	// the loading ends with this error.
	OnProgress func(LoadProgress) error
}

// Load loads a model from a folder in Microsoft's or Hugging Face's layout. A nil options is the default.
func Load(directory string, options *LoadOptions) (*Model, error) {
	var args arguments
	defer args.release()
	folder := args.text(directory)
	return load(&args, options, func(native *C.florence2_load_options, model **C.florence2_model, raised **C.florence2_error) C.florence2_status {
		return C.florence2_model_load(folder, native, model, raised)
	})
}

// LoadFiles loads a model whose files are in memory: config.json, the image processor's and the tokenizer's files, and the
// weights, which may be shards with their index. The files are read during the call only.
func LoadFiles(files Files, options *LoadOptions) (*Model, error) {
	var args arguments
	defer args.release()
	native, count := args.files(files)
	return load(&args, options, func(options *C.florence2_load_options, model **C.florence2_model, raised **C.florence2_error) C.florence2_status {
		return C.florence2_model_load_memory(native, count, options, model, raised)
	})
}

// Demo loads the embedded demo model, which was trained on coloured shapes and short words.
func Demo(options *LoadOptions) (*Model, error) {
	var args arguments
	defer args.release()
	return load(&args, options, func(native *C.florence2_load_options, model **C.florence2_model, raised **C.florence2_error) C.florence2_status {
		return C.florence2_model_load_demo(native, model, raised)
	})
}

type loader func(*C.florence2_load_options, **C.florence2_model, **C.florence2_error) C.florence2_status

func load(args *arguments, options *LoadOptions, with loader) (*Model, error) {
	if options == nil {
		options = &LoadOptions{}
	}
	ctx := options.Context
	if ctx == nil {
		ctx = context.Background()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	native := (*C.florence2_load_options)(args.array(1, C.sizeof_florence2_load_options))
	C.florence2_load_options_init(native, C.sizeof_florence2_load_options)
	native.device, native.dtype = args.text(options.Device), args.text(options.Dtype)
	native.adapters, native.adapters_len = args.adapters(options.Adapters)
	native.threads = args.size("Threads", options.Threads)
	native.spin_limit = C.int32_t(max(math.MinInt32, min(options.SpinLimit, math.MaxInt32)))
	native.weights, native.processor = args.text(options.Weights), args.text(options.Processor)
	native.cancel = args.cancel(ctx)
	progress := args.setLoadCallback(native, options.OnProgress)
	if args.err != nil {
		return nil, args.err
	}
	var made *C.florence2_model
	var raised *C.florence2_error
	err := check(with(native, &made, &raised), raised)
	if err := progress.failure(contextError(ctx, err)); err != nil {
		return nil, err
	}
	model := &Model{newHandle(unsafe.Pointer(made), func(p unsafe.Pointer) { C.florence2_model_free((*C.florence2_model)(p)) })}
	runtime.AddCleanup(model, (*handle).close, model.handle)
	return model, nil
}

// files returns an array of files in C memory, in the order of their names.
func (a *arguments) files(files Files) (*C.florence2_file, C.size_t) {
	made := (*C.florence2_file)(a.array(len(files), C.sizeof_florence2_file))
	for index, name := range slices.Sorted(maps.Keys(files)) {
		native := &unsafe.Slice(made, len(files))[index]
		native.name = a.text(name)
		native.data, native.data_len = a.bytes(files[name])
	}
	return made, C.size_t(len(files))
}

// adapters returns an array of adapters in C memory.
func (a *arguments) adapters(adapters []Adapter) (*C.florence2_adapter, C.size_t) {
	made := (*C.florence2_adapter)(a.array(len(adapters), C.sizeof_florence2_adapter))
	for index, adapter := range adapters {
		native := &unsafe.Slice(made, len(adapters))[index]
		native.folder, native.scale = a.text(adapter.Folder), C.float(adapter.Scale)
		native.files, native.files_len = a.files(adapter.Files)
	}
	return made, C.size_t(len(adapters))
}

// Warnings returns one line for each setting and tensor of the model's files that the model was loaded without. It returns
// none for a closed model.
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

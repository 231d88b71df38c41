package florence2

// #include <florence2.h>
import "C"

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"runtime"
	"slices"
	"unsafe"
)

// Model is a loaded model. Any number of goroutines may run it at the same time.
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

// LoadOptions are the options of loading a model. The zero value has the defaults.
type LoadOptions struct {
	// Device is one of the names of Devices, or "auto" for a GPU if there is one that supports the dtype, else "cpu". The
	// default is "auto".
	Device string
	// Dtype is the format of the weights: "f32", "f16", "bf16" or "int8", or "auto" for "f32". A device may support only
	// some of them. The default is "auto".
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
	// OnProgress is called before the first tensor and after each, on the goroutine that loads. If it returns an error,
	// the loading ends with this error.
	OnProgress func(LoadProgress) error
}

// Load loads a model from a folder in the layout of Microsoft's or Hugging Face's checkpoints. Nil options are the defaults.
// If the context ends, the error matches ErrCancelled or ErrDeadlineExceeded, and the context's error.
func Load(ctx context.Context, directory string, options *LoadOptions) (*Model, error) {
	var args arguments
	defer args.release()
	folder := args.requiredText(directory)
	return load(ctx, &args, options, func(native *C.florence2_load_options, model **C.florence2_model, raised **C.florence2_error) C.florence2_status {
		return C.florence2_model_load(folder, native, model, raised)
	})
}

// LoadMemory loads a model whose files are in memory, as Load does: config.json, the files of the image processor and the
// tokenizer, and the weights, which may be shards with their index. The files are read only during the call.
func LoadMemory(ctx context.Context, files Files, options *LoadOptions) (*Model, error) {
	var args arguments
	defer args.release()
	native, count := args.files(files)
	return load(ctx, &args, options, func(options *C.florence2_load_options, model **C.florence2_model, raised **C.florence2_error) C.florence2_status {
		return C.florence2_model_load_memory(native, count, options, model, raised)
	})
}

// Demo loads the demo model that is embedded in the library: a very small Florence-2 that recognises coloured shapes and
// short words. Its answers about other images are meaningless. The error matches ErrNotInThisBuild if the library was built
// without it.
func Demo(ctx context.Context, options *LoadOptions) (*Model, error) {
	var args arguments
	defer args.release()
	return load(ctx, &args, options, func(native *C.florence2_load_options, model **C.florence2_model, raised **C.florence2_error) C.florence2_status {
		return C.florence2_model_load_demo(native, model, raised)
	})
}

type loader func(*C.florence2_load_options, **C.florence2_model, **C.florence2_error) C.florence2_status

func load(ctx context.Context, args *arguments, options *LoadOptions, with loader) (*Model, error) {
	if options == nil {
		options = &LoadOptions{}
	}
	if err := checkContext(ctx); err != nil {
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
	model := &Model{newHandle("model", unsafe.Pointer(made), func(p unsafe.Pointer) { C.florence2_model_free((*C.florence2_model)(p)) })}
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

// read calls a function with the model of the library, unless the model is closed.
func (m *Model) read(with func(*C.florence2_model) error) error {
	pointer, err := m.handle.borrow()
	if err != nil {
		return err
	}
	defer m.handle.release()
	return with((*C.florence2_model)(pointer))
}

// Device returns the name of the model's device, such as "cpu", and an empty text for a closed model.
func (m *Model) Device() (name string) {
	m.read(func(native *C.florence2_model) error {
		name = C.GoString(C.florence2_model_device(native))
		return nil
	})
	return name
}

// ModelInfo describes a model.
type ModelInfo struct {
	Device string `json:"device"`
	Dtype  string `json:"dtype"`
	// Threads is the number of threads on which the model runs.
	Threads int `json:"threads"`
	// VocabSize is the number of tokens in the vocabulary.
	VocabSize int `json:"vocab_size"`
	// MaxNewTokens is the maximum number of tokens of an answer.
	MaxNewTokens int `json:"max_new_tokens"`
	// Generation holds the generation options that apply if the options of a run do not set them.
	Generation GenerationOptions `json:"generation_config"`
}

// Info describes the model.
func (m *Model) Info() (info ModelInfo, err error) {
	err = m.read(func(native *C.florence2_model) error {
		return json.Unmarshal([]byte(C.GoString(C.florence2_model_info_json(native))), &info)
	})
	return info, err
}

// TokenID returns the id of a token, for fields such as GenerationOptions.EOSTokenID. The token is written as in the
// tokenizer's file. The error matches ErrInvalidArgument if the vocabulary does not contain it.
func (m *Model) TokenID(token string) (id uint32, err error) {
	var args arguments
	defer args.release()
	text := args.requiredText(token)
	if args.err != nil {
		return 0, args.err
	}
	err = m.read(func(native *C.florence2_model) error {
		var raised *C.florence2_error
		return check(C.florence2_model_token_id(native, text, (*C.uint32_t)(&id), &raised), raised)
	})
	return id, err
}

// Warnings returns one line for each setting and tensor of the model's files that the library does not use. It returns none
// for a closed model.
func (m *Model) Warnings() (warnings []string) {
	m.read(func(native *C.florence2_model) error {
		warnings = make([]string, C.florence2_model_warning_count(native))
		for index := range warnings {
			warnings[index] = C.GoString(C.florence2_model_warning(native, C.size_t(index)))
		}
		return nil
	})
	return warnings
}

// Close frees the model, after the calls that use it have returned. It does not wait for them, and may be called more than
// once and from a callback. It returns nil.
func (m *Model) Close() error {
	m.handle.close()
	return nil
}

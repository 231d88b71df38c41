// Package florence2 captions, detects, grounds, segments and reads with Microsoft's Florence-2.
//
//	model, err := florence2.Load(ctx, "Florence-2-base-ft", nil)
//	...
//	defer model.Close()
//	img, err := florence2.OpenImage("street.jpg")
//	...
//	defer img.Close()
//	result, err := model.Run(ctx, florence2.Request{Image: img, Task: florence2.TaskOD}, nil)
//
// # Linking
//
// The package uses cgo and libflorence2, which pkg-config finds: PKG_CONFIG_PATH must contain the folder of florence2.pc,
// which `cargo xtask dist` writes. A program finds the shared library at run time in one of these ways:
//
//   - CGO_LDFLAGS="-Wl,-rpath,$(pkg-config --variable=libdir florence2)" at build time stores the folder in the program.
//     '-Wl,-rpath,$ORIGIN' stores the folder of the program itself.
//   - LD_LIBRARY_PATH (Linux) or DYLD_LIBRARY_PATH (macOS) contains the folder at run time.
//   - The library is installed in a folder of the system's loader.
//
// With the build tag florence2_static, the program contains the static library and needs none of them.
//
// # Contexts, goroutines and memory
//
// A context cancels a call and sets its deadline. Any number of goroutines may use a model, an image or features at the
// same time. Close frees them, after the calls that use them have returned. The garbage collector frees those that are not
// closed.
//
// # Callbacks
//
// Callbacks run on the goroutine of the call, which waits for them. They may call any function of this package, also on the
// objects that the call uses. The error of a callback ends the call, which returns this error. A panic of a callback ends
// the call too, and continues after it. A callback must not call [runtime.Goexit], as the methods FailNow and Fatal of
// [testing.T] do. The handler of SetLogger has other rules.
//
// # Absent values
//
// A value that can be absent is a pointer, which is nil if it is absent: scores, and options whose zero value is not their
// default. Ptr returns pointers to values.
//
// # Functions of the C API that this package does not export
//
//   - florence2_abi_version: checked when the package is initialised.
//   - florence2_cancel_new, florence2_cancel_fire, florence2_cancel_is_fired and florence2_cancel_free: contexts cancel
//     calls.
//   - florence2_score_json: [Score] has its values.
//   - The functions that initialise or free structs, and those that read errors: the package calls them itself.
//
// The package passes [GenerationOptions] as JSON, and does not set the fields of florence2_run_options with the same names.
package florence2

// #include <florence2.h>
import "C"

// Version returns the version of the library, such as "1.2.3".
func Version() string { return C.GoString(C.florence2_version()) }

// Devices returns the names of the devices on which a model can be loaded, best first. The first call searches for GPUs.
func Devices() []string {
	names := make([]string, C.florence2_device_count())
	for index := range names {
		names[index] = C.GoString(C.florence2_device_name(C.size_t(index)))
	}
	return names
}

// SystemInfo describes the library and the machine as a JSON object, for bug reports.
func SystemInfo() string { return C.GoString(C.florence2_system_info_json()) }

// Trim frees the memory that the library keeps for later runs. Models, images and features remain valid.
func Trim() { C.florence2_trim() }

// SetSIMDLevel sets the SIMD level of the device "cpu" for the whole process. Call it before the first model is loaded.
// Later, it succeeds only for the level in use. The levels are "portable", "avx2", "avx2-vnni", "avx512", "avx512-vnni",
// "avx512-dot" and "amx" on x86-64, and "portable", "neon" and "neon-dot" on AArch64.
func SetSIMDLevel(level string) error {
	var args arguments
	defer args.release()
	name := args.text(level)
	if args.err != nil {
		return args.err
	}
	var raised *C.florence2_error
	return check(C.florence2_simd_level_set(name, &raised), raised)
}

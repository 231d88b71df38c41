// Package florence2 captions, detects, grounds, segments and reads with Microsoft's Florence-2.
//
//	model, err := florence2.Load("Florence-2-base", nil)
//	...
//	defer model.Close()
//	img, err := florence2.OpenImage("street.jpg")
//	...
//	defer img.Close()
//	result, err := model.Run(ctx, florence2.Request{Image: img, Task: "<OD>"}, nil)
//
// The package is linked with libflorence2, which pkg-config finds: PKG_CONFIG_PATH must name the folder with florence2.pc,
// which `cargo xtask dist` writes.
package florence2

/*
#cgo pkg-config: florence2
#include <florence2.h>
*/
import "C"

// Version returns the version of the library.
func Version() string { return C.GoString(C.florence2_version()) }

// Devices returns the devices that a model can be loaded onto, best first.
func Devices() []string {
	names := make([]string, C.florence2_device_count())
	for index := range names {
		names[index] = C.GoString(C.florence2_device_name(C.size_t(index)))
	}
	return names
}

// SystemInfo describes the library and the machine as a JSON object, for reports of faults.
func SystemInfo() string { return C.GoString(C.florence2_system_info_json()) }

// Trim frees memory that the library keeps for later runs.
func Trim() { C.florence2_trim() }

// SetSIMDLevel sets the SIMD level of the device cpu for the whole process. It must be called before the first model is
// loaded.
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

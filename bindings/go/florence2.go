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
// It is linked with libflorence2, which pkg-config finds: PKG_CONFIG_PATH says where `cargo xtask dist` put it.
package florence2

/*
#cgo pkg-config: florence2
#include <florence2.h>
#include <stdlib.h>
*/
import "C"

// Version is the library's version.
func Version() string { return C.GoString(C.florence2_version()) }

// Devices are what a model can be loaded onto.
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

// SetSIMDLevel sets the SIMD level of the device cpu for the whole process, before the first model is loaded.
func SetSIMDLevel(level string) error {
	var texts cStrings
	defer texts.free()
	name := texts.of(level)
	if texts.err != nil {
		return texts.err
	}
	var raised *C.florence2_error
	return check(C.florence2_simd_level_set(name, &raised), raised)
}

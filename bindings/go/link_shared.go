//go:build !florence2_static

package florence2

// #cgo pkg-config: florence2
import "C"

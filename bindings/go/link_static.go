//go:build florence2_static

package florence2

// #cgo pkg-config: florence2-static
import "C"

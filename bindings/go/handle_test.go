package florence2

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// freed reports whether the garbage collector frees an object within 10 seconds.
func freed(h *handle) bool {
	for range 1000 {
		runtime.GC()
		h.lock.Lock()
		pointer := h.pointer
		h.lock.Unlock()
		if pointer == nil {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func TestTheGarbageCollectorFreesObjects(t *testing.T) {
	ctx := context.Background()
	model, err := Demo(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	img, err := OpenImage("../../assets/demo-model/scenes/scene-1.png")
	if err != nil {
		t.Fatal(err)
	}
	features, err := model.EncodeImage(ctx, img)
	if err != nil {
		t.Fatal(err)
	}
	options := &RunOptions{Generation: GenerationOptions{NumBeams: Ptr(2), NumReturnSequences: Ptr(2)}}
	result, err := model.Run(ctx, Request{Features: features, Task: TaskCaption}, options)
	if err != nil {
		t.Fatal(err)
	}
	handles := map[string]*handle{"model": model.handle, "image": img.handle, "features": features.handle}
	for name, handle := range handles {
		if handle.pointer == nil {
			t.Errorf("the %s is freed before its end", name)
		}
	}
	runtime.KeepAlive(model)
	runtime.KeepAlive(img)
	runtime.KeepAlive(features)
	for name, handle := range handles {
		if !freed(handle) {
			t.Errorf("the %s is not freed", name)
		}
	}
	owner, alternative := result.owner.handle, result.Alternatives[0]
	runtime.GC()
	if text, err := alternative.MarshalJSON(); err != nil || len(text) == 0 || owner.pointer == nil {
		t.Errorf("found %s, %v, expected the alternative's JSON", text, err)
	}
	runtime.KeepAlive(alternative)
	if !freed(owner) {
		t.Error("the result is not freed")
	}
}

package florence2

/*
#include <florence2.h>

extern void florence2GoLog(int32_t level, char *target, char *message, uintptr_t logger);

static void florence2_go_on_log(florence2_log_level level, const char *target, const char *message, void *user) {
    florence2GoLog(level, (char *)target, (char *)message, (uintptr_t)user);
}

static florence2_status florence2_go_log_set(uintptr_t logger, int32_t level, florence2_error **error) {
    return florence2_log_set(logger == 0 ? 0 : florence2_go_on_log, (void *)logger, level, error);
}
*/
import "C"

import (
	"context"
	"log/slog"
	"runtime/cgo"
	"sync"
)

// LevelTrace is the level of the library's most detailed messages, below [slog.LevelDebug].
const LevelTrace = slog.LevelDebug - 4

// logLevels are the levels of the library and of slog, from the most severe.
var logLevels = []struct {
	native C.int32_t
	level  slog.Level
}{
	{C.FLORENCE2_LOG_LEVEL_ERROR, slog.LevelError},
	{C.FLORENCE2_LOG_LEVEL_WARN, slog.LevelWarn},
	{C.FLORENCE2_LOG_LEVEL_INFO, slog.LevelInfo},
	{C.FLORENCE2_LOG_LEVEL_DEBUG, slog.LevelDebug},
	{C.FLORENCE2_LOG_LEVEL_TRACE, LevelTrace},
}

var currentLogger struct {
	lock   sync.Mutex
	handle cgo.Handle
}

// SetLogger sets the logger that receives the library's messages, for the whole process; nil for no logger. The attribute
// "target" of a message names the part of the library. The levels for which the logger is enabled are read during this
// call. The logger's handler must be safe for concurrent use. It must not load or run a model, or call SetLogger or Trim.
func SetLogger(logger *slog.Logger) error {
	currentLogger.lock.Lock()
	defer currentLogger.lock.Unlock()
	var handle cgo.Handle
	level := C.int32_t(C.FLORENCE2_LOG_LEVEL_OFF)
	if logger != nil {
		handle = cgo.NewHandle(logger)
		for _, pair := range logLevels {
			if logger.Enabled(context.Background(), pair.level) {
				level = pair.native
			}
		}
	}
	var raised *C.florence2_error
	err := check(C.florence2_go_log_set(C.uintptr_t(handle), level, &raised), raised)
	if err == nil {
		// The library no longer calls the callback of the previous logger.
		handle, currentLogger.handle = currentLogger.handle, handle
	}
	if handle != 0 {
		handle.Delete()
	}
	return err
}

//export florence2GoLog
func florence2GoLog(level C.int32_t, target, message *C.char, logger C.uintptr_t) {
	defer func() {
		// A panic must not unwind the library's frames. It ends the program, as in any goroutine.
		if panicked := recover(); panicked != nil {
			go panic(panicked)
			select {}
		}
	}()
	for _, pair := range logLevels {
		if pair.native == level {
			cgo.Handle(logger).Value().(*slog.Logger).Log(context.Background(), pair.level, C.GoString(message),
				"target", C.GoString(target))
		}
	}
}

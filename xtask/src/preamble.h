/*
 * libflorence2: Microsoft's Florence-2, a vision model that captions, detects, grounds, segments and
 * reads, by a prompt.
 *
 * Made from the crate florence2-ffi by `cargo xtask header`; not to be edited.
 *
 * A complete program, examples/c/detect.c:
 *
@EXAMPLE@
 *
 * Rules that hold for everything below
 *
 * Ownership. What a function gives through `florence2_x **` belongs to the caller, who frees it with
 * florence2_x_free, which takes NULL. What a function returns as `const` is borrowed from its first
 * argument until that is freed; "static" lives as long as the library. What the caller passes is read
 * during the call only, and stays the caller's.
 *
 * Outputs. An output is set to NULL when the call begins and to a value only when it succeeds.
 *
 * Errors. Functions that can fail return a florence2_status and take a `florence2_error **` last,
 * which may be NULL. On failure it gets an error that the caller frees, on success NULL. Nothing is
 * kept in global or thread-local state. A fault of the library (a Rust panic) is
 * FLORENCE2_STATUS_PANIC, and leaves every handle usable; the log callback receives its message, and
 * nothing is printed. Functions that only read take NULL, and then return NULL, 0, NaN or the empty
 * string.
 *
 * Threads. An argument that is a pointer to const may be used by any number of threads at once; one
 * that is not (florence2_x_free's) must be used by nobody else. Callbacks of a run are called on the
 * thread that made the call, the log callback on any.
 *
 * Strings are UTF-8 and end with NUL. Where a text of the model holds a NUL, it reads U+FFFD. Lengths
 * are named `_len`, and count elements; units are part of names: `_px`, `_ms`, `_bytes`.
 *
 * Structs of options begin with their size, set by their _init function, which clears the rest; zero
 * is the default everywhere. A program built against an older header works with a newer library. One
 * built against a newer header works with an older library, as long as it leaves the fields that the
 * library does not know at zero.
 *
 * Enums are 32-bit integers. Later versions may add values.
 *
 * Effects on the whole process
 *
 * SIMD level. On Linux with a processor that has AMX, the first model that is loaded requests the
 * permission to use it, which enlarges the stack frame of every signal by 8 KiB: alternative signal
 * stacks (sigaltstack) must have room for it, or the request fails and AMX is not used.
 * florence2_simd_level_set, before the first model is loaded, selects a lower level, which requests
 * nothing.
 *
 * Threads. Models without threads of their own share one pool, with a thread for each CPU (or as many
 * as the environment variable RAYON_NUM_THREADS sets), which lives until the process ends. The field
 * `threads` of florence2_load_options gives a model its own pool, which ends with the model. During a
 * run on the CPU, up to 8 threads spin between operations; the field `spin_limit` limits them.
 *
 * fork. A process that is forked after a model was loaded has none of these threads. Its calls that
 * load or run a model fail with FLORENCE2_STATUS_FORKED; freeing handles is allowed. Fork before the
 * first model is loaded, or load the model in a process that is started anew (exec).
 *
 * dlclose. The shared library is linked so that dlclose does not unload it (-z nodelete), as its
 * threads may still run. A later dlopen gives the same library.
 *
 * Memory. The library keeps freed memory for later runs, up to 10 seconds after the last use.
 * florence2_trim returns it to the system at once. In the static and the shared library, the
 * allocator is the library's own (mimalloc, unless it was built without): the program's malloc is not
 * replaced.
 *
 * Panic hook, standard streams, signals, locale. The library prints nothing, installs no signal
 * handler, and changes neither the locale nor the environment. Its panic hook is that of its own copy
 * of the Rust runtime, and passes on panics from outside of the library's calls and threads.
 */

/*
 * libflorence2: a C library for Florence-2, Microsoft's vision-language model. It captions images,
 * detects, grounds and segments objects, and reads text (OCR). The prompt selects the task.
 *
 * Generated from the crate florence2-ffi by `cargo xtask header`. Do not edit.
 *
 * A complete program, examples/c/detect.c:
 *
@EXAMPLE@
 *
 * Rules that apply to every function and type below
 *
 * Ownership. A function that creates a handle writes it to an output parameter `florence2_x **x`.
 * The caller owns the handle and frees it with florence2_x_free, which accepts NULL. A pointer to
 * const that a function returns is borrowed from the function's first argument: it is valid until
 * that handle is freed, and the caller must not free it. A pointer that is documented as static is
 * valid until the process ends. The caller keeps the ownership of every argument. The library reads
 * arguments only during the call, except where a comment says otherwise.
 *
 * Outputs. A call first sets its output handles to NULL, and writes a handle only if it succeeds.
 *
 * Errors. A function that can fail returns a florence2_status. Its last parameter is a
 * `florence2_error **`, which may be NULL. On failure, the call writes an error there, which the
 * caller frees. On success, it writes NULL. The library stores no error in global or thread-local
 * variables. Every such function can fail with FLORENCE2_STATUS_INVALID_ARGUMENT, for example if a
 * required argument is NULL, and with FLORENCE2_STATUS_PANIC, if the library has a bug (a Rust
 * panic). The comments list the other statuses. Every handle remains valid after a panic. The log
 * callback receives the panic's message; nothing is printed. Functions that only read a handle
 * accept NULL and then return NULL, 0, false, NaN or the empty string, as their comments say.
 *
 * Thread safety. Several threads may use an object at the same time through pointers to const. No
 * other thread may use an object while a function runs that takes a pointer to non-const to it,
 * such as florence2_x_free. The callbacks of a load or a run are called on the thread that made the
 * call. The log callback is called on any thread.
 *
 * Strings. Strings are UTF-8 and end with NUL. A NUL within text of the model is replaced by
 * U+FFFD.
 *
 * Lengths and units. The name of a length ends with `_len`, and it counts elements. The names of
 * other quantities end with their unit: `_px`, `_ms`, `_s`, `_bytes`.
 *
 * Option structs. An option struct begins with its size. Its _init function sets the size and
 * clears all other fields. Zero selects the default of every field. A program that was built with
 * an older header works with a newer library. A program that was built with a newer header works
 * with an older library if the fields that the older library lacks are zero.
 *
 * Enums. Enums are 32-bit integers. Later versions may add values.
 *
 * Effects on the process
 *
 * SIMD level. On Linux, on a processor with AMX, loading the first model requests permission to use
 * AMX. The permission enlarges the stack frame of every signal handler by 8 KiB. If an alternative
 * signal stack (sigaltstack) is too small for that, the request fails, and the library does not use
 * AMX. To avoid the request, select a lower level with florence2_simd_level_set before the first
 * model is loaded.
 *
 * Thread pools. Models without a thread pool of their own share one pool, which exists until the
 * process ends. It has one thread per CPU, or the number of threads in the environment variable
 * RAYON_NUM_THREADS. The field `threads` of florence2_load_options creates a pool for one model,
 * which ends with the model. During a run on the CPU, up to 8 threads spin between operations. The
 * field `spin_limit` of florence2_load_options changes this limit.
 *
 * fork. A process that is forked after a model was loaded has none of the library's threads. In the
 * child process, calls that load or run a model fail with FLORENCE2_STATUS_FORKED. Freeing handles
 * is allowed. Fork before the first model is loaded, or start a new program with exec.
 *
 * dlclose. dlclose does not unload the shared library (it is linked with -z nodelete), because its
 * threads may still run. A later dlopen returns the same library.
 *
 * Memory. The library keeps freed memory for later runs, for up to 10 seconds after the last use.
 * florence2_trim returns it to the system immediately. The static and the shared library contain
 * their own allocator (mimalloc, unless it was disabled at build time). They do not replace the
 * program's malloc.
 *
 * Panic hook, standard streams, signals, locale. The library prints nothing, installs no signal
 * handlers, and changes neither the locale nor the environment. It installs a panic hook in its own
 * copy of the Rust runtime. The hook forwards panics that occur outside of the library's calls and
 * threads to the previous hook.
 */

/*
 * libflorence2: a C library for Florence-2, Microsoft's vision-language model. It captions images,
 * detects, grounds and segments objects, and reads text (OCR). The task selects the operation.
 *
 * Generated from the crate florence2-ffi by `cargo xtask header`. Do not edit.
 *
 * In short, without error handling (a complete program is at the end of this comment). If a load
 * fails, the run fails too, and the program prints an empty line:
 *
    florence2_model *model = NULL;
    florence2_image *image = NULL;
    florence2_result *result = NULL;
    florence2_request request;
    florence2_model_load("Florence-2-base-ft", NULL, &model, NULL);
    florence2_image_from_path("photo.jpg", NULL, &image, NULL);
    florence2_request_init(&request, sizeof request);
    request.image = image;
    request.task = "<CAPTION>";
    florence2_model_run(model, &request, NULL, &result, NULL);
    puts(florence2_result_text(result));
    florence2_result_free(result);
    florence2_image_free(image);
    florence2_model_free(model);
 *
 * CONVENTIONS
 *
 * These rules apply to all functions and types, unless a comment says otherwise.
 *
 * Handles. Models, images, image features, results, scores, errors and cancel tokens are opaque
 * objects, which programs use through pointers (handles). A function that creates an object writes
 * its handle to the parameter `florence2_x **x`. The caller owns the handle, and frees it with
 * florence2_x_free, which accepts NULL.
 *
 * Borrowed and static pointers. A pointer to const that a function returns is borrowed from the
 * function's first argument: it is valid until that object is freed, and the caller must not free
 * it. A pointer that is documented as static is valid until the process ends. A pointer that a
 * callback receives is valid until the callback returns.
 *
 * Arguments. The library reads arguments, and what they point to, only during the call. The caller
 * keeps the ownership of them. An argument that is documented as required must not be NULL.
 *
 * Outputs. A call first sets its output handles to NULL, and writes a handle only if it succeeds. An
 * array of outputs is not written if its length is invalid.
 *
 * Statuses. A function that can fail returns a florence2_status: FLORENCE2_STATUS_OK, which is 0,
 * or the reason of the failure. All of these functions can return
 * - FLORENCE2_STATUS_INVALID_ARGUMENT, if a required argument is NULL, a string is not UTF-8, an
 *   enum has an unknown value, a `reserved` field is not 0, or an array or a struct has an invalid
 *   size,
 * - FLORENCE2_STATUS_PANIC, if the library has a bug (a Rust panic). All handles remain valid.
 * The comments of the functions list the further statuses.
 *
 * Errors. The last parameter `florence2_error **error` of these functions may be NULL. If the call
 * fails, it writes an error there, with a message of one line. The caller frees it. If the call
 * succeeds, it writes NULL. The library stores no errors in global or thread-local variables.
 * Functions that read a property of an object have no such parameter. They accept NULL instead of
 * the object, and then return NULL, 0, false, NaN or the empty string, as their comments say.
 *
 * Threads. Any thread may call any function. Several threads may use an object at the same time
 * through pointers to const. While a function runs that takes a pointer to a non-const object, such
 * as florence2_x_free, no other thread may use the object. Loads and runs are synchronous: their
 * callbacks are called on the thread that made the call. The log callback is called on any thread.
 *
 * Callbacks. While a token, progress or load callback runs, the call that made it waits. The callback
 * may call any function of the library, and on any object:
 * - It may load models, and run other models and the same model. The inner call is complete when it
 *   returns, and the outer call then continues. If the model has `threads` of its own, the outer run
 *   continues meanwhile, and reports its further tokens and progress after the callback returns. The
 *   inner call may wait for it, and a cancel token that is fired later may be too late to end it. A
 *   callback that returns a number other than 0 always ends the run.
 * - It may fire cancel tokens, including that of the outer call.
 * - It may free objects, except those that the outer call uses: its model, images, image features and
 *   cancel token.
 * The log callback is restricted further: see florence2_log_callback.
 *
 * Strings. All strings are UTF-8 and end with NUL. NUL characters in text of the model are replaced
 * by U+FFFD. Paths are UTF-8 on all systems.
 *
 * Arrays and units. The length of an array `x` is `x_len`, which counts elements. An array has at
 * most 65536 elements; buffers of bytes have no such limit. An array or a buffer with the length 0
 * may be NULL. Other names end with their unit: `_px` (pixels), `_ms` (milliseconds), `_s`
 * (seconds), `_bytes`. Pixel coordinates begin in the upper left corner of the image.
 *
 * Option structs. A struct with the field `struct_size` is versioned by its size. Its _init
 * function sets the size and clears all other fields. Call it first, with the size of the struct,
 * then set fields. 0 or NULL selects the default of a field. A program that was built with an older
 * header works with a newer library. A program that was built with a newer header works with an
 * older library if the fields that the older library lacks are 0; otherwise the call returns
 * FLORENCE2_STATUS_INVALID_ARGUMENT.
 *
 * Enums. Enums are 32-bit integers. Their numbers are fixed. Later versions may add values. Fields
 * of option structs have the type int32_t instead of an enum.
 *
 * Linking. FLORENCE2_API precedes the functions. On Windows, define FLORENCE2_SHARED before including
 * this file if the program links the shared library. The files for pkg-config and CMake define it.
 *
 * Versions. A program works with the loaded library if florence2_abi_version returns
 * FLORENCE2_ABI_VERSION.
 *
 * EFFECTS ON THE PROCESS
 *
 * SIMD level. On Linux, on a processor with AMX, loading the first model requests the permission to
 * use AMX. The permission enlarges the stack frame of every signal handler by 8 KiB. If an
 * alternative signal stack (sigaltstack) is too small for that, the request fails, and the library
 * does not use AMX. florence2_simd_level_set with a lower level, before the first model is loaded,
 * avoids the request.
 *
 * Thread pools. Models share one thread pool, which exists until the process ends. It has one
 * thread per CPU, or the number of threads in the environment variable RAYON_NUM_THREADS. The field
 * `threads` of florence2_load_options creates a pool for one model, which ends with the model.
 * During a run on the CPU, up to 8 threads spin between operations. The field `spin_limit` of
 * florence2_load_options changes this limit.
 *
 * fork. A process that was forked after a model was loaded does not have the library's threads. In
 * the child process, calls that load or run a model fail with FLORENCE2_STATUS_FORKED. Freeing
 * handles is allowed. Fork before the first model is loaded, or start a new program with exec.
 *
 * dlclose. On Linux, dlclose does not unload the shared library (it is linked with -z nodelete),
 * because its threads may still run. A later dlopen returns the same library. On Windows, FreeLibrary
 * does not unload the DLL once a function of it was called.
 *
 * Memory. The library keeps buffers for later runs until the process ends, and freed memory for up
 * to 10 seconds. florence2_trim returns both to the system immediately. The static and the shared
 * library contain their own allocator (mimalloc, unless it was disabled at build time). They do not
 * replace the program's malloc.
 *
 * Panic hook, standard streams, signals, locale. The library prints nothing, installs no signal
 * handlers, and changes neither the locale nor the environment. It installs a panic hook in its own
 * copy of the Rust runtime. The hook sends the message of a panic to the log callback. It forwards
 * panics outside of the library's calls and threads to the previous hook.
 *
 * A COMPLETE PROGRAM
 *
 * examples/c/detect.c:
 *
@EXAMPLE@
 */

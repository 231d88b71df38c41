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
 * FLORENCE2_STATUS_PANIC, and leaves every handle usable. Functions that only read take NULL, and
 * then give NULL, 0, NaN or the empty string.
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
 */

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
    // Finds objects in an image:   detect IMAGE [MODEL_FOLDER]
    #include <florence2.h>
    #include <stdio.h>

    static int fail(florence2_error *error) {
        fprintf(stderr, "detect: %s\n", florence2_error_message(error));
        florence2_error_free(error);
        return 1;
    }

    int main(int argc, char **argv) {
        if (argc < 2 || florence2_abi_version() != FLORENCE2_ABI_VERSION) {
            fprintf(stderr, "usage: detect IMAGE [MODEL_FOLDER], with libflorence2 of ABI %u\n",
                    (unsigned)FLORENCE2_ABI_VERSION);
            return 2;
        }
        florence2_model *model = NULL;
        florence2_image *image = NULL;
        florence2_result *result = NULL;
        florence2_error *error = NULL;

        florence2_status status = argc > 2 ? florence2_model_load(argv[2], NULL, &model, &error)
                                           : florence2_model_load_demo(NULL, &model, &error);
        if (status == FLORENCE2_STATUS_OK) {
            status = florence2_image_from_path(argv[1], NULL, &image, &error);
        }
        if (status == FLORENCE2_STATUS_OK) {
            florence2_request request;
            florence2_request_init(&request, sizeof request);
            request.image = image;
            request.task = "<OD>";
            status = florence2_model_run(model, &request, NULL, &result, &error);
        }
        for (size_t i = 0; i < florence2_result_region_count(result); i++) {
            const florence2_region *region = florence2_result_region(result, i);
            const florence2_point *corners = region->points;
            printf("%3.0f %%  %-20s (%.0f, %.0f) (%.0f, %.0f)\n", 100 * region->score, region->label,
                   corners[0].x_px, corners[0].y_px, corners[1].x_px, corners[1].y_px);
        }
        florence2_result_free(result);
        florence2_image_free(image);
        florence2_model_free(model);
        return status == FLORENCE2_STATUS_OK ? 0 : fail(error);
    }
 */

#ifndef FLORENCE2_H
#define FLORENCE2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The version of this header. florence2_version returns that of the loaded library.
 */
#define FLORENCE2_VERSION_MAJOR 0
#define FLORENCE2_VERSION_MINOR 1
#define FLORENCE2_VERSION_PATCH 0
#define FLORENCE2_VERSION_STRING "0.1.0"

/**
 * Precedes the functions of the library. A program may define it before it includes this file.
 */
#ifndef FLORENCE2_API
#if defined(_WIN32) && defined(FLORENCE2_SHARED)
#define FLORENCE2_API __declspec(dllimport)
#elif !defined(_WIN32) && defined(__GNUC__)
#define FLORENCE2_API __attribute__((visibility("default")))
#else
#define FLORENCE2_API
#endif
#endif

/**
 * The version of the ABI that this header declares. It increases only if programs that were built
 * with an older header no longer work. The SONAME of the shared library contains it. New
 * functions, statuses and fields of option structs do not change it.
 */
#define FLORENCE2_ABI_VERSION 1

/**
 * Bit of `set` in florence2_run_options: `num_beams` applies even if it is 0, which is not valid.
 */
#define FLORENCE2_SET_NUM_BEAMS 1

/**
 * Bit of `set` in florence2_run_options: `num_return_sequences` applies even if it is 0, which is
 * not valid.
 */
#define FLORENCE2_SET_NUM_RETURN_SEQUENCES 2

/**
 * Bit of `set` in florence2_run_options: `max_new_tokens` applies even if it is 0, which is not
 * valid.
 */
#define FLORENCE2_SET_MAX_NEW_TOKENS 4

/**
 * Bit of `set` in florence2_run_options: `min_new_tokens` applies even if it is 0.
 */
#define FLORENCE2_SET_MIN_NEW_TOKENS 8

/**
 * Bit of `set` in florence2_run_options: `top_k` applies even if it is 0.
 */
#define FLORENCE2_SET_TOP_K 16

/**
 * Bit of `set` in florence2_run_options: `top_p` applies even if it is 0.
 */
#define FLORENCE2_SET_TOP_P 32

/**
 * Bit of `set` in florence2_run_options: `temperature` applies even if it is 0, which is not
 * valid.
 */
#define FLORENCE2_SET_TEMPERATURE 64

/**
 * Bit of `set` in florence2_run_options: `repetition_penalty` applies even if it is 0, which is
 * not valid.
 */
#define FLORENCE2_SET_REPETITION_PENALTY 128

/**
 * Bit of `set` in florence2_run_options: `length_penalty` applies even if it is 0.
 */
#define FLORENCE2_SET_LENGTH_PENALTY 256

/**
 * Bit of `set` in florence2_run_options: `no_repeat_ngram_size` applies even if it is 0.
 */
#define FLORENCE2_SET_NO_REPEAT_NGRAM_SIZE 512

/**
 * Bit of `set` in florence2_run_options: `seed` applies even if it is 0.
 */
#define FLORENCE2_SET_SEED 1024

/**
 * Bit of `set` in florence2_run_options: `eos_token_ids` applies even if it is empty.
 */
#define FLORENCE2_SET_EOS_TOKEN_IDS 2048

/**
 * Bit of `set` in florence2_run_options: `max_length` applies even if it is 0, which is not valid.
 */
#define FLORENCE2_SET_MAX_LENGTH 4096

/**
 * Bit of `set` in florence2_run_options: `min_length` applies even if it is 0.
 */
#define FLORENCE2_SET_MIN_LENGTH 8192

/**
 * Bit of `set` in florence2_run_options: `encoder_no_repeat_ngram_size` applies even if it is 0.
 */
#define FLORENCE2_SET_ENCODER_NO_REPEAT_NGRAM_SIZE 16384

/**
 * Bit of `set` in florence2_run_options: `min_p` applies even if it is 0.
 */
#define FLORENCE2_SET_MIN_P 32768

/**
 * Bit of `set` in florence2_run_options: `top_h` applies even if it is 0, which is not valid.
 */
#define FLORENCE2_SET_TOP_H 65536

/**
 * Bit of `set` in florence2_run_options: `typical_p` applies even if it is 0, which is not valid.
 */
#define FLORENCE2_SET_TYPICAL_P 131072

/**
 * Bit of `set` in florence2_run_options: `epsilon_cutoff` applies even if it is 0.
 */
#define FLORENCE2_SET_EPSILON_CUTOFF 262144

/**
 * Bit of `set` in florence2_run_options: `eta_cutoff` applies even if it is 0.
 */
#define FLORENCE2_SET_ETA_CUTOFF 524288

/**
 * Bit of `set` in florence2_run_options: `encoder_repetition_penalty` applies even if it is 0,
 * which is not valid.
 */
#define FLORENCE2_SET_ENCODER_REPETITION_PENALTY 1048576

/**
 * Bit of `set` in florence2_run_options: `exponential_decay_start` and `exponential_decay_factor`
 * apply even if they are 0.
 */
#define FLORENCE2_SET_EXPONENTIAL_DECAY_LENGTH_PENALTY 2097152

/**
 * Bit of `set` in florence2_run_options: `max_time_s` applies even if it is 0.
 */
#define FLORENCE2_SET_MAX_TIME 4194304

/**
 * Bit of `set` in florence2_run_options: `forced_bos_token_ids` applies even if it is empty.
 */
#define FLORENCE2_SET_FORCED_BOS_TOKEN_IDS 8388608

/**
 * Bit of `set` in florence2_run_options: `forced_eos_token_ids` applies even if it is empty.
 */
#define FLORENCE2_SET_FORCED_EOS_TOKEN_IDS 16777216

/**
 * Bit of `set` in florence2_run_options: `decoder_start_token_ids` applies even if it is empty.
 */
#define FLORENCE2_SET_DECODER_START_TOKEN_IDS 33554432

/**
 * Bit of `set` in florence2_run_options: `suppress_tokens` applies even if it is empty.
 */
#define FLORENCE2_SET_SUPPRESS_TOKENS 67108864

/**
 * Bit of `set` in florence2_run_options: `begin_suppress_tokens` applies even if it is empty.
 */
#define FLORENCE2_SET_BEGIN_SUPPRESS_TOKENS 134217728

/**
 * Bit of `set` in florence2_run_options: `bad_words_ids` applies even if it is empty.
 */
#define FLORENCE2_SET_BAD_WORDS_IDS 268435456

/**
 * Bit of `set` in florence2_run_options: `sequence_bias` applies even if it is empty.
 */
#define FLORENCE2_SET_SEQUENCE_BIAS 536870912

/**
 * Bit of `set` in florence2_run_options: `stop_strings` applies even if it is empty.
 */
#define FLORENCE2_SET_STOP_STRINGS 1073741824

/**
 * The status of a call. The numbers are fixed. Later versions may add statuses.
 */
enum florence2_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The call succeeded.
     */
    FLORENCE2_STATUS_OK = 0,
    /**
     * An argument, an option or a combination of them is invalid. The message names it.
     */
    FLORENCE2_STATUS_INVALID_ARGUMENT = 1,
    /**
     * A file could not be opened or read.
     */
    FLORENCE2_STATUS_IO = 2,
    /**
     * A file of the model is malformed, or the weights do not match the configuration.
     */
    FLORENCE2_STATUS_INVALID_MODEL = 3,
    /**
     * An image cannot be decoded, has no pixels, or has more pixels than the limit.
     */
    FLORENCE2_STATUS_INVALID_IMAGE = 4,
    /**
     * The device is not available in this build or on this machine, does not support the dtype, or
     * has too little memory for the model.
     */
    FLORENCE2_STATUS_UNSUPPORTED_DEVICE = 5,
    /**
     * The library was built without the feature that the call requires.
     */
    FLORENCE2_STATUS_NOT_IN_THIS_BUILD = 6,
    /**
     * The cancel token was fired, or a callback returned a number other than 0.
     */
    FLORENCE2_STATUS_CANCELLED = 7,
    /**
     * The deadline passed before the call was complete.
     */
    FLORENCE2_STATUS_DEADLINE_EXCEEDED = 8,
    /**
     * The model computed no usable score, because its weights or its input contain NaN or
     * infinity.
     */
    FLORENCE2_STATUS_NOT_FINITE = 9,
    /**
     * The library has a bug (a Rust panic). All handles remain valid.
     */
    FLORENCE2_STATUS_PANIC = 10,
    /**
     * The device failed during a run: it ran out of memory, or its driver reported an error. All
     * later runs of the model fail too. Load the model again.
     */
    FLORENCE2_STATUS_DEVICE_FAILED = 11,
    /**
     * The process was forked after a model was loaded, and does not have the library's threads.
     * Load and run models in a process that is not such a fork.
     */
    FLORENCE2_STATUS_FORKED = 12,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_status florence2_status;
#else
typedef int32_t florence2_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The severity of a log message.
 */
enum florence2_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * No messages.
     */
    FLORENCE2_LOG_LEVEL_OFF = 0,
    /**
     * Errors that no status reports, and the messages of panics. Debug builds of the library also
     * report a handle that is freed twice; in other builds, the behavior is undefined.
     */
    FLORENCE2_LOG_LEVEL_ERROR = 1,
    /**
     * Settings and files that are probably unintended, such as settings of a model that have no
     * effect.
     */
    FLORENCE2_LOG_LEVEL_WARN = 2,
    /**
     * Completed operations, such as a loaded model.
     */
    FLORENCE2_LOG_LEVEL_INFO = 3,
    /**
     * Details, such as every failed call.
     */
    FLORENCE2_LOG_LEVEL_DEBUG = 4,
    /**
     * All messages.
     */
    FLORENCE2_LOG_LEVEL_TRACE = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_log_level florence2_log_level;
#else
typedef int32_t florence2_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The input that a task needs besides the image. The numbers are fixed.
 */
enum florence2_task_input
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * There is no such task.
     */
    FLORENCE2_TASK_INPUT_UNKNOWN = 0,
    /**
     * No input: `input` and `region` of florence2_request must not be set.
     */
    FLORENCE2_TASK_INPUT_NONE = 1,
    /**
     * A text, such as a phrase: the field `input` of florence2_request.
     */
    FLORENCE2_TASK_INPUT_TEXT = 2,
    /**
     * A box in the image: the field `region` of florence2_request, or the box as four location
     * tokens in the field `input`.
     */
    FLORENCE2_TASK_INPUT_REGION = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_task_input florence2_task_input;
#else
typedef int32_t florence2_task_input;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The format of an answer, with the names of Hugging Face's
 * `tasks_answer_post_processing_type`. The numbers are fixed.
 */
enum florence2_post_processing_type
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * There is no such task.
     */
    FLORENCE2_POST_PROCESSING_TYPE_UNKNOWN = 0,
    /**
     * `pure_text`: text without regions.
     */
    FLORENCE2_POST_PROCESSING_TYPE_PURE_TEXT = 1,
    /**
     * `description_with_bboxes`: labelled boxes.
     */
    FLORENCE2_POST_PROCESSING_TYPE_DESCRIPTION_WITH_BBOXES = 2,
    /**
     * `bboxes`: boxes without labels.
     */
    FLORENCE2_POST_PROCESSING_TYPE_BBOXES = 3,
    /**
     * `phrase_grounding`: boxes, labelled with phrases of the input.
     */
    FLORENCE2_POST_PROCESSING_TYPE_PHRASE_GROUNDING = 4,
    /**
     * `ocr`: quads, labelled with the text of a line.
     */
    FLORENCE2_POST_PROCESSING_TYPE_OCR = 5,
    /**
     * `polygons`: polygons without labels.
     */
    FLORENCE2_POST_PROCESSING_TYPE_POLYGONS = 6,
    /**
     * `description_with_bboxes_or_polygons`: labelled boxes or polygons.
     */
    FLORENCE2_POST_PROCESSING_TYPE_DESCRIPTION_WITH_BBOXES_OR_POLYGONS = 7,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_post_processing_type florence2_post_processing_type;
#else
typedef int32_t florence2_post_processing_type;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The reason why an answer ended.
 */
enum florence2_finish_reason
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * There is no answer, because the result is NULL.
     */
    FLORENCE2_FINISH_REASON_NONE = 0,
    /**
     * The model chose an end token, or completed a stop string.
     */
    FLORENCE2_FINISH_REASON_END_OF_TEXT = 1,
    /**
     * The answer was cut off: it reached `max_new_tokens` or `max_length`, or `max_time_s` passed. An
     * end token that `forced_eos_token_ids` appends at the maximum length does not change this reason.
     */
    FLORENCE2_FINISH_REASON_LENGTH = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_finish_reason florence2_finish_reason;
#else
typedef int32_t florence2_finish_reason;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The meaning of the points of a region.
 */
enum florence2_region_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Two points: opposite corners in the order in which the model generated them, usually the upper
     * left corner and the lower right corner.
     */
    FLORENCE2_REGION_KIND_BOX = 0,
    /**
     * Four points: the corners of a text line, in the order in which the model generated them.
     */
    FLORENCE2_REGION_KIND_QUAD = 1,
    /**
     * One point per vertex of a closed ring.
     */
    FLORENCE2_REGION_KIND_POLYGON = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_region_kind florence2_region_kind;
#else
typedef int32_t florence2_region_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The order of the channels of a pixel, one byte per channel. Alpha is ignored.
 */
enum florence2_pixel_format
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Red, green, blue: 3 bytes.
     */
    FLORENCE2_PIXEL_FORMAT_RGB = 0,
    /**
     * Red, green, blue, alpha: 4 bytes.
     */
    FLORENCE2_PIXEL_FORMAT_RGBA = 1,
    /**
     * Blue, green, red: 3 bytes.
     */
    FLORENCE2_PIXEL_FORMAT_BGR = 2,
    /**
     * Blue, green, red, alpha: 4 bytes.
     */
    FLORENCE2_PIXEL_FORMAT_BGRA = 3,
    /**
     * Gray: 1 byte.
     */
    FLORENCE2_PIXEL_FORMAT_GRAY = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_pixel_format florence2_pixel_format;
#else
typedef int32_t florence2_pixel_format;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The unit of the field `region` of a request.
 */
enum florence2_region_unit
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The request has no box as its input.
     */
    FLORENCE2_REGION_UNIT_NONE = 0,
    /**
     * Pixels of the image.
     */
    FLORENCE2_REGION_UNIT_PX = 1,
    /**
     * Fractions of the image's width and height, 0 to 1.
     */
    FLORENCE2_REGION_UNIT_NORMALIZED = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_region_unit florence2_region_unit;
#else
typedef int32_t florence2_region_unit;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A boolean option with a third value for "not set".
 */
enum florence2_switch
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Not set: the value of the model's files applies.
     */
    FLORENCE2_SWITCH_MODEL = 0,
    /**
     * On.
     */
    FLORENCE2_SWITCH_ON = 1,
    /**
     * Off.
     */
    FLORENCE2_SWITCH_OFF = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_switch florence2_switch;
#else
typedef int32_t florence2_switch;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The condition that ends a beam search.
 */
enum florence2_early_stopping
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Not set: the value of the model's files applies.
     */
    FLORENCE2_EARLY_STOPPING_MODEL = 0,
    /**
     * The search ends as soon as `num_beams` answers are complete.
     */
    FLORENCE2_EARLY_STOPPING_TRUE = 1,
    /**
     * The search ends when a better answer is unlikely, by a heuristic.
     */
    FLORENCE2_EARLY_STOPPING_FALSE = 2,
    /**
     * The search ends when a better answer is impossible.
     */
    FLORENCE2_EARLY_STOPPING_NEVER = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_early_stopping florence2_early_stopping;
#else
typedef int32_t florence2_early_stopping;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The conventions of results where Microsoft's code and Hugging Face's transformers differ.
 */
enum florence2_coordinates
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The conventions of Microsoft's code. Coordinates are the centres of the model's bins (1000
     * along each side of the image), with fractions. Labels keep all characters. The plain text
     * contains no `<pad>`. Polygon rings without points are dropped.
     */
    FLORENCE2_COORDINATES_BIN_CENTERS = 0,
    /**
     * The conventions of transformers 5.17. Coordinates are the bins' centres, truncated to
     * integers. Labels of boxes lack the characters outside ASCII. The plain text keeps `<pad>`.
     * Polygon rings without points are kept.
     */
    FLORENCE2_COORDINATES_HF_INTEGERS = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_coordinates florence2_coordinates;
#else
typedef int32_t florence2_coordinates;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The layout of the chroma planes of a frame with 4:2:0 subsampling: one sample of U and one of V
 * for every 2x2 pixels. A chroma plane has (width_px + 1) / 2 samples of each kind per row and
 * (height_px + 1) / 2 rows.
 */
enum florence2_yuv_format
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * NV12: one plane with alternating U and V samples, passed as `u`. `v` is NULL.
     */
    FLORENCE2_YUV_FORMAT_NV12 = 0,
    /**
     * I420: a plane of U samples and a plane of V samples.
     */
    FLORENCE2_YUV_FORMAT_I420 = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_yuv_format florence2_yuv_format;
#else
typedef int32_t florence2_yuv_format;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The conversion matrix between YUV and RGB.
 */
enum florence2_yuv_matrix
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * ITU-R BT.601: most cameras, and standard-definition video.
     */
    FLORENCE2_YUV_MATRIX_BT601 = 0,
    /**
     * ITU-R BT.709: high-definition video.
     */
    FLORENCE2_YUV_MATRIX_BT709 = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_yuv_matrix florence2_yuv_matrix;
#else
typedef int32_t florence2_yuv_matrix;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The range of the samples of a YUV frame.
 */
enum florence2_yuv_range
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Luma from 16 to 235, chroma from 16 to 240.
     */
    FLORENCE2_YUV_RANGE_LIMITED = 0,
    /**
     * Luma and chroma from 0 to 255, as in JPEG.
     */
    FLORENCE2_YUV_RANGE_FULL = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_yuv_range florence2_yuv_range;
#else
typedef int32_t florence2_yuv_range;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A cancel token. It ends calls before they are complete.
 *
 * - Ownership: florence2_cancel_new creates it. The caller frees it with florence2_cancel_free
 *   after the calls that use it have returned.
 * - Threads: any number of threads may use it at the same time.
 *
 * The calls that use a token name it in the field `cancel` of florence2_load_options or
 * florence2_run_options. One token may serve any number of calls. A fired token stays fired.
 */
typedef struct florence2_cancel florence2_cancel;

/**
 * An error: a status and a message. The message is one line. It names the argument, file or key,
 * the value that was found and the value that was expected.
 *
 * - Ownership: a failed call creates it. The caller frees it with florence2_error_free.
 * - Threads: it is immutable. Any number of threads may read it at the same time.
 */
typedef struct florence2_error florence2_error;

/**
 * An image: 8-bit RGB pixels in memory.
 *
 * - Ownership: one of the florence2_image_from functions creates it. The caller frees it with
 *   florence2_image_free.
 * - Threads: it is immutable. Any number of threads and models may use it at the same time.
 */
typedef struct florence2_image florence2_image;

/**
 * The output of a model's vision tower for an image. Requests that use the features skip the
 * vision tower.
 *
 * - Ownership: florence2_model_encode_image creates it. The caller frees it with
 *   florence2_image_features_free, before or after the image and the model.
 * - Threads: it is immutable. Any number of threads may use it at the same time.
 *
 * Only the model that created the features accepts them.
 */
typedef struct florence2_image_features florence2_image_features;

/**
 * A loaded model.
 *
 * - Ownership: one of the florence2_model_load functions creates it. The caller frees it with
 *   florence2_model_free.
 * - Threads: it is immutable. Any number of threads may run it at the same time. Each run has its
 *   own memory.
 */
typedef struct florence2_model florence2_model;

/**
 * The result of a request: the answer as text, as tokens and as regions.
 *
 * - Ownership: a run creates it. The caller frees it with florence2_result_free. Everything that
 *   is read from it is borrowed from it.
 * - Threads: it is immutable. Any number of threads may read it at the same time.
 *
 * A result does not refer to the model, the image or the request.
 */
typedef struct florence2_result florence2_result;

/**
 * The likelihood of a given answer (the target) to a request.
 *
 * - Ownership: florence2_model_score creates it. The caller frees it with florence2_score_free.
 *   Everything that is read from it is borrowed from it.
 * - Threads: it is immutable. Any number of threads may read it at the same time.
 */
typedef struct florence2_score florence2_score;

/**
 * Called once per log message.
 *
 * - `level`: the severity.
 * - `target`: the part of the library that logs the message. Valid only during the callback.
 * - `message`: one line. Valid only during the callback.
 * - `user`: the argument `user` of florence2_log_set.
 *
 * Any thread may call it, and several threads may call it at the same time. It must not unwind:
 * neither an exception nor longjmp may leave it. It must not call florence2_log_set, load or run a
 * model, or call florence2_trim, which can wait forever for a thread that logs. It may read objects,
 * fire cancel tokens and free other objects. Messages that the library logs on the same thread
 * during the callback are dropped.
 */
typedef void (*florence2_log_callback)(florence2_log_level level,
                                       const char *target,
                                       const char *message,
                                       void *user);

/**
 * Options for decoding an image file. Initialise it with florence2_decode_options_init.
 */
typedef struct florence2_decode_options {
    /**
     * The size of this struct in bytes. florence2_decode_options_init sets it.
     */
    size_t struct_size;
    /**
     * The maximum number of pixels of the image. An image with more pixels is an error, which is
     * returned before the image is decoded, because a small file can declare any size. Decoding
     * takes 3 to 17 bytes of memory per pixel. Default: 0, which means 178,956,970.
     */
    uint64_t max_pixels;
} florence2_decode_options;

/**
 * Pixels in the caller's memory, such as a camera frame. Initialise it with florence2_pixels_init.
 */
typedef struct florence2_pixels {
    /**
     * The size of this struct in bytes. florence2_pixels_init sets it.
     */
    size_t struct_size;
    /**
     * The pixels: `height_px` rows in order from top to bottom, `stride_bytes` apart. A row begins
     * with its leftmost pixel. The last row may lack its padding. Required.
     */
    const uint8_t *data;
    /**
     * The number of bytes at `data`.
     */
    size_t data_len;
    /**
     * The number of bytes from the start of a row to the start of the next. Default: 0, rows
     * without padding.
     */
    size_t stride_bytes;
    /**
     * The width in pixels. Required.
     */
    uint32_t width_px;
    /**
     * The height in pixels. Required.
     */
    uint32_t height_px;
    /**
     * A florence2_pixel_format. Default: FLORENCE2_PIXEL_FORMAT_RGB.
     */
    int32_t format;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * The left edge, in pixels, of the crop: the part that becomes the image. If all four fields of
     * the crop are 0, all pixels become the image. Default: 0.
     */
    uint32_t region_x_px;
    /**
     * The top edge of the crop in pixels. Default: 0.
     */
    uint32_t region_y_px;
    /**
     * The width of the crop in pixels. Default: 0.
     */
    uint32_t region_width_px;
    /**
     * The height of the crop in pixels. Default: 0.
     */
    uint32_t region_height_px;
} florence2_pixels;

/**
 * A YUV frame in the caller's memory: 8-bit samples with 4:2:0 subsampling. Initialise it with
 * florence2_yuv_init. The last row of each plane may lack its padding.
 */
typedef struct florence2_yuv {
    /**
     * The size of this struct in bytes. florence2_yuv_init sets it.
     */
    size_t struct_size;
    /**
     * The luma plane: `height_px` rows of `width_px` samples. Required.
     */
    const uint8_t *y;
    /**
     * The number of bytes at `y`.
     */
    size_t y_len;
    /**
     * The number of bytes from the start of a row of `y` to the start of the next. Default: 0,
     * rows without padding.
     */
    size_t y_stride_bytes;
    /**
     * I420: the plane of U samples. NV12: the plane of alternating U and V samples. Required.
     */
    const uint8_t *u;
    /**
     * The number of bytes at `u`.
     */
    size_t u_len;
    /**
     * The number of bytes from the start of a row of `u` to the start of the next. Default: 0,
     * rows without padding.
     */
    size_t u_stride_bytes;
    /**
     * I420: the plane of V samples, required. NV12: must be NULL.
     */
    const uint8_t *v;
    /**
     * The number of bytes at `v`.
     */
    size_t v_len;
    /**
     * The number of bytes from the start of a row of `v` to the start of the next. Default: 0,
     * rows without padding.
     */
    size_t v_stride_bytes;
    /**
     * The width in pixels. Required.
     */
    uint32_t width_px;
    /**
     * The height in pixels. Required.
     */
    uint32_t height_px;
    /**
     * A florence2_yuv_format. Default: FLORENCE2_YUV_FORMAT_NV12.
     */
    int32_t format;
    /**
     * A florence2_yuv_matrix. Default: FLORENCE2_YUV_MATRIX_BT601.
     */
    int32_t matrix;
    /**
     * A florence2_yuv_range. Default: FLORENCE2_YUV_RANGE_LIMITED.
     */
    int32_t range;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * The left edge, in pixels, of the crop: the part that becomes the image. If all four fields of
     * the crop are 0, the whole frame becomes the image. Default: 0.
     */
    uint32_t region_x_px;
    /**
     * The top edge of the crop in pixels. Default: 0.
     */
    uint32_t region_y_px;
    /**
     * The width of the crop in pixels. Default: 0.
     */
    uint32_t region_width_px;
    /**
     * The height of the crop in pixels. Default: 0.
     */
    uint32_t region_height_px;
} florence2_yuv;

/**
 * A file in memory.
 */
typedef struct florence2_file {
    /**
     * The file name that the file has in the folder of the model or the adapter, such as
     * "config.json". Required.
     */
    const char *name;
    /**
     * The contents of the file.
     */
    const uint8_t *data;
    /**
     * The number of bytes at `data`.
     */
    size_t data_len;
} florence2_file;

/**
 * A LoRA adapter in the format of Hugging Face's PEFT: a folder, or files in memory. Either
 * `folder` or `files` is required.
 */
typedef struct florence2_adapter {
    /**
     * The path of a folder with adapter_config.json and the adapter's weights. NULL for an adapter
     * in memory.
     */
    const char *folder;
    /**
     * The adapter's files in memory: adapter_config.json and the weights.
     */
    const struct florence2_file *files;
    /**
     * The number of elements at `files`. Must be 0 if there is a `folder`.
     */
    size_t files_len;
    /**
     * A factor of the adapter's updates of the weights, as PEFT's set_scale. Default: 0, which
     * means 1.
     */
    float scale;
    /**
     * Must be 0.
     */
    uint32_t reserved;
} florence2_adapter;

/**
 * The progress of loading a model.
 *
 * It is valid only during the callback. Later versions may append fields.
 */
typedef struct florence2_load_progress {
    /**
     * The number of tensors that are loaded.
     */
    size_t tensors;
    /**
     * The number of tensors to load.
     */
    size_t total_tensors;
    /**
     * The number of values in the loaded tensors.
     */
    uint64_t parameters;
    /**
     * The number of values in all tensors to load.
     */
    uint64_t total_parameters;
} florence2_load_progress;

/**
 * Called before the first tensor is loaded and after each tensor.
 *
 * - `progress`: the progress. It is valid only during the callback.
 * - `user`: the field `user` of florence2_load_options.
 *
 * Return 0 to continue. Any other number ends the loading, which fails with
 * FLORENCE2_STATUS_CANCELLED. The callback is called on the thread that started the loading. The
 * section "Callbacks" at the start of this file lists the functions that it may call. It must not
 * unwind: neither an exception nor longjmp may leave it.
 */
typedef int32_t (*florence2_load_progress_callback)(const struct florence2_load_progress *progress,
                                                    void *user);

/**
 * Options for loading a model. Initialise it with florence2_load_options_init. The default of a
 * field applies if the field is 0 or NULL.
 *
 * The library reads the struct and everything that it points to only during the call.
 */
typedef struct florence2_load_options {
    /**
     * The size of this struct in bytes. florence2_load_options_init sets it.
     */
    size_t struct_size;
    /**
     * The device: a name that florence2_device_name returns, or "auto" for a GPU if
     * there is one that supports the dtype, else "cpu". "auto" selects no software GPU. A name
     * without a number, such as "cuda", selects the first device of its kind. Default: "auto".
     */
    const char *device;
    /**
     * The format of the weights: "f32", "f16", "bf16" or "int8", or "auto" for "f32". The device
     * "cpu" supports all four. It multiplies "f16" weights in f32, and is faster with "bf16" and
     * "int8". GPUs support "f32" and "f16"; CUDA and ROCm also support "bf16". Default: "auto".
     */
    const char *dtype;
    /**
     * LoRA adapters. They are merged into the weights in this order. Default: none.
     */
    const struct florence2_adapter *adapters;
    /**
     * The number of elements at `adapters`.
     */
    size_t adapters_len;
    /**
     * The number of threads that the model starts and computes with, 1 to 1024. Default: 0, the
     * thread pool that all models of the process share, with one thread for each CPU.
     */
    size_t threads;
    /**
     * The maximum number of threads that spin between two operations of a run on the CPU,
     * including the run's own. With -1, no threads spin: they sleep between operations, and runs
     * take longer. Default: 0, which means 8.
     */
    int32_t spin_limit;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * The callback for the progress of loading. Default: NULL, no callback.
     */
    florence2_load_progress_callback on_progress;
    /**
     * Passed to the callback unchanged.
     */
    void *user;
    /**
     * A token that cancels the loading. Default: NULL, no token.
     */
    const struct florence2_cancel *cancel;
    /**
     * The path of a weights file with any name, or of an index of shards, to use instead of the
     * weights in the model's folder. The contents determine the format: safetensors or a file of
     * torch.save. Must be NULL for a model in memory. Default: NULL, the weights in the folder.
     */
    const char *weights;
    /**
     * The path of a folder with the files of the image processor and the tokenizer, if the model's
     * folder does not contain them. Must be NULL for a model in memory. Default: NULL, the model's
     * folder.
     */
    const char *processor;
} florence2_load_options;

/**
 * A request: an image and a task or a prompt. Initialise it with florence2_request_init. Then set
 * either `image` or `image_features`, either `task` or `prompt`, and, if the task needs an input,
 * either `input` or `region`.
 *
 * The library reads the struct and everything that it points to only during the call.
 */
typedef struct florence2_request {
    /**
     * The size of this struct in bytes. florence2_request_init sets it.
     */
    size_t struct_size;
    /**
     * The image.
     */
    const struct florence2_image *image;
    /**
     * The features of the image, from florence2_model_encode_image of the same model.
     */
    const struct florence2_image_features *image_features;
    /**
     * The task: its token, such as "<OD>", or its name, such as "OD" or "od". florence2_task_token
     * lists the tokens.
     */
    const char *task;
    /**
     * A prompt instead of a task, as Hugging Face's processor reads it. If it contains the token
     * of a task, the rest of the prompt is the input of the task, such as
     * "<OPEN_VOCABULARY_DETECTION>a red bus". A task without an input must have no further text.
     * Any other prompt is passed to the model unchanged, and the answer is text.
     */
    const char *prompt;
    /**
     * The input of the task as text: a phrase, or a box as four location tokens such as
     * "<loc_52><loc_333><loc_932><loc_774>". florence2_task_input_of returns which of them a task
     * needs. Must be NULL if `prompt` is set.
     */
    const char *input;
    /**
     * The box that the prompt names, for tasks with the input FLORENCE2_TASK_INPUT_REGION: x1, y1,
     * x2, y2 with x1 <= x2 and y1 <= y2, from the upper left corner of the image. The model still
     * processes the whole image. A box that extends beyond the image is clipped. A box outside of the
     * image is an error. It has no effect without `region_unit`.
     */
    double region[4];
    /**
     * A florence2_region_unit: the unit of `region`. Must be FLORENCE2_REGION_UNIT_NONE if `prompt`
     * or `input` is set. Default: FLORENCE2_REGION_UNIT_NONE, no box.
     */
    int32_t region_unit;
    /**
     * Must be 0.
     */
    uint32_t reserved;
} florence2_request;

/**
 * A token of an answer or of a target.
 *
 * Later versions may append fields: copy its fields, not the struct.
 */
typedef struct florence2_token {
    /**
     * The index of the token's request in the batch; 0 for other calls.
     */
    size_t request;
    /**
     * The text of the token, in UTF-8. In florence2_token_callback, a character that consists of
     * several tokens is part of the text of the last of them, and the text of `<s>`, `</s>` and
     * `<pad>` is empty. In florence2_score, each token is decoded by itself.
     */
    const char *text;
    /**
     * The id of the token.
     */
    uint32_t token_id;
    /**
     * The natural logarithm of its probability, given the tokens before it; 0 for a forced token.
     */
    float log_prob;
} florence2_token;

/**
 * Called once per generated token of an answer, in order, including end tokens such as `</s>`.
 *
 * - Greedy search or sampling (`num_beams` 1) with one answer per request: it is called in each
 *   step, as soon as the token is chosen. In a batch, the calls for the requests alternate.
 * - Beam search (`num_beams` above 1) or several answers per request: the tokens of the best
 *   answer are known only when the search has ended. It is then called for all tokens of the best
 *   answer, one request after the other. florence2_progress_callback is called during the search.
 *   To stream with a model whose files set several beams, set `num_beams` to 1.
 *
 * It is not called for the tokens of alternatives.
 *
 * - `token`: the token. It is valid only during the callback.
 * - `user`: the field `user` of florence2_run_options.
 *
 * Return 0 to continue. Any other number ends the run, which fails with
 * FLORENCE2_STATUS_CANCELLED. The callback is called on the thread that started the run. The
 * section "Callbacks" at the start of this file lists the functions that it may call. It must not
 * unwind: neither an exception nor longjmp may leave it.
 */
typedef int32_t (*florence2_token_callback)(const struct florence2_token *token, void *user);

/**
 * The progress of a run.
 *
 * It is valid only during the callback. Later versions may append fields.
 */
typedef struct florence2_progress {
    /**
     * The number of tokens that were generated for each incomplete answer.
     */
    size_t new_tokens;
    /**
     * The maximum number of tokens of an answer. Most answers are complete earlier.
     */
    size_t max_new_tokens;
} florence2_progress;

/**
 * Called after each step of the search, with any number of beams. A step generates one token for
 * every incomplete answer.
 *
 * The number of steps starts again at 1 if florence2_model_run_batch with `errors` runs the
 * requests of a failed batch one by one. Tokens that florence2_token_callback has received are not
 * reported again.
 *
 * - `progress`: the progress. It is valid only during the callback.
 * - `user`: the field `user` of florence2_run_options.
 *
 * The rules of florence2_token_callback for the returned number, the thread, the functions that it
 * may call and unwinding apply.
 */
typedef int32_t (*florence2_progress_callback)(const struct florence2_progress *progress, void *user);

/**
 * A sequence of tokens.
 */
typedef struct florence2_token_sequence {
    /**
     * The ids of the tokens.
     */
    const uint32_t *token_ids;
    /**
     * The number of elements at `token_ids`.
     */
    size_t token_ids_len;
} florence2_token_sequence;

/**
 * A sequence of tokens with a bias. If the answer ends with all but the last token of the
 * sequence, the bias is added to the score of the last token.
 */
typedef struct florence2_sequence_bias {
    /**
     * The ids of the tokens.
     */
    const uint32_t *token_ids;
    /**
     * The number of elements at `token_ids`.
     */
    size_t token_ids_len;
    /**
     * The bias. A positive value makes the sequence more likely. Must not be NaN.
     */
    float bias;
    /**
     * Must be 0.
     */
    uint32_t reserved;
} florence2_sequence_bias;

/**
 * Options of a run. Initialise it with florence2_run_options_init.
 *
 * Generation options have the names and effects of Hugging Face's GenerationConfig. A generation
 * option is not set if its field is 0, NULL or empty. For an option that is not set, the library
 * uses the first of these values that exists: the key of that name in `generation_config`, the
 * value in the model's files, the default in the comment of the field. To set an option to 0 or to
 * an empty list, also set its bit in `set`. If the comment of a field excludes 0, such as that of
 * `num_beams`, its bit together with 0 is an error whenever the option has an effect: that of a
 * sampling option only with `do_sample`.
 *
 * The library reads the struct and everything that it points to only during the call.
 */
typedef struct florence2_run_options {
    /**
     * The size of this struct in bytes. florence2_run_options_init sets it.
     */
    size_t struct_size;
    /**
     * The number of beams of the beam search. 1 selects greedy search, or sampling with
     * `do_sample`. Must be at least 1 and at most half the size of the vocabulary. Default: 1.
     */
    uint32_t num_beams;
    /**
     * The number of answers per request. It must not exceed `num_beams`, except with sampling and
     * one beam. Must be at least 1. Default: 1.
     */
    uint32_t num_return_sequences;
    /**
     * The maximum number of generated tokens, including the end token. It overrides `max_length`.
     * Values above the number of the decoder's positions are reduced to it. Must be at least 1.
     * Default: 1024, if `max_length` is not set either.
     */
    uint32_t max_new_tokens;
    /**
     * The minimum number of generated tokens before an end token. It overrides `min_length` and is
     * limited by the maximum length. Default: none.
     */
    uint32_t min_new_tokens;
    /**
     * A florence2_switch: on to sample tokens. Otherwise, the most likely tokens are chosen.
     * Default: off.
     */
    int32_t do_sample;
    /**
     * Sampling: choose from the k most likely tokens. -1 disables the option. Default: 50.
     */
    int32_t top_k;
    /**
     * Sampling: choose from the most likely tokens whose total probability reaches this value.
     * Must be at least 0. Default: 1, which disables the option.
     */
    float top_p;
    /**
     * Sampling: the divisor of the scores. Must be greater than 0. Default: 1, which disables the
     * option.
     */
    float temperature;
    /**
     * A value greater than 1 makes tokens that the answer already contains less likely. Positive
     * scores are divided by it, negative scores are multiplied. Must be greater than 0. Default:
     * 1, which disables the option.
     */
    float repetition_penalty;
    /**
     * Beam search divides the score of an answer by its length to the power of this value. Must be
     * finite. Default: 1.
     */
    float length_penalty;
    /**
     * No sequence of this many tokens occurs twice in an answer. Default: -1, which disables the
     * option.
     */
    int32_t no_repeat_ngram_size;
    /**
     * A florence2_early_stopping: the condition that ends a beam search. True: as soon as
     * `num_beams` answers are complete. False: when a better answer is unlikely, by a heuristic.
     * Never: when a better answer is impossible. Default: FLORENCE2_EARLY_STOPPING_FALSE.
     */
    int32_t early_stopping;
    /**
     * A florence2_coordinates: the conventions of the result. Default:
     * FLORENCE2_COORDINATES_BIN_CENTERS.
     */
    int32_t coordinates;
    /**
     * The number of bins on each side of a generated coordinate that count as the same coordinate in
     * the scores of regions and of the answer; 1000 bins are a side of the image. It does not affect
     * the generated tokens. -1: 0 bins, only the generated bin counts. Default: 0, which means 50.
     */
    int32_t location_tolerance;
    /**
     * Sampling: the seed of the random numbers, which are the same on every machine. Transformers
     * has no such key, and the tokens differ from those that it samples. Default: 0.
     */
    uint64_t seed;
    /**
     * The tokens that end an answer. If the list is set and empty, answers end only at their
     * maximum length. Default: none, with a warning of the model.
     */
    const uint32_t *eos_token_ids;
    /**
     * The number of elements at `eos_token_ids`.
     */
    size_t eos_token_ids_len;
    /**
     * Generation options as a JSON object in UTF-8, with keys of generation_config.json, such as
     * {"length_penalty": 0, "suppress_tokens": [4, 7]}. An unknown key is an error. A field of
     * this struct that is set overrides the key. Default: NULL, no options.
     */
    const char *generation_config;
    /**
     * The time limit of the call in milliseconds, from its start. After it, the call fails with
     * FLORENCE2_STATUS_DEADLINE_EXCEEDED. It is checked before each stage of the vision tower and
     * each generated token. Default: 0, no limit.
     */
    uint64_t deadline_ms;
    /**
     * A token that cancels the call. Default: NULL, no token.
     */
    const struct florence2_cancel *cancel;
    /**
     * The callback for generated tokens. Default: NULL, no callback.
     */
    florence2_token_callback on_token;
    /**
     * The callback for the progress of the run. Default: NULL, no callback.
     */
    florence2_progress_callback on_progress;
    /**
     * Passed to both callbacks unchanged.
     */
    void *user;
    /**
     * The FLORENCE2_SET_* bits of the options that are set although their fields are 0 or empty.
     * Default: 0.
     */
    uint64_t set;
    /**
     * The maximum length of the decoder's sequence in tokens, including the start token.
     * `max_new_tokens` overrides it. Values above the number of the decoder's positions are
     * reduced. Must be at least 2. Default: none.
     */
    uint32_t max_length;
    /**
     * The minimum length of the decoder's sequence in tokens, including the start token, before an
     * end token. `min_new_tokens` overrides it. Default: 0.
     */
    uint32_t min_length;
    /**
     * No sequence of this many tokens of the encoder's input occurs in an answer. The input is the
     * image placeholder and the prompt, without padding. Size 1 bans `</s>`, which every prompt
     * contains. Default: 0, which disables the option.
     */
    uint32_t encoder_no_repeat_ngram_size;
    /**
     * Sampling: choose from the tokens whose probability is at least this fraction of that of the
     * most likely token. Must be between 0 and 1. Default: no limit.
     */
    float min_p;
    /**
     * Sampling: choose from the most likely tokens whose total entropy is at most this fraction of
     * the entropy of the 100 most likely tokens. Must be greater than 0 and at most 1. Default: no
     * limit.
     */
    float top_h;
    /**
     * Sampling: choose from the tokens whose information is closest to the entropy of the
     * distribution (locally typical tokens) and whose total probability reaches this value. Must
     * be greater than 0. Default: 1, which disables the option.
     */
    float typical_p;
    /**
     * Sampling: choose from the tokens with at least this probability. Default: 0, which disables
     * the option.
     */
    float epsilon_cutoff;
    /**
     * Sampling: the cutoff e of eta sampling, which chooses from the tokens whose probability is
     * at least `min(e, sqrt(e) * exp(-entropy))`. Default: 0, which disables the option.
     */
    float eta_cutoff;
    /**
     * A value greater than 1 makes tokens of the encoder's input more likely. The input is the
     * image placeholder and the prompt, without padding. It applies only to the first beam or
     * sample of a request, as in transformers. Must be greater than 0. Default: 1, which disables
     * the option.
     */
    float encoder_repetition_penalty;
    /**
     * A florence2_switch: on to replace NaN scores by 0 and infinite scores by the largest and the
     * smallest finite number. Default: off.
     */
    int32_t remove_invalid_values;
    /**
     * A florence2_switch: on to normalise scores to log-probabilities again after all other
     * options have changed them. Default: off.
     */
    int32_t renormalize_logits;
    /**
     * After this number of generated tokens, the scores of end tokens increase exponentially with
     * this base f. If an answer has n > 0 more tokens than the number, `|score| * (f^n - 1)` is
     * added to the score of an end token. Banned end tokens remain banned. Default: no increase.
     * This field is the number of tokens.
     */
    uint32_t exponential_decay_start;
    /**
     * The base f of the increase: see `exponential_decay_start`.
     */
    double exponential_decay_factor;
    /**
     * The time limit of the search in seconds, without the vision tower and the encoder. After it,
     * answers end as they are, with the finish reason of the maximum length. Default: no limit.
     */
    double max_time_s;
    /**
     * The first generated token is one of these. Default: none.
     */
    const uint32_t *forced_bos_token_ids;
    /**
     * The number of elements at `forced_bos_token_ids`.
     */
    size_t forced_bos_token_ids_len;
    /**
     * The token at the maximum length is one of these. Default: none.
     */
    const uint32_t *forced_eos_token_ids;
    /**
     * The number of elements at `forced_eos_token_ids`.
     */
    size_t forced_eos_token_ids_len;
    /**
     * The start token of the decoder: one for all requests, or one per request of the batch.
     * Default: the start token of `text_config` in the model's config.json.
     */
    const uint32_t *decoder_start_token_ids;
    /**
     * The number of elements at `decoder_start_token_ids`.
     */
    size_t decoder_start_token_ids_len;
    /**
     * Tokens that are never generated. Default: none.
     */
    const uint32_t *suppress_tokens;
    /**
     * The number of elements at `suppress_tokens`.
     */
    size_t suppress_tokens_len;
    /**
     * Tokens that are not generated first, or not directly after a forced first token. Default:
     * none.
     */
    const uint32_t *begin_suppress_tokens;
    /**
     * The number of elements at `begin_suppress_tokens`.
     */
    size_t begin_suppress_tokens_len;
    /**
     * Sequences of tokens that are never generated. Default: none.
     */
    const struct florence2_token_sequence *bad_words_ids;
    /**
     * The number of elements at `bad_words_ids`.
     */
    size_t bad_words_ids_len;
    /**
     * Sequences of tokens, each with a bias that is added to the score of its last token after the
     * other tokens. A positive bias makes the sequence more likely. If a sequence occurs twice,
     * its last bias applies. Default: none.
     */
    const struct florence2_sequence_bias *sequence_bias;
    /**
     * The number of elements at `sequence_bias`.
     */
    size_t sequence_bias_len;
    /**
     * Texts that end an answer. The answer ends with the token that completes one of them, with
     * the finish reason of an end token. Default: none. The texts are in UTF-8.
     */
    const char *const *stop_strings;
    /**
     * The number of elements at `stop_strings`.
     */
    size_t stop_strings_len;
} florence2_run_options;

/**
 * A point in pixels of the image, from its upper left corner.
 */
typedef struct florence2_point {
    /**
     * The distance from the left edge.
     */
    double x_px;
    /**
     * The distance from the top edge.
     */
    double y_px;
} florence2_point;

/**
 * A region of the answer: a place in the image that the model found, such as a detected object,
 * a text line or a part of a mask. The input of a task is the field `region` of florence2_request.
 * A crop of a pixel buffer is described by the fields `region_x_px` and following of
 * florence2_pixels and florence2_yuv.
 *
 * Later versions may append fields: copy its fields, not the struct.
 */
typedef struct florence2_region {
    /**
     * The label, in UTF-8; the empty string if the region has none.
     */
    const char *label;
    /**
     * The points. `kind` is their meaning.
     */
    const struct florence2_point *points;
    /**
     * The number of elements at `points`.
     */
    size_t points_len;
    /**
     * The number of the object to which the region belongs. The rings of one object share it.
     */
    size_t instance;
    /**
     * The meaning of the points.
     */
    florence2_region_kind kind;
    /**
     * The confidence, 0 to 1: `label_score` times `location_score`, or `location_score` if the
     * region has no label. NaN if it is not known.
     */
    float score;
    /**
     * The probability of the label, 0 to 1: the geometric mean over its tokens. NaN if the region
     * has no label.
     */
    float label_score;
    /**
     * The probability, 0 to 1, that a coordinate lies within `location_tolerance` of the generated
     * one, of the least certain coordinate. NaN if it is not known.
     */
    float location_score;
} florence2_region;

/**
 * The durations of the stages of a run in milliseconds. Each result of a batch has the durations
 * of the whole batch. A result of image features has the durations of their
 * florence2_model_encode_image.
 *
 * Later versions may append fields: copy its fields, not the struct.
 */
typedef struct florence2_timings {
    /**
     * The image is resized and normalised.
     */
    double preprocess_ms;
    /**
     * The vision tower and its projection run.
     */
    double vision_ms;
    /**
     * The prompts are tokenized, and the encoder and the decoder run.
     */
    double generate_ms;
} florence2_timings;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 * Versions
 */

/**
 * Returns the ABI version of the loaded library. A program works with the library if this equals
 * FLORENCE2_ABI_VERSION.
 */
FLORENCE2_API uint32_t florence2_abi_version(void);

/**
 * Returns the version of the loaded library, such as "1.2.3", as a static string.
 * FLORENCE2_VERSION_STRING is the version of the header.
 */
FLORENCE2_API const char *florence2_version(void);

/*
 * Errors
 */

/**
 * Returns the status of an error; FLORENCE2_STATUS_OK for NULL.
 */
FLORENCE2_API florence2_status florence2_error_status(const struct florence2_error *error);

/**
 * Returns the message of an error: one line, borrowed from the error; the empty string for NULL.
 */
FLORENCE2_API const char *florence2_error_message(const struct florence2_error *error);

/**
 * Frees an error. NULL is allowed.
 */
FLORENCE2_API void florence2_error_free(struct florence2_error *error);

/**
 * Returns the name of a status, such as "FLORENCE2_STATUS_IO".
 *
 * - `status`: a florence2_status.
 *
 * Returns a static string, or NULL if no status has the number.
 */
FLORENCE2_API const char *florence2_status_name(int32_t status);

/*
 * Log
 */

/**
 * Sets the log callback of the process. It replaces the previous callback. At first, there is
 * none.
 *
 * When the function returns, the previous callback is not running and is not called again. Its
 * `user` may then be freed.
 *
 * - `callback`: the callback. NULL for no callback.
 * - `user`: passed to the callback unchanged. It must remain valid until the callback is replaced.
 * - `max_level`: a florence2_log_level. The callback receives the messages of this level and of
 *   more severe levels.
 *
 * Returns FLORENCE2_STATUS_INVALID_ARGUMENT if `max_level` is no level, or if the function is
 * called from within the callback.
 */
FLORENCE2_API
florence2_status florence2_log_set(florence2_log_callback callback,
                                   void *user,
                                   int32_t max_level,
                                   struct florence2_error **error);

/*
 * Settings of the process
 */

/**
 * Frees the memory that the library keeps for later runs: buffers between layers, and freed memory
 * that its allocator has not yet returned to the system.
 *
 * Models, images, features and results remain valid. The next runs allocate memory again. The
 * function waits until the threads of all models have freed theirs. Any thread may call it, also
 * while models run.
 */
FLORENCE2_API void florence2_trim(void);

/**
 * Describes the library and the machine for a bug report.
 *
 * Returns a JSON object as a static string with the keys "version", "abi_version", "os", "arch",
 * "simd_level" (of the device "cpu"), "threads" (of the shared pool), "features" (of this build)
 * and "devices". The first call searches for GPUs.
 */
FLORENCE2_API const char *florence2_system_info_json(void);

/**
 * Sets the SIMD level of the device "cpu" for the whole process: the highest instruction set that
 * it uses.
 *
 * Call it before the first model is loaded. Later, it succeeds only for the level in use.
 *
 * - `level`: the name of the level. Required. On x86-64 "portable", "avx2", "avx2-vnni", "avx512",
 *   "avx512-vnni", "avx512-dot" or "amx"; on AArch64 "portable", "neon" or "neon-dot".
 *
 * Without a call, the environment variable FLORENCE2_CPU_LEVEL selects the level. Without the
 * variable, it is the highest level that the processor has and the operating system permits. With
 * a level below "amx", the library does not request the AMX permission from Linux.
 *
 * Returns FLORENCE2_STATUS_INVALID_ARGUMENT if no level has the name, if the processor lacks the
 * level, or if another level is in use.
 */
FLORENCE2_API
florence2_status florence2_simd_level_set(const char *level,
                                          struct florence2_error **error);

/*
 * Devices and tasks
 */

/**
 * Returns the number of devices of this machine that this build supports.
 *
 * The first call of this function or of florence2_device_name searches for GPUs, which starts
 * their drivers.
 */
FLORENCE2_API size_t florence2_device_count(void);

/**
 * Returns the name of a device for the field `device` of florence2_load_options.
 *
 * - `index`: 0 to florence2_device_count() - 1. The best device is first: GPUs such as "cuda:0",
 *   then CPUs such as "cpu", then software implementations of a GPU.
 *
 * Returns a static string, or NULL if `index` is out of range.
 */
FLORENCE2_API const char *florence2_device_name(size_t index);

/**
 * Returns the number of tasks.
 */
FLORENCE2_API size_t florence2_task_count(void);

/**
 * Returns the token of a task, such as "<OD>", for the field `task` of florence2_request.
 *
 * - `index`: 0 to florence2_task_count() - 1.
 *
 * Returns a static string, or NULL if `index` is out of range.
 */
FLORENCE2_API const char *florence2_task_token(size_t index);

/**
 * Returns the input that a task needs; FLORENCE2_TASK_INPUT_UNKNOWN for NULL, and if there is no
 * such task.
 *
 * - `task`: the token or the name of the task, as in the field `task` of florence2_request.
 */
FLORENCE2_API florence2_task_input florence2_task_input_of(const char *task);

/**
 * Returns the format of a task's answers; FLORENCE2_POST_PROCESSING_TYPE_UNKNOWN for NULL, and if
 * there is no such task. The answer to a prompt without a task has the format
 * FLORENCE2_POST_PROCESSING_TYPE_PURE_TEXT.
 *
 * - `task`: the token or the name of the task, as in the field `task` of florence2_request.
 */
FLORENCE2_API florence2_post_processing_type florence2_task_post_processing_type(const char *task);

/*
 * Images
 */

/**
 * Clears a florence2_decode_options and sets its `struct_size`.
 *
 * - `options`: the struct. If it is NULL, the function does nothing.
 * - `size`: sizeof(florence2_decode_options).
 */
FLORENCE2_API
void florence2_decode_options_init(struct florence2_decode_options *options,
                                   size_t size);

/**
 * Clears a florence2_pixels and sets its `struct_size`.
 *
 * - `pixels`: the struct. If it is NULL, the function does nothing.
 * - `size`: sizeof(florence2_pixels).
 */
FLORENCE2_API void florence2_pixels_init(struct florence2_pixels *pixels, size_t size);

/**
 * Decodes an image file in memory and applies its EXIF orientation. The formats are JPEG, PNG,
 * WebP, BMP, GIF (the first frame) and TIFF.
 *
 * - `data`: the contents of the file. The library reads them only during the call.
 * - `data_len`: the number of bytes at `data`.
 * - `options`: NULL for the defaults.
 * - `image`: receives the image. Required. Free it with florence2_image_free.
 *
 * Returns FLORENCE2_STATUS_INVALID_IMAGE if the file cannot be decoded or has more than
 * `max_pixels` pixels.
 */
FLORENCE2_API
florence2_status florence2_image_from_encoded(const uint8_t *data,
                                              size_t data_len,
                                              const struct florence2_decode_options *options,
                                              struct florence2_image **image,
                                              struct florence2_error **error);

/**
 * Reads and decodes an image file, as florence2_image_from_encoded does.
 *
 * - `path`: the path of the file. Required. It is also the value of "image" in the JSON of
 *   results.
 * - `options`: NULL for the defaults.
 * - `image`: receives the image. Required. Free it with florence2_image_free.
 *
 * Returns FLORENCE2_STATUS_IO if the file cannot be read, and FLORENCE2_STATUS_INVALID_IMAGE if it
 * cannot be decoded or has more than `max_pixels` pixels.
 */
FLORENCE2_API
florence2_status florence2_image_from_path(const char *path,
                                           const struct florence2_decode_options *options,
                                           struct florence2_image **image,
                                           struct florence2_error **error);

/**
 * Creates an image from pixels in the caller's memory. The pixels are copied.
 *
 * - `pixels`: the pixels. Required.
 * - `image`: receives the image. Required. Free it with florence2_image_free.
 *
 * Returns:
 * - FLORENCE2_STATUS_INVALID_ARGUMENT if the buffer is too short, the stride is smaller than a
 *   row, the format is unknown, or the region is empty or exceeds the pixels.
 * - FLORENCE2_STATUS_INVALID_IMAGE if the width or the height is 0.
 */
FLORENCE2_API
florence2_status florence2_image_from_pixels(const struct florence2_pixels *pixels,
                                             struct florence2_image **image,
                                             struct florence2_error **error);

/**
 * Returns the width of an image in pixels; 0 for NULL.
 */
FLORENCE2_API uint32_t florence2_image_width_px(const struct florence2_image *image);

/**
 * Returns the height of an image in pixels; 0 for NULL.
 */
FLORENCE2_API uint32_t florence2_image_height_px(const struct florence2_image *image);

/**
 * Frees an image. NULL is allowed. Image features and results remain valid.
 */
FLORENCE2_API void florence2_image_free(struct florence2_image *image);

/**
 * Frees image features. NULL is allowed.
 */
FLORENCE2_API void florence2_image_features_free(struct florence2_image_features *image_features);

/**
 * Clears a florence2_yuv and sets its `struct_size`.
 *
 * - `yuv`: the struct. If it is NULL, the function does nothing.
 * - `size`: sizeof(florence2_yuv).
 */
FLORENCE2_API void florence2_yuv_init(struct florence2_yuv *yuv, size_t size);

/**
 * Creates an image from a YUV frame. Each chroma sample applies to its 2x2 pixels.
 *
 * - `yuv`: the frame. Required. The library reads the planes only during the call.
 * - `image`: receives the image. Required. Free it with florence2_image_free.
 *
 * The conversion uses integers, so that it is the same on every machine. y, u and v are the
 * samples minus their offsets (16 or 0 for y, 128 for u and v). The coefficients of the matrix
 * and the range (c_y, and r, g and b with the sample's name) are in units of 2^-20, rounded to the
 * nearest. Each channel is clamped to 0..255:
 *
 * - red: (c_y * y + r_v * v + 2^19) >> 20
 * - green: (c_y * y - g_u * u - g_v * v + 2^19) >> 20
 * - blue: (c_y * y + b_u * u + 2^19) >> 20
 *
 * Returns:
 * - FLORENCE2_STATUS_INVALID_ARGUMENT if a plane is too short, a stride is smaller than a row, the
 *   region is empty or exceeds the frame, or the format, matrix or range is unknown.
 * - FLORENCE2_STATUS_INVALID_IMAGE if the width or the height is 0.
 */
FLORENCE2_API
florence2_status florence2_image_from_yuv(const struct florence2_yuv *yuv,
                                          struct florence2_image **image,
                                          struct florence2_error **error);

/*
 * Cancellation
 */

/**
 * Creates a cancel token that is not fired.
 *
 * - `cancel`: receives the token. Required. Free it with florence2_cancel_free.
 */
FLORENCE2_API
florence2_status florence2_cancel_new(struct florence2_cancel **cancel,
                                      struct florence2_error **error);

/**
 * Cancels all calls that use a token, and all later calls with it. They fail with
 * FLORENCE2_STATUS_CANCELLED at their next check: before a tensor is loaded, a stage of the vision
 * tower, or a generated token.
 *
 * - `cancel`: the token. If it is NULL, the function does nothing.
 *
 * Any thread may call this function at any time, any number of times.
 */
FLORENCE2_API void florence2_cancel_fire(const struct florence2_cancel *cancel);

/**
 * Returns true if a token was fired; false for NULL.
 */
FLORENCE2_API bool florence2_cancel_is_fired(const struct florence2_cancel *cancel);

/**
 * Frees a cancel token. NULL is allowed.
 */
FLORENCE2_API void florence2_cancel_free(struct florence2_cancel *cancel);

/*
 * Models
 */

/**
 * Clears a florence2_load_options and sets its `struct_size`.
 *
 * - `options`: the struct. If it is NULL, the function does nothing.
 * - `size`: sizeof(florence2_load_options).
 */
FLORENCE2_API void florence2_load_options_init(struct florence2_load_options *options, size_t size);

/**
 * Loads a model from a folder in the layout of Microsoft's or Hugging Face's checkpoints:
 * config.json, preprocessor_config.json or processor_config.json, the tokenizer's files, the
 * weights and, if the model has one, generation_config.json.
 *
 * - `directory`: the path of the folder. Required.
 * - `options`: NULL for the defaults.
 * - `model`: receives the model. Required. Free it with florence2_model_free.
 *
 * Returns:
 * - FLORENCE2_STATUS_IO if a file is missing or cannot be read.
 * - FLORENCE2_STATUS_INVALID_MODEL if a file is malformed or the weights do not match. The message
 *   names the file or the tensors.
 * - FLORENCE2_STATUS_INVALID_ARGUMENT if an option is invalid, if the threads cannot be started,
 *   or if the processor lacks the level in the environment variable FLORENCE2_CPU_LEVEL.
 * - FLORENCE2_STATUS_UNSUPPORTED_DEVICE if the device does not exist, does not support the dtype,
 *   or has too little memory.
 * - FLORENCE2_STATUS_CANCELLED if the cancel token was fired or the callback ended the loading.
 * - FLORENCE2_STATUS_FORKED in a process that was forked after a model was loaded.
 */
FLORENCE2_API
florence2_status florence2_model_load(const char *directory,
                                      const struct florence2_load_options *options,
                                      struct florence2_model **model,
                                      struct florence2_error **error);

/**
 * Loads a model from files in memory, with the names that they have in a model's folder: see
 * florence2_model_load. The weights are one file with any name that has the suffix of a weights
 * file, or shards with their index, such as model.safetensors.index.json.
 *
 * - `files`: `files_len` files with different names. The library reads them only during the call.
 * - `files_len`: the number of files.
 * - `options`: NULL for the defaults.
 * - `model`: receives the model. Required. Free it with florence2_model_free.
 *
 * Returns the statuses of florence2_model_load. A missing file is FLORENCE2_STATUS_IO. Returns
 * FLORENCE2_STATUS_INVALID_ARGUMENT also if two files have the same name, or if a name is not that
 * of a model's file.
 */
FLORENCE2_API
florence2_status florence2_model_load_memory(const struct florence2_file *files,
                                             size_t files_len,
                                             const struct florence2_load_options *options,
                                             struct florence2_model **model,
                                             struct florence2_error **error);

/**
 * Loads the demo model that is embedded in the library: a very small Florence-2 that recognises
 * coloured shapes and short words. Its answers about other images are meaningless.
 *
 * - `options`: NULL for the defaults.
 * - `model`: receives the model. Required. Free it with florence2_model_free.
 *
 * Returns FLORENCE2_STATUS_NOT_IN_THIS_BUILD if the library was built without the feature `demo`,
 * and the statuses of florence2_model_load.
 */
FLORENCE2_API
florence2_status florence2_model_load_demo(const struct florence2_load_options *options,
                                           struct florence2_model **model,
                                           struct florence2_error **error);

/**
 * Returns the name of the model's device, such as "cpu", borrowed from the model; the empty string
 * for NULL.
 */
FLORENCE2_API const char *florence2_model_device(const struct florence2_model *model);

/**
 * Describes a model.
 *
 * Returns a JSON object, borrowed from the model, with the keys "device", "dtype", "threads",
 * "vocab_size", "max_new_tokens" (the maximum number of tokens of an answer) and
 * "generation_config" (the options that apply if the run options do not set them); the empty
 * string for NULL.
 */
FLORENCE2_API const char *florence2_model_info_json(const struct florence2_model *model);

/**
 * Returns the number of warnings about the model's files: settings and tensors that the library
 * does not use. 0 for NULL.
 */
FLORENCE2_API size_t florence2_model_warning_count(const struct florence2_model *model);

/**
 * Returns a warning about the model's files. The log callback receives the warnings too.
 *
 * - `model`: the model.
 * - `index`: 0 to florence2_model_warning_count() - 1.
 *
 * Returns one line, borrowed from the model; NULL if `model` is NULL or `index` is out of range.
 */
FLORENCE2_API
const char *florence2_model_warning(const struct florence2_model *model,
                                    size_t index);

/**
 * Returns the id of a token, for fields such as `eos_token_ids` of florence2_run_options.
 *
 * - `model`: the model. Required.
 * - `token`: the token, as it is written in the tokenizer's file. Required.
 * - `token_id`: receives the id. Required. It is not changed if the call fails.
 *
 * Returns FLORENCE2_STATUS_INVALID_ARGUMENT if the vocabulary does not contain the token.
 */
FLORENCE2_API
florence2_status florence2_model_token_id(const struct florence2_model *model,
                                          const char *token,
                                          uint32_t *token_id,
                                          struct florence2_error **error);

/**
 * Frees a model. NULL is allowed. No call may use the model any more. Images and results remain
 * valid. Image features of the model can then only be freed.
 */
FLORENCE2_API void florence2_model_free(struct florence2_model *model);

/*
 * Requests and runs
 */

/**
 * Clears a florence2_request and sets its `struct_size`.
 *
 * - `request`: the struct. If it is NULL, the function does nothing.
 * - `size`: sizeof(florence2_request).
 */
FLORENCE2_API void florence2_request_init(struct florence2_request *request, size_t size);

/**
 * Clears a florence2_run_options and sets its `struct_size`.
 *
 * - `options`: the struct. If it is NULL, the function does nothing.
 * - `size`: sizeof(florence2_run_options).
 */
FLORENCE2_API void florence2_run_options_init(struct florence2_run_options *options, size_t size);

/**
 * Runs a request: preprocesses the image, runs the vision tower, generates tokens and parses the
 * answer.
 *
 * - `model`: the model. Required.
 * - `request`: the request. Required.
 * - `options`: NULL for the defaults.
 * - `result`: receives the result. Required. Free it with florence2_result_free.
 *
 * Returns:
 * - FLORENCE2_STATUS_INVALID_ARGUMENT if the request or an option is invalid, if the prompt is too
 *   long for the model, or if the image features are those of another model. The message names the
 *   argument.
 * - FLORENCE2_STATUS_INVALID_IMAGE if the model's image processor cannot resize the image.
 * - FLORENCE2_STATUS_INVALID_MODEL if the model's tokenizer cannot represent the prompt.
 * - FLORENCE2_STATUS_CANCELLED if the cancel token was fired or a callback ended the run.
 * - FLORENCE2_STATUS_DEADLINE_EXCEEDED if `deadline_ms` passed.
 * - FLORENCE2_STATUS_NOT_FINITE if the model computed no usable score.
 * - FLORENCE2_STATUS_DEVICE_FAILED if the device failed, in this run or an earlier one.
 * - FLORENCE2_STATUS_FORKED in a process that was forked after a model was loaded.
 */
FLORENCE2_API
florence2_status florence2_model_run(const struct florence2_model *model,
                                     const struct florence2_request *request,
                                     const struct florence2_run_options *options,
                                     struct florence2_result **result,
                                     struct florence2_error **error);

/**
 * Runs several requests in one batch. Each result equals that of florence2_model_run. An image
 * that several requests share is encoded once. The required memory grows with the number of
 * requests. `errors` determines the effect of a request that fails.
 *
 * - `model`: the model. Required.
 * - `requests`: an array of requests with the same `struct_size`.
 * - `requests_len`: the number of requests, at most 65536. 0 is allowed.
 * - `options`: the options of all requests. NULL for the defaults.
 * - `results`: an array of `requests_len` elements, which receives the results. The element of a
 *   request that failed is NULL. Required unless `requests_len` is 0. Free each result with
 *   florence2_result_free.
 * - `errors`: NULL, or an array of `requests_len` elements, which receives the errors. The element
 *   of a request that did not fail is NULL. Free each error with florence2_error_free.
 *
 * With `errors`, a request that fails does not affect the others: the function returns
 * FLORENCE2_STATUS_OK, and each request has either a result or an error. If the batch fails, the
 * function runs its requests one by one, which determines the requests that fail. The call fails
 * only for reasons that concern all requests:
 * - FLORENCE2_STATUS_INVALID_ARGUMENT if an option is invalid.
 * - FLORENCE2_STATUS_CANCELLED, FLORENCE2_STATUS_DEADLINE_EXCEEDED, FLORENCE2_STATUS_DEVICE_FAILED
 *   and FLORENCE2_STATUS_FORKED, as florence2_model_run.
 *
 * Without `errors`, one request that fails fails the call, with the statuses of
 * florence2_model_run. The message names the request if it is invalid.
 *
 * If the call fails, all elements of `results` and `errors` are NULL.
 */
FLORENCE2_API
florence2_status florence2_model_run_batch(const struct florence2_model *model,
                                           const struct florence2_request *requests,
                                           size_t requests_len,
                                           const struct florence2_run_options *options,
                                           struct florence2_result **results,
                                           struct florence2_error **errors,
                                           struct florence2_error **error);

/**
 * Runs an image through the model's vision tower. The features serve any number of requests about
 * the image.
 *
 * - `model`: the model. Required.
 * - `image`: the image. Required.
 * - `options`: only `deadline_ms` and `cancel` have an effect. NULL for the defaults.
 * - `image_features`: receives the features. Required. Free them with
 *   florence2_image_features_free.
 *
 * Returns FLORENCE2_STATUS_INVALID_IMAGE, FLORENCE2_STATUS_CANCELLED,
 * FLORENCE2_STATUS_DEADLINE_EXCEEDED, FLORENCE2_STATUS_DEVICE_FAILED and FLORENCE2_STATUS_FORKED,
 * as florence2_model_run.
 */
FLORENCE2_API
florence2_status florence2_model_encode_image(const struct florence2_model *model,
                                              const struct florence2_image *image,
                                              const struct florence2_run_options *options,
                                              struct florence2_image_features **image_features,
                                              struct florence2_error **error);

/*
 * Results
 */

/**
 * Returns the answer as plain text: without `<s>`, `</s>` and surrounding white space, with
 * locations such as "<loc_123>". It is borrowed from the result; the empty string for NULL.
 */
FLORENCE2_API const char *florence2_result_text(const struct florence2_result *result);

/**
 * Returns the answer with all special tokens, such as `<s>` and `</s>`, borrowed from the result;
 * the empty string for NULL.
 */
FLORENCE2_API const char *florence2_result_raw_text(const struct florence2_result *result);

/**
 * Returns the token of the task, such as "<OD>", borrowed from the result. For a prompt without a
 * task, it returns the text from a "<" at its start to the first ">", or the whole prompt. Returns
 * the empty string for NULL.
 */
FLORENCE2_API const char *florence2_result_task(const struct florence2_result *result);

/**
 * Returns the confidence of the answer, 0 to 1: the geometric mean of the probabilities of its tokens
 * without `<s>` and `</s>`. A location counts with the probability that it lies within
 * `location_tolerance` of the generated one. NaN if the answer has no such tokens, and for NULL.
 */
FLORENCE2_API
float florence2_result_score(const struct florence2_result *result);

/**
 * Returns Hugging Face's `sequences_scores`: the sum of the log-probabilities of the generated
 * tokens, divided by their number to the power of `length_penalty`. NaN for NULL.
 */
FLORENCE2_API float florence2_result_sequence_score(const struct florence2_result *result);

/**
 * Returns the reason why the answer ended; FLORENCE2_FINISH_REASON_NONE for NULL.
 */
FLORENCE2_API
florence2_finish_reason florence2_result_finish_reason(const struct florence2_result *result);

/**
 * Returns the width in pixels of the image that contains the regions; 0 for NULL.
 */
FLORENCE2_API uint32_t florence2_result_image_width_px(const struct florence2_result *result);

/**
 * Returns the height in pixels of the image that contains the regions; 0 for NULL.
 */
FLORENCE2_API uint32_t florence2_result_image_height_px(const struct florence2_result *result);

/**
 * Returns the number of regions; 0 for NULL.
 */
FLORENCE2_API size_t florence2_result_region_count(const struct florence2_result *result);

/**
 * Returns a region, in the order of the answer.
 *
 * - `result`: the result.
 * - `index`: 0 to florence2_result_region_count() - 1.
 *
 * Returns a pointer that is borrowed from the result; NULL if `result` is NULL or `index` is out
 * of range.
 */
FLORENCE2_API
const struct florence2_region *florence2_result_region(const struct florence2_result *result,
                                                       size_t index);

/**
 * Returns the number of tokens of the answer, including the decoder's start token; 0 for NULL.
 */
FLORENCE2_API size_t florence2_result_token_count(const struct florence2_result *result);

/**
 * Returns the ids of the tokens, start token first: an array of florence2_result_token_count
 * elements, borrowed from the result; NULL for NULL.
 */
FLORENCE2_API const uint32_t *florence2_result_token_ids(const struct florence2_result *result);

/**
 * Returns the natural logarithms of the tokens' probabilities: an array of
 * florence2_result_token_count elements, borrowed from the result; NULL for NULL. They are 0 for
 * the start token and for forced tokens.
 */
FLORENCE2_API const float *florence2_result_token_log_probs(const struct florence2_result *result);

/**
 * Returns the number of further answers, which is `num_return_sequences` - 1; 0 for NULL.
 */
FLORENCE2_API size_t florence2_result_alternative_count(const struct florence2_result *result);

/**
 * Returns one of the further answers, best first.
 *
 * - `result`: the result.
 * - `index`: 0 to florence2_result_alternative_count() - 1.
 *
 * Returns a result that is borrowed from `result`. It must not be freed. Returns NULL if `result`
 * is NULL or `index` is out of range.
 */
FLORENCE2_API
const struct florence2_result *florence2_result_alternative(const struct florence2_result *result,
                                                            size_t index);

/**
 * Returns the durations of the run, borrowed from the result; NULL for NULL.
 */
FLORENCE2_API
const struct florence2_timings *florence2_result_timings(const struct florence2_result *result);

/**
 * Returns the result as a JSON object, borrowed from the result; the empty string for NULL. The
 * first call creates it.
 *
 * The keys are "schema" (the version of this structure, a number), "image" (the path of its file,
 * or ""), "width", "height", "task", "input", "text", "raw_text" (with special tokens),
 * "token_ids", "token_log_probs", "sequence_score", "finish_reason", "score", "result" (the answer
 * as Hugging Face's post_process_generation returns it), "regions", "timings_ms" and, with more
 * than one answer, "alternatives".
 */
FLORENCE2_API const char *florence2_result_json(const struct florence2_result *result);

/**
 * Frees a result and everything that is borrowed from it. NULL is allowed.
 */
FLORENCE2_API void florence2_result_free(struct florence2_result *result);

/*
 * Scores of given answers
 */

/**
 * Computes the likelihood of a given answer to a request: the loss of Hugging Face's `forward`
 * with labels, and the log-probability of each token.
 *
 * - `model`: the model. Required.
 * - `request`: the request. Required.
 * - `target`: the answer as the model would generate it, without `<s>` and `</s>`. Required.
 * - `options`: only `deadline_ms` and `cancel` have an effect. They are checked before each stage
 *   of the vision tower and before the encoder. NULL for the defaults.
 * - `score`: receives the score. Required. Free it with florence2_score_free.
 *
 * Returns the statuses of florence2_model_run, except FLORENCE2_STATUS_NOT_FINITE.
 */
FLORENCE2_API
florence2_status florence2_model_score(const struct florence2_model *model,
                                       const struct florence2_request *request,
                                       const char *target,
                                       const struct florence2_run_options *options,
                                       struct florence2_score **score,
                                       struct florence2_error **error);

/**
 * Returns the loss: the mean of the tokens' negative log-probabilities; NaN for NULL.
 */
FLORENCE2_API float florence2_score_loss(const struct florence2_score *score);

/**
 * Returns the number of tokens of the target, including `<s>` and `</s>`; 0 for NULL.
 */
FLORENCE2_API size_t florence2_score_token_count(const struct florence2_score *score);

/**
 * Returns a token of the target with its log-probability.
 *
 * - `score`: the score.
 * - `index`: 0 to florence2_score_token_count() - 1.
 *
 * Returns a pointer that is borrowed from the score; NULL if `score` is NULL or `index` is out of
 * range.
 */
FLORENCE2_API
const struct florence2_token *florence2_score_token(const struct florence2_score *score,
                                                    size_t index);

/**
 * Returns the score as a JSON object, borrowed from the score; the empty string for NULL. The
 * first call creates it.
 *
 * The keys are "schema" (the version of this structure, a number), "image" (the path of its file,
 * or ""), "task", "target", "loss" and "tokens".
 */
FLORENCE2_API const char *florence2_score_json(const struct florence2_score *score);

/**
 * Frees a score and everything that is borrowed from it. NULL is allowed.
 */
FLORENCE2_API void florence2_score_free(struct florence2_score *score);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FLORENCE2_H */

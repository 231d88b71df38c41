/*
 * libflorence2: Microsoft's Florence-2, a vision model that captions, detects, grounds, segments and
 * reads, by a prompt.
 *
 * Made from the crate florence2-ffi by `cargo xtask header`; not to be edited.
 *
 * A complete program, examples/c/detect.c:
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

#ifndef FLORENCE2_H
#define FLORENCE2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The version of this header: florence2_version is that of the loaded library.
 */
#define FLORENCE2_VERSION_MAJOR 0
#define FLORENCE2_VERSION_MINOR 1
#define FLORENCE2_VERSION_PATCH 0
#define FLORENCE2_VERSION_STRING "0.1.0"

/**
 * In `set` of florence2_run_options: `num_beams` counts, also when it is zero.
 */
#define FLORENCE2_SET_NUM_BEAMS 1

/**
 * In `set` of florence2_run_options: `num_return_sequences` counts, also when it is zero.
 */
#define FLORENCE2_SET_NUM_RETURN_SEQUENCES 2

/**
 * In `set` of florence2_run_options: `max_new_tokens` counts, also when it is zero.
 */
#define FLORENCE2_SET_MAX_NEW_TOKENS 4

/**
 * In `set` of florence2_run_options: `min_new_tokens` counts, also when it is zero.
 */
#define FLORENCE2_SET_MIN_NEW_TOKENS 8

/**
 * In `set` of florence2_run_options: `top_k` counts, also when it is zero.
 */
#define FLORENCE2_SET_TOP_K 16

/**
 * In `set` of florence2_run_options: `top_p` counts, also when it is zero.
 */
#define FLORENCE2_SET_TOP_P 32

/**
 * In `set` of florence2_run_options: `temperature` counts, also when it is zero.
 */
#define FLORENCE2_SET_TEMPERATURE 64

/**
 * In `set` of florence2_run_options: `repetition_penalty` counts, also when it is zero.
 */
#define FLORENCE2_SET_REPETITION_PENALTY 128

/**
 * In `set` of florence2_run_options: `length_penalty` counts, also when it is zero.
 */
#define FLORENCE2_SET_LENGTH_PENALTY 256

/**
 * In `set` of florence2_run_options: `no_repeat_ngram_size` counts, also when it is zero.
 */
#define FLORENCE2_SET_NO_REPEAT_NGRAM_SIZE 512

/**
 * In `set` of florence2_run_options: `seed` counts, also when it is zero.
 */
#define FLORENCE2_SET_SEED 1024

/**
 * In `set` of florence2_run_options: `eos_token_ids` counts, also when it is zero or empty.
 */
#define FLORENCE2_SET_EOS_TOKEN_IDS 2048

/**
 * In `set` of florence2_run_options: `max_length` counts, also when it is zero.
 */
#define FLORENCE2_SET_MAX_LENGTH 4096

/**
 * In `set` of florence2_run_options: `min_length` counts, also when it is zero.
 */
#define FLORENCE2_SET_MIN_LENGTH 8192

/**
 * In `set` of florence2_run_options: `encoder_no_repeat_ngram_size` counts, also when it is zero.
 */
#define FLORENCE2_SET_ENCODER_NO_REPEAT_NGRAM_SIZE 16384

/**
 * In `set` of florence2_run_options: `min_p` counts, also when it is zero.
 */
#define FLORENCE2_SET_MIN_P 32768

/**
 * In `set` of florence2_run_options: `top_h` counts, also when it is zero.
 */
#define FLORENCE2_SET_TOP_H 65536

/**
 * In `set` of florence2_run_options: `typical_p` counts, also when it is zero.
 */
#define FLORENCE2_SET_TYPICAL_P 131072

/**
 * In `set` of florence2_run_options: `epsilon_cutoff` counts, also when it is zero.
 */
#define FLORENCE2_SET_EPSILON_CUTOFF 262144

/**
 * In `set` of florence2_run_options: `eta_cutoff` counts, also when it is zero.
 */
#define FLORENCE2_SET_ETA_CUTOFF 524288

/**
 * In `set` of florence2_run_options: `encoder_repetition_penalty` counts, also when it is zero.
 */
#define FLORENCE2_SET_ENCODER_REPETITION_PENALTY 1048576

/**
 * In `set` of florence2_run_options: `exponential_decay_start` and
 * `exponential_decay_factor` count, also when they are zero.
 */
#define FLORENCE2_SET_EXPONENTIAL_DECAY_LENGTH_PENALTY 2097152

/**
 * In `set` of florence2_run_options: `max_time_s` counts, also when it is zero.
 */
#define FLORENCE2_SET_MAX_TIME 4194304

/**
 * In `set` of florence2_run_options: `forced_bos_token_ids` counts, also when it is zero or empty.
 */
#define FLORENCE2_SET_FORCED_BOS_TOKEN_IDS 8388608

/**
 * In `set` of florence2_run_options: `forced_eos_token_ids` counts, also when it is zero or empty.
 */
#define FLORENCE2_SET_FORCED_EOS_TOKEN_IDS 16777216

/**
 * In `set` of florence2_run_options: `decoder_start_token_ids` counts, also when it is zero or empty.
 */
#define FLORENCE2_SET_DECODER_START_TOKEN_IDS 33554432

/**
 * In `set` of florence2_run_options: `suppress_tokens` counts, also when it is zero or empty.
 */
#define FLORENCE2_SET_SUPPRESS_TOKENS 67108864

/**
 * In `set` of florence2_run_options: `begin_suppress_tokens` counts, also when it is zero or empty.
 */
#define FLORENCE2_SET_BEGIN_SUPPRESS_TOKENS 134217728

/**
 * In `set` of florence2_run_options: `bad_words_ids` counts, also when it is zero or empty.
 */
#define FLORENCE2_SET_BAD_WORDS_IDS 268435456

/**
 * In `set` of florence2_run_options: `sequence_bias` counts, also when it is zero or empty.
 */
#define FLORENCE2_SET_SEQUENCE_BIAS 536870912

/**
 * In `set` of florence2_run_options: `stop_strings` counts, also when it is zero or empty.
 */
#define FLORENCE2_SET_STOP_STRINGS 1073741824

/**
 * The ABI that this header describes. It grows only when a program built against an older header
 * would no longer work; the SONAME carries it. New functions, statuses and option fields do not
 * change it.
 */
#define FLORENCE2_ABI_VERSION 1

/**
 * The outcome of a call. The numbers are fixed; later versions may add further ones.
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
     * An argument, an option or the combination of several cannot be: the message names it.
     */
    FLORENCE2_STATUS_INVALID_ARGUMENT = 1,
    /**
     * A file could not be opened or read.
     */
    FLORENCE2_STATUS_IO = 2,
    /**
     * A file of the model is not what its name promises, or the weights do not fit it.
     */
    FLORENCE2_STATUS_INVALID_MODEL = 3,
    /**
     * An image cannot be decoded, or has more pixels than are accepted.
     */
    FLORENCE2_STATUS_INVALID_IMAGE = 4,
    /**
     * This build or this machine has no such device, or no such number type on it, or no room for the
     * model.
     */
    FLORENCE2_STATUS_UNSUPPORTED_DEVICE = 5,
    /**
     * This build was made without what the call needs.
     */
    FLORENCE2_STATUS_NOT_IN_THIS_BUILD = 6,
    /**
     * The caller's cancel token was fired, or a callback asked to stop.
     */
    FLORENCE2_STATUS_CANCELLED = 7,
    /**
     * The deadline passed before the answer was complete.
     */
    FLORENCE2_STATUS_DEADLINE_EXCEEDED = 8,
    /**
     * The model computed NaN or infinity: its weights or its input hold such numbers.
     */
    FLORENCE2_STATUS_NOT_FINITE = 9,
    /**
     * A fault of this library. Its handles stay usable.
     */
    FLORENCE2_STATUS_PANIC = 10,
    /**
     * The model's device failed: its memory ran out, or its driver refused. The model gives no more
     * answers; one that is loaded anew does.
     */
    FLORENCE2_STATUS_DEVICE_FAILED = 11,
    /**
     * This process was forked after a model was loaded, and lacks the threads of its parent. A
     * process that loads its models itself has them.
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
 * The severity of a message.
 */
enum florence2_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Nothing at all.
     */
    FLORENCE2_LOG_LEVEL_OFF = 0,
    /**
     * A fault of the program or the library, such as a handle freed twice.
     */
    FLORENCE2_LOG_LEVEL_ERROR = 1,
    /**
     * A setting or file that is probably unintended.
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
 * The reason for the end of an answer.
 */
enum florence2_finish_reason
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * There is no answer: the result was NULL.
     */
    FLORENCE2_FINISH_REASON_NONE = 0,
    /**
     * The answer ended with an end token or a stop string.
     */
    FLORENCE2_FINISH_REASON_END_OF_TEXT = 1,
    /**
     * The answer reached its maximal length, or `max_time_s` passed.
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
 * What a region's points are.
 */
enum florence2_region_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Two points: the corners (x1, y1) and (x2, y2).
     */
    FLORENCE2_REGION_KIND_BOX = 0,
    /**
     * Four points: the corners of a text line.
     */
    FLORENCE2_REGION_KIND_QUAD = 1,
    /**
     * One point for every vertex of a ring.
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
 * The order of a pixel's channels, one byte each. Alpha is dropped.
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
 * The unit of a request's region.
 */
enum florence2_region_unit
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * There is no region.
     */
    FLORENCE2_REGION_UNIT_NONE = 0,
    /**
     * Pixels of the image.
     */
    FLORENCE2_REGION_UNIT_PX = 1,
    /**
     * Fractions of the image's size, 0 to 1.
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
 * A choice that the model's files make when the caller does not.
 */
enum florence2_switch
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * As the model's files say.
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
 * When a beam search stops.
 */
enum florence2_early_stopping
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * As the model's files say.
     */
    FLORENCE2_EARLY_STOPPING_MODEL = 0,
    /**
     * As soon as there are `num_beams` finished answers.
     */
    FLORENCE2_EARLY_STOPPING_TRUE = 1,
    /**
     * When a better answer has become unlikely.
     */
    FLORENCE2_EARLY_STOPPING_FALSE = 2,
    /**
     * When there can be no better answer.
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
 * Whose conventions a result follows where they differ.
 */
enum florence2_compat
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Coordinates are the centres of the model's bins, as Microsoft's code gives them.
     */
    FLORENCE2_COMPAT_CENTERS = 0,
    /**
     * As Hugging Face's transformers: the centres cut to whole numbers.
     */
    FLORENCE2_COMPAT_HF = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum florence2_compat florence2_compat;
#else
typedef int32_t florence2_compat;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How a YUV frame stores its chroma: one sample of U and one of V for every 2x2 pixels, rounded up
 * at odd sizes.
 */
enum florence2_yuv_format
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * NV12: one plane with U and V in turn, given as `u`; `v` is NULL.
     */
    FLORENCE2_YUV_FORMAT_NV12 = 0,
    /**
     * I420: a plane of U and a plane of V.
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
 * The matrix between YUV and RGB.
 */
enum florence2_yuv_matrix
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * ITU-R BT.601: most cameras, and video of standard definition.
     */
    FLORENCE2_YUV_MATRIX_BT601 = 0,
    /**
     * ITU-R BT.709: video of high definition.
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
 * The range of a YUV frame's samples.
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
     * All from 0 to 255, as in JPEG.
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
 * Ends calls early, from any thread.
 *
 * Made by florence2_cancel_new, owned by the caller, to be freed with florence2_cancel_free when no
 * call that was given it is running. A fired token stays fired.
 */
typedef struct florence2_cancel florence2_cancel;

/**
 * Why a call failed: a status, and one line that names the argument, file or key, what was found
 * and what was expected.
 *
 * Made by the failing call, owned by the caller, to be freed with florence2_error_free. Immutable:
 * any number of threads may read it at once.
 */
typedef struct florence2_error florence2_error;

/**
 * An image: 8-bit RGB pixels in memory.
 *
 * Made by one of florence2_image_from_*, owned by the caller, to be freed with florence2_image_free.
 * Immutable: any number of threads and models may use it at once.
 */
typedef struct florence2_image florence2_image;

/**
 * An image that went through a model's vision tower once, for any number of requests about it.
 *
 * Made by florence2_model_encode_image, owned by the caller, to be freed with
 * florence2_image_features_free; neither the image nor the model need outlive it. Immutable: any
 * number of threads may use it at once. Only the model that made it understands it.
 */
typedef struct florence2_image_features florence2_image_features;

/**
 * A loaded model.
 *
 * Made by one of florence2_model_load*, owned by the caller, to be freed with florence2_model_free.
 * Immutable: any number of threads may run it at once, and each run has its own memory.
 */
typedef struct florence2_model florence2_model;

/**
 * An answer.
 *
 * Made by a run, owned by the caller, to be freed with florence2_result_free; everything read from
 * it is borrowed until then. Immutable: any number of threads may read it at once. Every function
 * that reads it takes NULL, and then returns the value that its documentation names.
 */
typedef struct florence2_result florence2_result;

/**
 * How likely the model finds a given answer.
 *
 * Made by florence2_model_score, owned by the caller, to be freed with florence2_score_free;
 * everything read from it is borrowed until then. Immutable: any number of threads may read it at
 * once.
 */
typedef struct florence2_score florence2_score;

/**
 * Options of decoding an image file. To be cleared with florence2_decode_options_init; zero is the
 * default everywhere.
 */
typedef struct florence2_decode_options {
    /**
     * The size of this struct, as florence2_decode_options_init sets it.
     */
    size_t struct_size;
    /**
     * The largest number of pixels that are decoded; 0 for 178,956,970. A larger image is refused
     * before it is decoded, since a small file can claim any size. Decoding takes 3 to 17 bytes of
     * memory per pixel.
     */
    uint64_t max_pixels;
} florence2_decode_options;

/**
 * Pixels that the caller holds, such as a camera's frame. To be cleared with florence2_pixels_init.
 */
typedef struct florence2_pixels {
    /**
     * The size of this struct, as florence2_pixels_init sets it.
     */
    size_t struct_size;
    /**
     * `height_px` rows of `stride_bytes` each; the last row may end with its last pixel.
     */
    const uint8_t *data;
    /**
     * Bytes at `data`.
     */
    size_t data_len;
    /**
     * Bytes from one row's begin to the next's; 0 for rows without gaps.
     */
    size_t stride_bytes;
    /**
     * Pixels across.
     */
    uint32_t width_px;
    /**
     * Pixels down.
     */
    uint32_t height_px;
    /**
     * A florence2_pixel_format.
     */
    int32_t format;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * The first column of the region that becomes the image. The region is all pixels if its four
     * fields are 0.
     */
    uint32_t region_x_px;
    /**
     * The first row of the region.
     */
    uint32_t region_y_px;
    /**
     * The number of columns of the region.
     */
    uint32_t region_width_px;
    /**
     * The number of rows of the region.
     */
    uint32_t region_height_px;
} florence2_pixels;

/**
 * Receives a message: `target` names the part of the library, `message` is one line; both are UTF-8,
 * borrowed for the call. Called on whichever thread has something to say, on several at once. Must
 * not unwind, and must not call florence2_log_set.
 */
typedef void (*florence2_log_callback)(florence2_log_level level,
                                       const char *target,
                                       const char *message,
                                       void *user);

/**
 * A file in memory.
 */
typedef struct florence2_file {
    /**
     * The file's name in the folder of the model or of the adapter, such as "config.json": UTF-8.
     */
    const char *name;
    /**
     * The file's contents.
     */
    const uint8_t *data;
    /**
     * Bytes at `data`.
     */
    size_t data_len;
} florence2_file;

/**
 * A LoRA adapter in PEFT's format: a folder, or its files in memory.
 */
typedef struct florence2_adapter {
    /**
     * The folder with adapter_config.json and the adapter's weights: UTF-8. NULL for an adapter in
     * memory.
     */
    const char *folder;
    /**
     * adapter_config.json and the adapter's weights. Only where `folder` is NULL.
     */
    const struct florence2_file *files;
    /**
     * The number of files at `files`.
     */
    size_t files_len;
    /**
     * The factor of the adapter's updates, as PEFT's set_scale; 0 for 1.
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
 * Borrowed for the callback's call. Later versions may add fields at the end.
 */
typedef struct florence2_load_progress {
    /**
     * Tensors that were loaded.
     */
    size_t tensors;
    /**
     * Tensors to load.
     */
    size_t total_tensors;
    /**
     * Values in the loaded tensors.
     */
    uint64_t parameters;
    /**
     * Values in all tensors to load.
     */
    uint64_t total_parameters;
} florence2_load_progress;

/**
 * Called before the first tensor and after each, on the thread that made the call; `progress` is
 * borrowed for this call. Returns 0 to continue; any other number ends the loading, which then fails
 * with FLORENCE2_STATUS_CANCELLED. Must not unwind: no exception may leave it, nor may longjmp.
 */
typedef int32_t (*florence2_load_progress_callback)(const struct florence2_load_progress *progress,
                                                    void *user);

/**
 * How to load a model. To be cleared with florence2_load_options_init; zero is the default
 * everywhere.
 */
typedef struct florence2_load_options {
    /**
     * The size of this struct, as florence2_load_options_init sets it.
     */
    size_t struct_size;
    /**
     * One of florence2_device_name's names; NULL or "auto" for the best one.
     */
    const char *device;
    /**
     * How weights are kept and multiplied: "f32", "f16", "bf16" or "int8"; NULL or "auto" for f32.
     * The device "cpu" has them all, and multiplies those of "f16" in f32, of "bf16" and "int8"
     * faster. GPUs have "f32", "f16" and, those of CUDA and ROCm, "bf16".
     */
    const char *dtype;
    /**
     * LoRA adapters, merged into the weights in this order.
     */
    const struct florence2_adapter *adapters;
    /**
     * The number of adapters at `adapters`.
     */
    size_t adapters_len;
    /**
     * Threads that the model starts and computes with, 1 to 1024. 0 for the threads that all models
     * of the process share, one for each CPU.
     */
    size_t threads;
    /**
     * The largest number of threads that spin between two operations of a run on the CPU, the
     * caller's among them. 0 for 8; -1 for none: idle threads then sleep, and a run takes longer.
     */
    int32_t spin_limit;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * Called before the first tensor and after each; NULL for no callback.
     */
    florence2_load_progress_callback on_progress;
    /**
     * Passed to the callback as it is.
     */
    void *user;
    /**
     * Ends the loading early; NULL for no token.
     */
    const struct florence2_cancel *cancel;
    /**
     * A weights file of any name, or an index of shards, instead of the weights in the model's folder:
     * a path in UTF-8. The format is told by the content: safetensors or a file of torch.save. NULL for
     * the folder's; must be NULL for a model in memory.
     */
    const char *weights;
    /**
     * A folder with the files of the image processor and of the tokenizer, if they are not in the
     * model's folder: a path in UTF-8. NULL for the model's folder; must be NULL for a model in memory.
     */
    const char *processor;
} florence2_load_options;

/**
 * A token. Later versions may add fields at the end: copy the fields, not the struct.
 */
typedef struct florence2_token {
    /**
     * The request that it answers: its index in a batch, else 0.
     */
    size_t request;
    /**
     * What it writes: UTF-8. In a stream, a character that several tokens write comes with the last
     * of them, and `<s>` and `</s>` write nothing.
     */
    const char *text;
    /**
     * Its id.
     */
    uint32_t token_id;
    /**
     * Its natural log-probability, given those before it; 0 for a forced token.
     */
    float log_prob;
} florence2_token;

/**
 * Called once per token of an answer, `<s>` and `</s>` included, in order: during the search when
 * `num_beams` and `num_return_sequences` are 1, else after the search, for the best answer. Called
 * on the thread that made the call; `token` is borrowed for this call.
 * Return 0 to continue. Any other number ends the run, which then fails with
 * FLORENCE2_STATUS_CANCELLED. Must not unwind: no exception may leave it, nor may longjmp.
 */
typedef int32_t (*florence2_token_callback)(const struct florence2_token *token, void *user);

/**
 * How far a run is.
 *
 * Borrowed for the callback's call. Later versions may add fields at the end.
 */
typedef struct florence2_progress {
    /**
     * Tokens that every unfinished answer has by now.
     */
    size_t new_tokens;
    /**
     * Tokens that an answer can have at most; most end long before.
     */
    size_t max_new_tokens;
} florence2_progress;

/**
 * Called once per step of the search. Otherwise as florence2_token_callback.
 */
typedef int32_t (*florence2_progress_callback)(const struct florence2_progress *progress, void *user);

/**
 * A sequence of tokens.
 */
typedef struct florence2_token_sequence {
    /**
     * The ids.
     */
    const uint32_t *token_ids;
    /**
     * The number of ids at `token_ids`.
     */
    size_t token_ids_len;
} florence2_token_sequence;

/**
 * A sequence of tokens, and the bias that is added to the score of its last token after the others.
 */
typedef struct florence2_sequence_bias {
    /**
     * The ids.
     */
    const uint32_t *token_ids;
    /**
     * The number of ids at `token_ids`.
     */
    size_t token_ids_len;
    /**
     * The bias.
     */
    float bias;
    /**
     * Must be 0.
     */
    uint32_t reserved;
} florence2_sequence_bias;

/**
 * Options of a run. To be cleared with florence2_run_options_init; a field that is zero keeps the
 * value of the model's files. All is read during the call only. A field whose zero is a value too, such as a length
 * penalty of 0, counts when its bit in `set` is 1.
 */
typedef struct florence2_run_options {
    /**
     * The size of this struct, as florence2_run_options_init sets it.
     */
    size_t struct_size;
    /**
     * Beams of the beam search; 1 for greedy search or sampling.
     */
    uint32_t num_beams;
    /**
     * Answers per request, at most `num_beams`; with sampling and one beam, any number.
     */
    uint32_t num_return_sequences;
    /**
     * Tokens of an answer at most, the end token included.
     */
    uint32_t max_new_tokens;
    /**
     * Tokens of an answer at least.
     */
    uint32_t min_new_tokens;
    /**
     * A florence2_switch: whether tokens are sampled.
     */
    int32_t do_sample;
    /**
     * Sample from the k most likely tokens; -1 disables the limit.
     */
    int32_t top_k;
    /**
     * Sample from the most likely tokens that together reach this probability.
     */
    float top_p;
    /**
     * Divides the scores before sampling.
     */
    float temperature;
    /**
     * Divides the scores of tokens already written.
     */
    float repetition_penalty;
    /**
     * Exponent of the length by which a beam's score is divided.
     */
    float length_penalty;
    /**
     * No sequence of this many tokens occurs twice; -1 allows all.
     */
    int32_t no_repeat_ngram_size;
    /**
     * A florence2_early_stopping.
     */
    int32_t early_stopping;
    /**
     * A florence2_compat.
     */
    int32_t compat;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * Seed of the sampling: the same seed gives the same tokens.
     */
    uint64_t seed;
    /**
     * Tokens that end an answer, instead of the model's own.
     */
    const uint32_t *eos_token_ids;
    /**
     * The number of elements at `eos_token_ids`.
     */
    size_t eos_token_ids_len;
    /**
     * Options as a JSON object with keys of generation_config.json, such as
     * {"length_penalty": 0, "suppress_tokens": [4, 7]}. A field of this struct that counts wins.
     */
    const char *generation_config;
    /**
     * Milliseconds from the call's beginning after which it fails with
     * FLORENCE2_STATUS_DEADLINE_EXCEEDED; 0 for none.
     */
    uint64_t deadline_ms;
    /**
     * Ends the call early; NULL for nothing.
     */
    const struct florence2_cancel *cancel;
    /**
     * Called once per token; may be NULL.
     */
    florence2_token_callback on_token;
    /**
     * Called once per step; may be NULL.
     */
    florence2_progress_callback on_progress;
    /**
     * Passed to both callbacks as it is.
     */
    void *user;
    /**
     * FLORENCE2_SET_* of the fields that count though they are zero or empty.
     */
    uint64_t set;
    /**
     * Length of the decoder's sequence at most, its start token included; `max_new_tokens` wins.
     */
    uint32_t max_length;
    /**
     * Length of the decoder's sequence at least, its start token included.
     */
    uint32_t min_length;
    /**
     * No sequence of this many tokens of the prompt occurs in the answer.
     */
    uint32_t encoder_no_repeat_ngram_size;
    /**
     * Sample from the tokens with at least this share of the most likely token's probability.
     */
    float min_p;
    /**
     * Sample from the most likely tokens up to this share of the distribution's entropy.
     */
    float top_h;
    /**
     * Sample from the locally typical tokens that together reach this probability.
     */
    float typical_p;
    /**
     * Sample from the tokens of at least this probability.
     */
    float epsilon_cutoff;
    /**
     * The cutoff of eta sampling.
     */
    float eta_cutoff;
    /**
     * Above 1, raises the scores of the prompt's tokens, of the first beam or sample alone.
     */
    float encoder_repetition_penalty;
    /**
     * A florence2_switch: whether scores that are not finite are replaced.
     */
    int32_t remove_invalid_values;
    /**
     * A florence2_switch: whether scores are normalised again after all processors.
     */
    int32_t renormalize_logits;
    /**
     * The number of tokens after which the exponential decay of the length penalty begins.
     */
    uint32_t exponential_decay_start;
    /**
     * The base of its exponential growth; 1 for none.
     */
    double exponential_decay_factor;
    /**
     * Seconds after which generation ends with the tokens that it has.
     */
    double max_time_s;
    /**
     * The first generated token; set and empty for none, against the model's.
     */
    const uint32_t *forced_bos_token_ids;
    /**
     * The number of elements at `forced_bos_token_ids`.
     */
    size_t forced_bos_token_ids_len;
    /**
     * The token at the greatest length; set and empty for none, against the model's.
     */
    const uint32_t *forced_eos_token_ids;
    /**
     * The number of elements at `forced_eos_token_ids`.
     */
    size_t forced_eos_token_ids_len;
    /**
     * The decoder's start token: one, or one for each request.
     */
    const uint32_t *decoder_start_token_ids;
    /**
     * The number of elements at `decoder_start_token_ids`.
     */
    size_t decoder_start_token_ids_len;
    /**
     * Tokens that are never generated.
     */
    const uint32_t *suppress_tokens;
    /**
     * The number of elements at `suppress_tokens`.
     */
    size_t suppress_tokens_len;
    /**
     * Tokens that are not generated first.
     */
    const uint32_t *begin_suppress_tokens;
    /**
     * The number of elements at `begin_suppress_tokens`.
     */
    size_t begin_suppress_tokens_len;
    /**
     * Sequences that are never generated.
     */
    const struct florence2_token_sequence *bad_words_ids;
    /**
     * The number of elements at `bad_words_ids`.
     */
    size_t bad_words_ids_len;
    /**
     * Sequences that are more or less likely.
     */
    const struct florence2_sequence_bias *sequence_bias;
    /**
     * The number of elements at `sequence_bias`.
     */
    size_t sequence_bias_len;
    /**
     * Texts that end an answer: UTF-8.
     */
    const char *const *stop_strings;
    /**
     * The number of elements at `stop_strings`.
     */
    size_t stop_strings_len;
} florence2_run_options;

/**
 * A question about an image. To be cleared with florence2_request_init, then filled in: one of
 * `image` and `image_features`, one of `task` and `prompt`, and the input, where the task needs one,
 * as a text or a region. All is read during the call only.
 */
typedef struct florence2_request {
    /**
     * The size of this struct, as florence2_request_init sets it.
     */
    size_t struct_size;
    /**
     * The image.
     */
    const struct florence2_image *image;
    /**
     * The image, encoded by the same model.
     */
    const struct florence2_image_features *image_features;
    /**
     * A task by its token or name: "<OD>", "OD" or "od". florence2_task_token lists them.
     */
    const char *task;
    /**
     * A whole prompt, read as Hugging Face's processor reads it: a task's token followed by its
     * input, such as "<OPEN_VOCABULARY_DETECTION>a red bus"; any other text goes to the model as it
     * is, and its answer is text.
     */
    const char *prompt;
    /**
     * The task's input as text: a phrase, or a region written as "<loc_..><loc_..><loc_..><loc_..>".
     */
    const char *input;
    /**
     * The task's input as a box: x1, y1, x2, y2 with x1 <= x2 and y1 <= y2. What reaches beyond the
     * image's edge is cut off.
     */
    double region[4];
    /**
     * A florence2_region_unit: in what unit `region` is, or that there is none.
     */
    int32_t region_unit;
    /**
     * Must be 0.
     */
    uint32_t reserved;
} florence2_request;

/**
 * A point in pixels of the image, from its upper left corner.
 */
typedef struct florence2_point {
    /**
     * Pixels to the right.
     */
    double x_px;
    /**
     * Pixels down.
     */
    double y_px;
} florence2_point;

/**
 * A place in the image. Later versions may add fields at the end: copy the fields, not the struct.
 */
typedef struct florence2_region {
    /**
     * The label: UTF-8; the empty string if the task has no labels.
     */
    const char *label;
    /**
     * Where it is.
     */
    const struct florence2_point *points;
    /**
     * The number of points at `points`.
     */
    size_t points_len;
    /**
     * The object that this region belongs to: rings of one object share the number.
     */
    size_t instance;
    /**
     * What the points are.
     */
    florence2_region_kind kind;
    /**
     * How sure the model was, 0 to 1: the exponential of the mean log-probability of the tokens
     * that wrote the label and the location. NaN when nothing is known of them.
     */
    float score;
    /**
     * The same over the label's tokens. NaN when there is no label.
     */
    float label_score;
    /**
     * The same over the location's tokens. NaN when nothing is known of them.
     */
    float location_score;
} florence2_region;

/**
 * Where the time of a run went, in milliseconds. What requests of a batch do together, each counts
 * in full. Later versions may add fields at the end: copy the fields, not the struct.
 */
typedef struct florence2_timings {
    /**
     * Resizing and normalising the image.
     */
    double preprocess_ms;
    /**
     * The vision tower.
     */
    double vision_ms;
    /**
     * Reading the prompt and writing the answer.
     */
    double generate_ms;
} florence2_timings;

/**
 * A YUV frame with 4:2:0 subsampling that the caller holds. To be cleared with florence2_yuv_init.
 */
typedef struct florence2_yuv {
    /**
     * The size of this struct, as florence2_yuv_init sets it.
     */
    size_t struct_size;
    /**
     * Luma: `height_px` rows of `width_px` samples. The last row of every plane may end with its last
     * sample.
     */
    const uint8_t *y;
    /**
     * Bytes at `y`.
     */
    size_t y_len;
    /**
     * Bytes from the start of a row of `y` to the start of the next; 0 for rows without gaps.
     */
    size_t y_stride_bytes;
    /**
     * I420: U. NV12: U and V in turn.
     */
    const uint8_t *u;
    /**
     * Bytes at `u`.
     */
    size_t u_len;
    /**
     * As `y_stride_bytes`, of `u`.
     */
    size_t u_stride_bytes;
    /**
     * I420: V. NV12: NULL.
     */
    const uint8_t *v;
    /**
     * Bytes at `v`.
     */
    size_t v_len;
    /**
     * As `y_stride_bytes`, of `v`.
     */
    size_t v_stride_bytes;
    /**
     * Pixels across.
     */
    uint32_t width_px;
    /**
     * Pixels down.
     */
    uint32_t height_px;
    /**
     * A florence2_yuv_format.
     */
    int32_t format;
    /**
     * A florence2_yuv_matrix.
     */
    int32_t matrix;
    /**
     * A florence2_yuv_range.
     */
    int32_t range;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * The first column of the region that becomes the image. The region is all pixels if its four
     * fields are 0.
     */
    uint32_t region_x_px;
    /**
     * The first row of the region.
     */
    uint32_t region_y_px;
    /**
     * The number of columns of the region.
     */
    uint32_t region_width_px;
    /**
     * The number of rows of the region.
     */
    uint32_t region_height_px;
} florence2_yuv;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The number of devices that this build can use on this machine. Callable from any thread.
 */
size_t florence2_device_count(void);

/**
 * The name of a device, best first, as the field `device` of florence2_load_options takes it: static.
 * NULL when there is no such index. Callable from any thread.
 */
const char *florence2_device_name(size_t index);

/**
 * The error's status. FLORENCE2_STATUS_OK for NULL.
 */
florence2_status florence2_error_status(const struct florence2_error *error);

/**
 * The error's message: one line of UTF-8, borrowed from the error. The empty string for NULL.
 */
const char *florence2_error_message(const struct florence2_error *error);

/**
 * Frees an error. NULL is allowed.
 */
void florence2_error_free(struct florence2_error *error);

/**
 * The name of a status, such as "FLORENCE2_STATUS_IO": static. NULL for a number that is none.
 */
const char *florence2_status_name(int32_t status);

/**
 * Clears `options` and sets its struct_size: `size` is sizeof(florence2_decode_options). NULL is
 * allowed.
 */
void florence2_decode_options_init(struct florence2_decode_options *options, size_t size);

/**
 * Clears `pixels` and sets its struct_size: `size` is sizeof(florence2_pixels). NULL is allowed.
 */
void florence2_pixels_init(struct florence2_pixels *pixels, size_t size);

/**
 * Decodes a JPEG, PNG, WebP, BMP, GIF (first frame) or TIFF file held in memory, and applies its
 * EXIF orientation.
 *
 * `data`: `data_len` bytes, read during the call only. `options`: NULL for the defaults. `image`:
 * where the image goes.
 * Fails with FLORENCE2_STATUS_INVALID_IMAGE, also for more pixels than the options allow. Callable
 * from any thread.
 */
florence2_status florence2_image_from_encoded(const uint8_t *data,
                                              size_t data_len,
                                              const struct florence2_decode_options *options,
                                              struct florence2_image **image,
                                              struct florence2_error **error);

/**
 * Reads an image file, of the formats of florence2_image_from_encoded.
 *
 * `path`: UTF-8; it becomes the image's name in a result's JSON. `options`: NULL for the defaults.
 * Fails with FLORENCE2_STATUS_IO or FLORENCE2_STATUS_INVALID_IMAGE. Callable from any thread.
 */
florence2_status florence2_image_from_path(const char *path,
                                           const struct florence2_decode_options *options,
                                           struct florence2_image **image,
                                           struct florence2_error **error);

/**
 * Copies pixels that the caller holds.
 *
 * `pixels`: read during the call only.
 * Fails with FLORENCE2_STATUS_INVALID_ARGUMENT when the buffer is too short for its size, the
 * stride too small for the width, the format unknown or the region not within the pixels, and with
 * FLORENCE2_STATUS_INVALID_IMAGE for no pixels. Callable from any thread.
 */
florence2_status florence2_image_from_pixels(const struct florence2_pixels *pixels,
                                             struct florence2_image **image,
                                             struct florence2_error **error);

/**
 * Pixels across. 0 for NULL.
 */
uint32_t florence2_image_width_px(const struct florence2_image *image);

/**
 * Pixels down. 0 for NULL.
 */
uint32_t florence2_image_height_px(const struct florence2_image *image);

/**
 * Frees an image. NULL is allowed.
 */
void florence2_image_free(struct florence2_image *image);

/**
 * Frees image features. NULL is allowed.
 */
void florence2_image_features_free(struct florence2_image_features *image_features);

/**
 * Sets the receiver of the library's messages, for the whole process; there is none at first. When it
 * returns, the callback before it is not called any more, and its `user` may be freed.
 *
 * `callback`: NULL for nobody. `user`: passed to the callback as it is. `max_level`: the
 * florence2_log_level of the least important messages to be heard.
 * Fails with FLORENCE2_STATUS_INVALID_ARGUMENT for no such level, and from within the callback.
 * Callable from any thread.
 */
florence2_status florence2_log_set(florence2_log_callback callback,
                                   void *user,
                                   int32_t max_level,
                                   struct florence2_error **error);

/**
 * Clears `options` and sets its struct_size: `size` is sizeof(florence2_load_options). NULL is
 * allowed.
 */
void florence2_load_options_init(struct florence2_load_options *options, size_t size);

/**
 * Loads a model from a folder in Microsoft's or Hugging Face's layout: config.json,
 * preprocessor_config.json, a tokenizer and the weights.
 *
 * `directory`: UTF-8. `options`: NULL for the defaults. `model`: where the model goes.
 * Fails with FLORENCE2_STATUS_IO, FLORENCE2_STATUS_INVALID_MODEL (naming the file, or all tensors
 * that do not fit), FLORENCE2_STATUS_INVALID_ARGUMENT (naming the option),
 * FLORENCE2_STATUS_UNSUPPORTED_DEVICE, FLORENCE2_STATUS_CANCELLED, FLORENCE2_STATUS_FORKED. Callable
 * from any thread.
 */
florence2_status florence2_model_load(const char *directory,
                                      const struct florence2_load_options *options,
                                      struct florence2_model **model,
                                      struct florence2_error **error);

/**
 * Loads a model whose files are in memory: config.json, preprocessor_config.json or
 * processor_config.json, the tokenizer's files, the weights, and generation_config.json where the
 * model has one.
 *
 * The weights are one file in safetensors or torch's format, of any name that ends as such a file's,
 * or shards with their index, such as model.safetensors.index.json.
 *
 * `files`: `files_len` files, read during the call only. `options`: NULL for the defaults. `model`:
 * where the model goes. Fails as florence2_model_load, for a missing file too, and with
 * FLORENCE2_STATUS_INVALID_ARGUMENT for a name that occurs twice or that no file of a model has.
 * Callable from any thread.
 */
florence2_status florence2_model_load_memory(const struct florence2_file *files,
                                             size_t files_len,
                                             const struct florence2_load_options *options,
                                             struct florence2_model **model,
                                             struct florence2_error **error);

/**
 * Loads the demo model that the library carries: a very small Florence-2 that knows coloured shapes
 * and short words, and answers nonsense on anything else.
 *
 * `options`: NULL for the defaults. `model`: where the model goes.
 * Fails with FLORENCE2_STATUS_NOT_IN_THIS_BUILD when the library was built without it. Callable
 * from any thread.
 */
florence2_status florence2_model_load_demo(const struct florence2_load_options *options,
                                           struct florence2_model **model,
                                           struct florence2_error **error);

/**
 * The name of the device that the model is on, such as "cpu": UTF-8, borrowed from the model. The
 * empty string for NULL.
 */
const char *florence2_model_device(const struct florence2_model *model);

/**
 * What the model is, as a JSON object: "device", "dtype", "threads", "vocab_size",
 * "max_new_tokens" (what an answer can have at most) and "generation_config" (what run options
 * leave unset). UTF-8, borrowed from the model. The empty string for NULL.
 */
const char *florence2_model_info_json(const struct florence2_model *model);

/**
 * The number of warnings about a model's files: settings and tensors that the model was loaded
 * without. 0 for NULL.
 */
size_t florence2_model_warning_count(const struct florence2_model *model);

/**
 * One of the warnings: one line of UTF-8, borrowed from the model. NULL when there is no such index.
 * The log callback receives the warnings too.
 */
const char *florence2_model_warning(const struct florence2_model *model,
                                    size_t index);

/**
 * The id of a token of the model's vocabulary, for the field `eos_token_ids` of
 * florence2_run_options and the like.
 *
 * `token`: UTF-8, as the tokenizer's file writes it. `token_id`: where the id goes.
 * Fails with FLORENCE2_STATUS_INVALID_ARGUMENT when there is no such token.
 */
florence2_status florence2_model_token_id(const struct florence2_model *model,
                                          const char *token,
                                          uint32_t *token_id,
                                          struct florence2_error **error);

/**
 * Frees a model, which no call may use any more. Images and results stay usable; image features of
 * the model can only be freed. NULL is allowed.
 */
void florence2_model_free(struct florence2_model *model);

/**
 * Makes a cancel token.
 */
florence2_status florence2_cancel_new(struct florence2_cancel **cancel,
                                      struct florence2_error **error);

/**
 * Ends every call that was given this token, soon: before its next token, stage of the vision
 * tower or tensor that is loaded. Those calls fail with FLORENCE2_STATUS_CANCELLED. Callable from any thread, any number of
 * times, also while calls run. NULL is allowed.
 */
void florence2_cancel_fire(const struct florence2_cancel *cancel);

/**
 * Whether the token was fired. False for NULL.
 */
bool florence2_cancel_is_fired(const struct florence2_cancel *cancel);

/**
 * Frees a cancel token. NULL is allowed.
 */
void florence2_cancel_free(struct florence2_cancel *cancel);

/**
 * Clears `options` and sets its struct_size: `size` is sizeof(florence2_run_options). NULL is
 * allowed.
 */
void florence2_run_options_init(struct florence2_run_options *options, size_t size);

/**
 * Frees memory that the library keeps for later runs: buffers between layers, and freed memory that
 * its allocator has not yet returned to the system. Models, images and results stay. The next runs
 * allocate again. Waits until the threads of all models have done so; callable from any thread, also
 * while models run.
 */
void florence2_trim(void);

/**
 * The library and the machine as a JSON object, for reports of faults: "version", "abi_version",
 * "os", "arch", "simd_level" (of the CPU's instructions in use), "threads" (of the process's pool),
 * "features" (of this build) and "devices". UTF-8, static. It looks for GPUs at the first call.
 * Callable from any thread.
 */
const char *florence2_system_info_json(void);

/**
 * Sets the SIMD level of the device "cpu" for the whole process: the highest instruction set that it
 * uses. Callable before the first model is loaded; a later call succeeds for the level in use alone.
 *
 * `level`: "portable"; on x86-64 "avx2", "avx2-vnni", "avx512", "avx512-vnni", "avx512-dot" or
 * "amx"; on AArch64 "neon" or "neon-dot". Without a call, the environment variable
 * FLORENCE2_CPU_LEVEL names the level, and without that it is the processor's highest. Below "amx",
 * the library does not request the permission to use AMX from Linux.
 * Fails with FLORENCE2_STATUS_INVALID_ARGUMENT when the processor lacks the level, no level has the
 * name, or another level is in use. Callable from any thread.
 */
florence2_status florence2_simd_level_set(const char *level,
                                          struct florence2_error **error);

/**
 * Clears `request` and sets its struct_size: `size` is sizeof(florence2_request). NULL is allowed.
 */
void florence2_request_init(struct florence2_request *request, size_t size);

/**
 * The answer as plain text: without `<s>`, `</s>` and surrounding space, locations kept as
 * "<loc_123>". UTF-8, borrowed from the result. The empty string for NULL.
 */
const char *florence2_result_text(const struct florence2_result *result);

/**
 * The answer as the model wrote it, `<s>` and `</s>` included. UTF-8, borrowed from the result. The
 * empty string for NULL.
 */
const char *florence2_result_raw_text(const struct florence2_result *result);

/**
 * The task's token, such as "<OD>", or the free prompt. UTF-8, borrowed from the result. The empty
 * string for NULL.
 */
const char *florence2_result_task(const struct florence2_result *result);

/**
 * The score of the whole answer, 0 to 1: the exponential of the mean log-probability of its tokens
 * without `<s>` and `</s>`. NaN for NULL.
 */
float florence2_result_score(const struct florence2_result *result);

/**
 * Hugging Face's `sequences_scores`: the sum of the tokens' log-probabilities, divided by the length
 * to the power of `length_penalty`. NaN for NULL.
 */
float florence2_result_sequence_score(const struct florence2_result *result);

/**
 * Why the answer ended.
 */
florence2_finish_reason florence2_result_finish_reason(const struct florence2_result *result);

/**
 * Pixels across of the image that the regions are in. 0 for NULL.
 */
uint32_t florence2_result_image_width_px(const struct florence2_result *result);

/**
 * Pixels down of the image that the regions are in. 0 for NULL.
 */
uint32_t florence2_result_image_height_px(const struct florence2_result *result);

/**
 * The number of regions of the answer. 0 for NULL.
 */
size_t florence2_result_region_count(const struct florence2_result *result);

/**
 * One of the regions, in the order of the answer: borrowed from the result. NULL when there is no
 * such index.
 */
const struct florence2_region *florence2_result_region(const struct florence2_result *result,
                                                       size_t index);

/**
 * The number of tokens of the answer, the decoder's start token included. 0 for NULL.
 */
size_t florence2_result_token_count(const struct florence2_result *result);

/**
 * The ids of the tokens, florence2_result_token_count of them, start token first: borrowed from the
 * result. NULL for NULL.
 */
const uint32_t *florence2_result_token_ids(const struct florence2_result *result);

/**
 * The natural log-probabilities of the tokens, florence2_result_token_count of them; 0 for the start
 * token and forced ones: borrowed from the result. NULL for NULL.
 */
const float *florence2_result_token_log_probs(const struct florence2_result *result);

/**
 * The number of further answers, if `num_return_sequences` is greater than 1. 0 for NULL.
 */
size_t florence2_result_alternative_count(const struct florence2_result *result);

/**
 * One of the further answers, best first: borrowed from the result, never to be freed by itself, and
 * readable by the functions that read a result. NULL when there is no such index.
 */
const struct florence2_result *florence2_result_alternative(const struct florence2_result *result,
                                                            size_t index);

/**
 * Where the time went: borrowed from the result. NULL for NULL.
 */
const struct florence2_timings *florence2_result_timings(const struct florence2_result *result);

/**
 * Everything as a JSON object; its key "schema" is the version of its layout. UTF-8, borrowed from
 * the result, made at the first call. The empty string for NULL.
 */
const char *florence2_result_json(const struct florence2_result *result);

/**
 * Frees a result and all that was borrowed from it. NULL is allowed.
 */
void florence2_result_free(struct florence2_result *result);

/**
 * Answers a request.
 *
 * `model`: used by any number of threads at once. `request`, `options`: read during the call only;
 * `options` may be NULL. `result`: where the answer goes, to be freed with florence2_result_free.
 * Fails with FLORENCE2_STATUS_INVALID_ARGUMENT naming what cannot be,
 * FLORENCE2_STATUS_CANCELLED, FLORENCE2_STATUS_DEADLINE_EXCEEDED, FLORENCE2_STATUS_NOT_FINITE,
 * FLORENCE2_STATUS_DEVICE_FAILED, FLORENCE2_STATUS_FORKED.
 */
florence2_status florence2_model_run(const struct florence2_model *model,
                                     const struct florence2_request *request,
                                     const struct florence2_run_options *options,
                                     struct florence2_result **result,
                                     struct florence2_error **error);

/**
 * Answers many requests in one batch: each answer equals the one that its request gets alone. An
 * image that several requests share is encoded once.
 *
 * `requests`: an array of `requests_len`, at most 65536, all of one struct_size. `results`: an array
 * of as many places, each to be freed with florence2_result_free; when one request fails, the call
 * fails, the message names the request, and all places are NULL. `options` hold for all requests.
 * Memory grows with the number of requests. Otherwise as florence2_model_run.
 */
florence2_status florence2_model_run_batch(const struct florence2_model *model,
                                           const struct florence2_request *requests,
                                           size_t requests_len,
                                           const struct florence2_run_options *options,
                                           struct florence2_result **results,
                                           struct florence2_error **error);

/**
 * Answers many requests in one batch, as florence2_model_run_batch does, but a request that fails
 * leaves the others their answers.
 *
 * `results`: as of florence2_model_run_batch; the place of a request that failed is NULL. `errors`:
 * an array of as many places; the place of a request that failed gets its error, to be freed with
 * florence2_error_free, the others are NULL. `errors` may be NULL.
 * Succeeds when every request has an answer or an error. Fails, with NULL in all places, for what
 * concerns all requests: the options, FLORENCE2_STATUS_CANCELLED,
 * FLORENCE2_STATUS_DEADLINE_EXCEEDED, FLORENCE2_STATUS_DEVICE_FAILED, FLORENCE2_STATUS_FORKED.
 */
florence2_status florence2_model_run_batch_each(const struct florence2_model *model,
                                                const struct florence2_request *requests,
                                                size_t requests_len,
                                                const struct florence2_run_options *options,
                                                struct florence2_result **results,
                                                struct florence2_error **errors,
                                                struct florence2_error **error);

/**
 * Sends an image through the model's vision tower, once for any number of requests about it.
 *
 * `options`: its `deadline_ms` and `cancel` hold; NULL is allowed. `image_features`: where the
 * features go, to be freed with florence2_image_features_free. Otherwise as florence2_model_run.
 */
florence2_status florence2_model_encode_image(const struct florence2_model *model,
                                              const struct florence2_image *image,
                                              const struct florence2_run_options *options,
                                              struct florence2_image_features **image_features,
                                              struct florence2_error **error);

/**
 * Computes the log-probability of `target` as the answer to a request: the loss of `forward` with
 * labels, and the log-probability of each token.
 *
 * `target`: UTF-8, as the model would write it, without `<s>` and `</s>`. `options`: its
 * `deadline_ms` and `cancel` hold; NULL is allowed. `score`: where the score goes, to be freed with
 * florence2_score_free. Otherwise as florence2_model_run.
 */
florence2_status florence2_model_score(const struct florence2_model *model,
                                       const struct florence2_request *request,
                                       const char *target,
                                       const struct florence2_run_options *options,
                                       struct florence2_score **score,
                                       struct florence2_error **error);

/**
 * The loss: the mean of the tokens' negative log-probabilities. NaN for NULL.
 */
float florence2_score_loss(const struct florence2_score *score);

/**
 * The number of tokens of the target, `<s>` and `</s>` included. 0 for NULL.
 */
size_t florence2_score_token_count(const struct florence2_score *score);

/**
 * One of the target's tokens with its log-probability: borrowed from the score. NULL when there is
 * no such index.
 */
const struct florence2_token *florence2_score_token(const struct florence2_score *score,
                                                    size_t index);

/**
 * Everything as a JSON object; its key "schema" is the version of its layout. UTF-8, borrowed from
 * the score, made at the first call. The empty string for NULL.
 */
const char *florence2_score_json(const struct florence2_score *score);

/**
 * Frees a score and all that was borrowed from it. NULL is allowed.
 */
void florence2_score_free(struct florence2_score *score);

/**
 * The number of tasks. Callable from any thread.
 */
size_t florence2_task_count(void);

/**
 * The token of a task, such as "<OD>", as the field `task` of florence2_request takes it: static.
 * NULL when there is no such index. Callable from any thread.
 */
const char *florence2_task_token(size_t index);

/**
 * Whether a task needs an input, a text or a region. False when there is no such index.
 */
bool florence2_task_needs_input(size_t index);

#if defined(FLORENCE2_TEST_HOOKS)
/**
 * Panics, within the boundary.
 */
florence2_status florence2_test_panic(struct florence2_error **error);
#endif

#if defined(FLORENCE2_TEST_HOOKS)
/**
 * Panics on a thread of the process's thread pool, within the boundary.
 */
florence2_status florence2_test_panic_in_pool(struct florence2_error **error);
#endif

#if defined(FLORENCE2_TEST_HOOKS)
/**
 * The size of a struct ("florence2_region") or the offset of a field ("florence2_region.label") as
 * Rust has it; SIZE_MAX for neither.
 */
size_t florence2_test_layout(const char *name);
#endif

/**
 * The ABI of the loaded library: a program may go on when it equals FLORENCE2_ABI_VERSION.
 * Callable from any thread, before anything else.
 */
uint32_t florence2_abi_version(void);

/**
 * The version of the loaded library, such as "1.2.3": static.
 */
const char *florence2_version(void);

/**
 * Clears `yuv` and sets its struct_size: `size` is sizeof(florence2_yuv). NULL is allowed.
 */
void florence2_yuv_init(struct florence2_yuv *yuv, size_t size);

/**
 * Converts a YUV frame that the caller holds to RGB. Each chroma sample holds for its 2x2 pixels.
 *
 * With the coefficients c of the matrix and the range in units of 2^-20, rounded to the nearest, and
 * the samples without their offsets (16 or 0 of y, 128 of u and v), the channels are
 * (c_y * y + c_v * v + 2^19) >> 20 for red, (c_y * y + c_u * u + 2^19) >> 20 for blue and
 * (c_y * y - c_u * u - c_v * v + 2^19) >> 20 for green, each clamped to 0..255.
 *
 * `yuv`: read during the call only.
 * Fails with FLORENCE2_STATUS_INVALID_ARGUMENT when a plane is too short or its stride too small,
 * the region not within the frame, or a format, matrix or range unknown, and with
 * FLORENCE2_STATUS_INVALID_IMAGE for no pixels. Callable from any thread.
 */
florence2_status florence2_image_from_yuv(const struct florence2_yuv *yuv,
                                          struct florence2_image **image,
                                          struct florence2_error **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FLORENCE2_H */

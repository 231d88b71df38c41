// Tests the C API: its results, and its errors on invalid arguments.
// Usage:   suite DEMO_MODEL_FOLDER THREADS      (run by the scripts in this folder)
#define _POSIX_C_SOURCE 200809L
#include <florence2.h>

#include "florence2_test_hooks.h"

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef _WIN32
#include <sys/wait.h>
#endif

static int checks, failures;

#define CHECK(condition)                                                              \
    do {                                                                              \
        checks++;                                                                     \
        if (!(condition)) {                                                           \
            failures++;                                                               \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);   \
        }                                                                             \
    } while (0)

// Checks the status and that there is an error whose message contains `part`. Frees the error.
#define REFUSED(call, expected, part)                                                 \
    do {                                                                              \
        florence2_error *error = NULL;                                                \
        CHECK((call) == (expected));                                                  \
        CHECK(error != NULL);                                                         \
        if (florence2_error_status(error) != (expected)) {                            \
            fprintf(stderr, "found %s: %s\n",                                          \
                    florence2_status_name(florence2_error_status(error)),             \
                    florence2_error_message(error));                                  \
            CHECK(!"the error has the status");                                       \
        }                                                                             \
        if (strstr(florence2_error_message(error), part) == NULL) {                   \
            fprintf(stderr, "found `%s`\n", florence2_error_message(error));          \
            CHECK(!"the message names it");                                           \
        }                                                                             \
        florence2_error_free(error);                                                  \
    } while (0)

#define TAKEN(call)                                                                   \
    do {                                                                              \
        florence2_error *error = NULL;                                                \
        CHECK((call) == FLORENCE2_STATUS_OK);                                         \
        if (error != NULL) {                                                          \
            fprintf(stderr, "%s\n", florence2_error_message(error));                  \
            CHECK(!"no error");                                                       \
        }                                                                             \
        florence2_error_free(error);                                                  \
    } while (0)

static florence2_model *model;
static florence2_image *image;
static char path[4096];

static const char *in_folder(const char *folder, const char *file) {
    snprintf(path, sizeof path, "%s/%s", folder, file);
    return path;
}

static florence2_request request_of(const char *task) {
    florence2_request request;
    florence2_request_init(&request, sizeof request);
    request.image = image;
    request.task = task;
    return request;
}

static florence2_run_options options_of(uint32_t beams) {
    florence2_run_options options;
    florence2_run_options_init(&options, sizeof options);
    options.num_beams = beams;
    return options;
}

// The layout of every struct and field equals the library's.
static void layouts(void) {
#define SIZE(name) CHECK(florence2_test_layout(#name) == sizeof(name))
#define FIELD(name, field) CHECK(florence2_test_layout(#name "." #field) == offsetof(name, field))
    SIZE(florence2_load_options);
    FIELD(florence2_load_options, struct_size);
    FIELD(florence2_load_options, device);
    FIELD(florence2_load_options, dtype);
    FIELD(florence2_load_options, adapters);
    FIELD(florence2_load_options, adapters_len);
    FIELD(florence2_load_options, threads);
    FIELD(florence2_load_options, spin_limit);
    FIELD(florence2_load_options, reserved);
    FIELD(florence2_load_options, on_progress);
    FIELD(florence2_load_options, user);
    FIELD(florence2_load_options, cancel);
    FIELD(florence2_load_options, weights);
    FIELD(florence2_load_options, processor);
    SIZE(florence2_load_progress);
    FIELD(florence2_load_progress, tensors);
    FIELD(florence2_load_progress, total_tensors);
    FIELD(florence2_load_progress, parameters);
    FIELD(florence2_load_progress, total_parameters);
    SIZE(florence2_file);
    FIELD(florence2_file, name);
    FIELD(florence2_file, data);
    FIELD(florence2_file, data_len);
    SIZE(florence2_adapter);
    FIELD(florence2_adapter, folder);
    FIELD(florence2_adapter, files);
    FIELD(florence2_adapter, files_len);
    FIELD(florence2_adapter, scale);
    FIELD(florence2_adapter, reserved);
    SIZE(florence2_decode_options);
    FIELD(florence2_decode_options, struct_size);
    FIELD(florence2_decode_options, max_pixels);
    SIZE(florence2_pixels);
    FIELD(florence2_pixels, struct_size);
    FIELD(florence2_pixels, data);
    FIELD(florence2_pixels, data_len);
    FIELD(florence2_pixels, stride_bytes);
    FIELD(florence2_pixels, width_px);
    FIELD(florence2_pixels, height_px);
    FIELD(florence2_pixels, format);
    FIELD(florence2_pixels, reserved);
    FIELD(florence2_pixels, region_x_px);
    FIELD(florence2_pixels, region_y_px);
    FIELD(florence2_pixels, region_width_px);
    FIELD(florence2_pixels, region_height_px);
    SIZE(florence2_yuv);
    FIELD(florence2_yuv, struct_size);
    FIELD(florence2_yuv, y);
    FIELD(florence2_yuv, y_len);
    FIELD(florence2_yuv, y_stride_bytes);
    FIELD(florence2_yuv, u);
    FIELD(florence2_yuv, u_len);
    FIELD(florence2_yuv, u_stride_bytes);
    FIELD(florence2_yuv, v);
    FIELD(florence2_yuv, v_len);
    FIELD(florence2_yuv, v_stride_bytes);
    FIELD(florence2_yuv, width_px);
    FIELD(florence2_yuv, height_px);
    FIELD(florence2_yuv, format);
    FIELD(florence2_yuv, matrix);
    FIELD(florence2_yuv, range);
    FIELD(florence2_yuv, reserved);
    FIELD(florence2_yuv, region_x_px);
    FIELD(florence2_yuv, region_y_px);
    FIELD(florence2_yuv, region_width_px);
    FIELD(florence2_yuv, region_height_px);
    SIZE(florence2_request);
    FIELD(florence2_request, struct_size);
    FIELD(florence2_request, image);
    FIELD(florence2_request, image_features);
    FIELD(florence2_request, task);
    FIELD(florence2_request, prompt);
    FIELD(florence2_request, input);
    FIELD(florence2_request, region);
    FIELD(florence2_request, region_unit);
    FIELD(florence2_request, reserved);
    SIZE(florence2_run_options);
    FIELD(florence2_run_options, struct_size);
    // Generated by `cargo xtask options`: checks num_beams to early_stopping. Do not edit.
    FIELD(florence2_run_options, num_beams);
    FIELD(florence2_run_options, num_return_sequences);
    FIELD(florence2_run_options, max_new_tokens);
    FIELD(florence2_run_options, min_new_tokens);
    FIELD(florence2_run_options, do_sample);
    FIELD(florence2_run_options, top_k);
    FIELD(florence2_run_options, top_p);
    FIELD(florence2_run_options, temperature);
    FIELD(florence2_run_options, repetition_penalty);
    FIELD(florence2_run_options, length_penalty);
    FIELD(florence2_run_options, no_repeat_ngram_size);
    FIELD(florence2_run_options, early_stopping);
    // End of the generated part.
    FIELD(florence2_run_options, coordinates);
    FIELD(florence2_run_options, location_tolerance);
    // Generated by `cargo xtask options`: checks seed to eos_token_id. Do not edit.
    FIELD(florence2_run_options, seed);
    FIELD(florence2_run_options, eos_token_ids);
    FIELD(florence2_run_options, eos_token_ids_len);
    // End of the generated part.
    FIELD(florence2_run_options, generation_config);
    FIELD(florence2_run_options, deadline_ms);
    FIELD(florence2_run_options, cancel);
    FIELD(florence2_run_options, on_token);
    FIELD(florence2_run_options, on_progress);
    FIELD(florence2_run_options, user);
    FIELD(florence2_run_options, set);
    // Generated by `cargo xtask options`: checks max_length to the last. Do not edit.
    FIELD(florence2_run_options, max_length);
    FIELD(florence2_run_options, min_length);
    FIELD(florence2_run_options, encoder_no_repeat_ngram_size);
    FIELD(florence2_run_options, min_p);
    FIELD(florence2_run_options, top_h);
    FIELD(florence2_run_options, typical_p);
    FIELD(florence2_run_options, epsilon_cutoff);
    FIELD(florence2_run_options, eta_cutoff);
    FIELD(florence2_run_options, encoder_repetition_penalty);
    FIELD(florence2_run_options, remove_invalid_values);
    FIELD(florence2_run_options, renormalize_logits);
    FIELD(florence2_run_options, exponential_decay_start);
    FIELD(florence2_run_options, exponential_decay_factor);
    FIELD(florence2_run_options, max_time_s);
    FIELD(florence2_run_options, forced_bos_token_ids);
    FIELD(florence2_run_options, forced_bos_token_ids_len);
    FIELD(florence2_run_options, forced_eos_token_ids);
    FIELD(florence2_run_options, forced_eos_token_ids_len);
    FIELD(florence2_run_options, decoder_start_token_ids);
    FIELD(florence2_run_options, decoder_start_token_ids_len);
    FIELD(florence2_run_options, suppress_tokens);
    FIELD(florence2_run_options, suppress_tokens_len);
    FIELD(florence2_run_options, begin_suppress_tokens);
    FIELD(florence2_run_options, begin_suppress_tokens_len);
    FIELD(florence2_run_options, bad_words_ids);
    FIELD(florence2_run_options, bad_words_ids_len);
    FIELD(florence2_run_options, sequence_bias);
    FIELD(florence2_run_options, sequence_bias_len);
    FIELD(florence2_run_options, stop_strings);
    FIELD(florence2_run_options, stop_strings_len);
    // End of the generated part.
    SIZE(florence2_token_sequence);
    FIELD(florence2_token_sequence, token_ids);
    FIELD(florence2_token_sequence, token_ids_len);
    SIZE(florence2_sequence_bias);
    FIELD(florence2_sequence_bias, token_ids);
    FIELD(florence2_sequence_bias, token_ids_len);
    FIELD(florence2_sequence_bias, bias);
    FIELD(florence2_sequence_bias, reserved);
    SIZE(florence2_progress);
    FIELD(florence2_progress, new_tokens);
    FIELD(florence2_progress, max_new_tokens);
    SIZE(florence2_point);
    FIELD(florence2_point, x_px);
    FIELD(florence2_point, y_px);
    SIZE(florence2_region);
    FIELD(florence2_region, label);
    FIELD(florence2_region, points);
    FIELD(florence2_region, points_len);
    FIELD(florence2_region, instance);
    FIELD(florence2_region, kind);
    FIELD(florence2_region, score);
    FIELD(florence2_region, label_score);
    FIELD(florence2_region, location_score);
    SIZE(florence2_token);
    FIELD(florence2_token, request);
    FIELD(florence2_token, text);
    FIELD(florence2_token, token_id);
    FIELD(florence2_token, log_prob);
    SIZE(florence2_timings);
    FIELD(florence2_timings, preprocess_ms);
    FIELD(florence2_timings, vision_ms);
    FIELD(florence2_timings, generate_ms);
    CHECK(florence2_test_layout("florence2_nothing") == SIZE_MAX);
}

static void versions_and_lists(void) {
    CHECK(florence2_abi_version() == FLORENCE2_ABI_VERSION);
    CHECK(strcmp(florence2_version(), FLORENCE2_VERSION_STRING) == 0);
    char version[64];
    snprintf(version, sizeof version, "%d.%d.%d", FLORENCE2_VERSION_MAJOR, FLORENCE2_VERSION_MINOR,
             FLORENCE2_VERSION_PATCH);
    CHECK(strncmp(florence2_version(), version, strlen(version)) == 0);
    CHECK(florence2_device_count() >= 1);
    CHECK(strcmp(florence2_device_name(0), "cpu") == 0);
    CHECK(florence2_device_name(999) == NULL);
    CHECK(florence2_task_count() == 15);
    CHECK(florence2_task_token(0)[0] == '<');
    CHECK(florence2_task_token(999) == NULL);
    static const struct {
        const char *task;
        florence2_task_input input;
        florence2_post_processing_type type;
    } tasks[] = {
        {"<CAPTION>", FLORENCE2_TASK_INPUT_NONE, FLORENCE2_POST_PROCESSING_TYPE_PURE_TEXT},
        {"od", FLORENCE2_TASK_INPUT_NONE, FLORENCE2_POST_PROCESSING_TYPE_DESCRIPTION_WITH_BBOXES},
        {"region-proposal", FLORENCE2_TASK_INPUT_NONE, FLORENCE2_POST_PROCESSING_TYPE_BBOXES},
        {"OCR_WITH_REGION", FLORENCE2_TASK_INPUT_NONE, FLORENCE2_POST_PROCESSING_TYPE_OCR},
        {"<CAPTION_TO_PHRASE_GROUNDING>", FLORENCE2_TASK_INPUT_TEXT,
         FLORENCE2_POST_PROCESSING_TYPE_PHRASE_GROUNDING},
        {"<OPEN_VOCABULARY_DETECTION>", FLORENCE2_TASK_INPUT_TEXT,
         FLORENCE2_POST_PROCESSING_TYPE_DESCRIPTION_WITH_BBOXES_OR_POLYGONS},
        {"<REGION_TO_SEGMENTATION>", FLORENCE2_TASK_INPUT_REGION, FLORENCE2_POST_PROCESSING_TYPE_POLYGONS},
        {"<REGION_TO_OCR>", FLORENCE2_TASK_INPUT_REGION, FLORENCE2_POST_PROCESSING_TYPE_PURE_TEXT},
        {"<NOTHING>", FLORENCE2_TASK_INPUT_UNKNOWN, FLORENCE2_POST_PROCESSING_TYPE_UNKNOWN},
        {"\xff", FLORENCE2_TASK_INPUT_UNKNOWN, FLORENCE2_POST_PROCESSING_TYPE_UNKNOWN},
        {NULL, FLORENCE2_TASK_INPUT_UNKNOWN, FLORENCE2_POST_PROCESSING_TYPE_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        CHECK(florence2_task_input_of(tasks[i].task) == tasks[i].input);
        CHECK(florence2_task_post_processing_type(tasks[i].task) == tasks[i].type);
    }
    for (size_t i = 0; i < florence2_task_count(); i++) {
        const char *task = florence2_task_token(i);
        CHECK(florence2_task_input_of(task) != FLORENCE2_TASK_INPUT_UNKNOWN);
        CHECK(florence2_task_post_processing_type(task) != FLORENCE2_POST_PROCESSING_TYPE_UNKNOWN);
    }
    // The numbers are fixed.
    CHECK(FLORENCE2_TASK_INPUT_UNKNOWN == 0 && FLORENCE2_TASK_INPUT_REGION == 3);
    CHECK(FLORENCE2_POST_PROCESSING_TYPE_UNKNOWN == 0 && FLORENCE2_POST_PROCESSING_TYPE_OCR == 5);
    CHECK(FLORENCE2_POST_PROCESSING_TYPE_DESCRIPTION_WITH_BBOXES_OR_POLYGONS == 7);
    CHECK(strlen(florence2_status_name(FLORENCE2_STATUS_DEVICE_FAILED)) > 0);
    CHECK(florence2_status_name(12345) == NULL);
    CHECK(strcmp(florence2_status_name(FLORENCE2_STATUS_FORKED), "FLORENCE2_STATUS_FORKED") == 0);

    const char *info = florence2_system_info_json();
    for (const char **key = (const char *[]){"\"version\":\"" FLORENCE2_VERSION_STRING "\"",
                                             "\"abi_version\":1", "\"os\":\"", "\"arch\":\"",
                                             "\"simd_level\":\"", "\"threads\":", "\"demo\"",
                                             "\"devices\":[\"cpu\"", NULL};
         *key != NULL; key++) {
        if (strstr(info, *key) == NULL) {
            fprintf(stderr, "found %s, expected %s in it\n", info, *key);
            CHECK(!"the system's information is complete");
        }
    }
    // The string is static: a second call returns the same pointer.
    CHECK(florence2_system_info_json() == info);
}

// Copies the first `size` bytes of a struct into an allocation of exactly that size, and stores `size` in the first field.
static void *cut(const void *options, size_t size) {
    char *copy = malloc(size);
    memcpy(copy, options, size);
    memcpy(copy, &size, sizeof size);
    return copy;
}

// Programs that were built with the first version of the header pass structs of these sizes.
static void first_sizes(void) {
    const florence2_status bad = FLORENCE2_STATUS_INVALID_ARGUMENT;
    const int wide = sizeof(void *) == 8;
    const size_t load_size = wide ? 48 : 24, pixels_size = wide ? 48 : 32,
                 request_size = wide ? 88 : 64, yuv_size = wide ? 120 : 80;
    const size_t decode_size = offsetof(florence2_decode_options, max_pixels) + sizeof(uint64_t);
    // An array of one is as long as an array of bytes with the alignment of a uint64_t.
    const size_t run_size = wide ? 136 : offsetof(florence2_run_options, user) + sizeof(void *);

    florence2_load_options load;
    florence2_load_options_init(&load, sizeof load);
    load.threads = 1;
    void *first = cut(&load, load_size);
    florence2_model *other = NULL;
    TAKEN(florence2_model_load_demo(first, &other, &error));
    CHECK(strstr(florence2_model_info_json(other), "\"threads\":1") != NULL);
    florence2_model_free(other);
    free(first);
    first = cut(&load, load_size - 1);
    REFUSED(florence2_model_load_demo(first, &other, &error), bad, "struct_size");
    free(first);

    const uint8_t gif[2] = {'G', 'I'};
    florence2_image *none = NULL;
    florence2_decode_options decode;
    florence2_decode_options_init(&decode, sizeof decode);
    first = cut(&decode, decode_size);
    REFUSED(florence2_image_from_encoded(gif, 2, first, &none, &error), FLORENCE2_STATUS_INVALID_IMAGE,
            "image");
    free(first);
    first = cut(&decode, decode_size - 1);
    REFUSED(florence2_image_from_encoded(gif, 2, first, &none, &error), bad, "struct_size");
    free(first);

    uint8_t gray = 7;
    florence2_pixels pixels;
    florence2_pixels_init(&pixels, sizeof pixels);
    pixels.data = &gray;
    pixels.data_len = pixels.width_px = pixels.height_px = 1;
    pixels.format = FLORENCE2_PIXEL_FORMAT_GRAY;
    first = cut(&pixels, pixels_size);
    florence2_image *made = NULL;
    TAKEN(florence2_image_from_pixels(first, &made, &error));
    florence2_image_free(made);
    free(first);
    first = cut(&pixels, pixels_size - 1);
    REFUSED(florence2_image_from_pixels(first, &made, &error), bad, "struct_size");
    free(first);

    uint8_t chroma[2] = {128, 128};
    florence2_yuv yuv;
    florence2_yuv_init(&yuv, sizeof yuv);
    yuv.y = &gray;
    yuv.u = chroma;
    yuv.y_len = yuv.width_px = yuv.height_px = 1;
    yuv.u_len = 2;
    first = cut(&yuv, yuv_size);
    TAKEN(florence2_image_from_yuv(first, &made, &error));
    florence2_image_free(made);
    free(first);
    first = cut(&yuv, yuv_size - 1);
    REFUSED(florence2_image_from_yuv(first, &made, &error), bad, "struct_size");
    free(first);

    florence2_request request = request_of("<CAPTION>");
    florence2_run_options options = options_of(1);
    options.max_new_tokens = 3;
    void *first_request = cut(&request, request_size), *first_options = cut(&options, run_size);
    florence2_result *result = NULL;
    TAKEN(florence2_model_run(model, first_request, first_options, &result, &error));
    CHECK(florence2_result_token_count(result) == 4);
    florence2_result_free(result);
    free(first_request);
    free(first_options);
    first = cut(&request, request_size - 1);
    REFUSED(florence2_model_run(model, first, NULL, &result, &error), bad, "struct_size");
    REFUSED(florence2_model_run_batch(model, first, 1, NULL, &result, NULL, &error), bad,
            "struct_size");
    free(first);
    first = cut(&options, run_size - 1);
    REFUSED(florence2_model_run(model, &request, first, &result, &error), bad, "struct_size");
    free(first);
}

static void answers(void) {
    florence2_request request = request_of("<OD>");
    florence2_result *result = NULL;
    TAKEN(florence2_model_run(model, &request, NULL, &result, &error));
    CHECK(florence2_result_region_count(result) == 3);
    const florence2_region *circle = florence2_result_region(result, 0);
    CHECK(strcmp(circle->label, "white circle") == 0);
    CHECK(circle->kind == FLORENCE2_REGION_KIND_BOX && circle->points_len == 2);
    CHECK(fabs(circle->points[0].x_px - 31.392) < 1e-3);
    CHECK(circle->label_score > 0.9f && circle->label_score <= 1.0f);
    CHECK(circle->location_score > 0.9f && circle->location_score <= 1.0f);
    CHECK(fabs(circle->score - circle->label_score * circle->location_score) < 1e-6);
    CHECK(florence2_result_region(result, 3) == NULL);
    CHECK(florence2_result_image_width_px(result) == 192);
    CHECK(florence2_result_image_height_px(result) == 192);
    CHECK(florence2_result_score(result) > 0 && florence2_result_score(result) <= 1);
    CHECK(isnan(florence2_result_score(NULL)));
    CHECK(strstr(florence2_result_raw_text(result), "<loc_") != NULL);
    CHECK(strcmp(florence2_result_task(result), "<OD>") == 0);
    CHECK(florence2_result_token_ids(result)[0] == 2);
    CHECK(florence2_result_token_count(result) > 10);
    CHECK(florence2_result_finish_reason(result) == FLORENCE2_FINISH_REASON_END_OF_TEXT);
    CHECK(strstr(florence2_result_json(result), "\"schema\":2") != NULL);
    CHECK(florence2_result_timings(result)->vision_ms > 0);
    florence2_result *exact = NULL;
    florence2_run_options options = options_of(0);
    options.location_tolerance = -1;
    TAKEN(florence2_model_run(model, &request, &options, &exact, &error));
    CHECK(florence2_result_region(exact, 0)->location_score < 0.5f);
    CHECK(florence2_result_region(exact, 0)->label_score == circle->label_score);
    florence2_result_free(exact);
    florence2_result_free(result);

    // The alternatives of a beam search, best first.
    options = options_of(2);
    options.num_return_sequences = 2;
    request = request_of("<CAPTION>");
    TAKEN(florence2_model_run(model, &request, &options, &result, &error));
    CHECK(florence2_result_alternative_count(result) == 1);
    CHECK(florence2_result_alternative(result, 0) != NULL);
    CHECK(florence2_result_alternative(result, 1) == NULL);
    CHECK(strlen(florence2_result_text(result)) > 5);
    florence2_result_free(result);
}

static void batches_features_and_scores(void) {
    florence2_image_features *features = NULL;
    TAKEN(florence2_model_encode_image(model, image, NULL, &features, &error));
    florence2_request requests[2] = {request_of("<OD>"), request_of("<CAPTION>")};
    requests[1].image = NULL;
    requests[1].image_features = features;
    florence2_result *results[2] = {NULL, NULL};
    TAKEN(florence2_model_run_batch(model, requests, 2, NULL, results, NULL, &error));
    for (size_t i = 0; i < 2; i++) {
        florence2_result *alone = NULL;
        florence2_request request = requests[i];
        request.image = image;
        request.image_features = NULL;
        TAKEN(florence2_model_run(model, &request, NULL, &alone, &error));
        CHECK(strcmp(florence2_result_raw_text(alone), florence2_result_raw_text(results[i])) == 0);
        florence2_result_free(alone);
        florence2_result_free(results[i]);
    }
    florence2_image_features_free(features);

    florence2_score *score = NULL;
    florence2_request request = request_of("<CAPTION>");
    TAKEN(florence2_model_score(model, &request, "a white circle", NULL, &score, &error));
    double sum = 0;
    size_t count = florence2_score_token_count(score);
    for (size_t i = 0; i < count; i++) {
        sum += florence2_score_token(score, i)->log_prob;
    }
    CHECK(count > 2 && fabs(florence2_score_loss(score) + sum / (double)count) < 1e-4);
    CHECK(strstr(florence2_score_json(score), "\"loss\"") != NULL && florence2_score_json(NULL)[0] == 0);
    florence2_score_free(score);
}

// The same options as fields and as JSON give the same result, which differs from the result with the model's defaults.
static void answers_as(const florence2_result *plain, const florence2_image_features *features,
                       const florence2_run_options *fields, const char *json) {
    florence2_request request = request_of("<CAPTION>");
    request.image = NULL;
    request.image_features = features;
    florence2_run_options by_json = options_of(fields->num_beams);
    by_json.generation_config = json;
    florence2_result *by_field = NULL, *expected = NULL;
    TAKEN(florence2_model_run(model, &request, &by_json, &expected, &error));
    TAKEN(florence2_model_run(model, &request, fields, &by_field, &error));
    int same = strcmp(florence2_result_raw_text(by_field), florence2_result_raw_text(expected)) == 0 &&
               florence2_result_sequence_score(by_field) == florence2_result_sequence_score(expected);
    int changed = strcmp(florence2_result_raw_text(plain), florence2_result_raw_text(expected)) != 0 ||
                  florence2_result_sequence_score(plain) != florence2_result_sequence_score(expected);
    if (!same || !changed) {
        fprintf(stderr, "%s: found `%s`, expected `%s`, plain `%s`\n", json, florence2_result_raw_text(by_field),
                florence2_result_raw_text(expected), florence2_result_raw_text(plain));
    }
    CHECK(same && changed);
    florence2_result_free(by_field);
    florence2_result_free(expected);
}

static void fields_are_options(void) {
    florence2_request request = request_of("<CAPTION>");
    florence2_image_features *features = NULL;
    TAKEN(florence2_model_encode_image(model, image, NULL, &features, &error));
    florence2_result *plain = NULL, *plain_of_beams = NULL;
    florence2_run_options options = options_of(3);
    TAKEN(florence2_model_run(model, &request, &options, &plain_of_beams, &error));
    options = options_of(1);
    TAKEN(florence2_model_run(model, &request, &options, &plain, &error));
    CHECK(florence2_result_token_count(plain) > 6);
    uint32_t ids[3];
    memcpy(ids, florence2_result_token_ids(plain) + 3, sizeof ids);
    char json[256];

    options = options_of(3);
    options.set = FLORENCE2_SET_LENGTH_PENALTY;
    answers_as(plain_of_beams, features, &options, "{\"length_penalty\": 0}");
    options = options_of(1);
    options.max_length = 5;
    answers_as(plain, features, &options, "{\"max_length\": 5, \"max_new_tokens\": null}");
    options = options_of(1);
    options.suppress_tokens = ids;
    options.suppress_tokens_len = 1;
    snprintf(json, sizeof json, "{\"suppress_tokens\": [%u]}", ids[0]);
    answers_as(plain, features, &options, json);
    options = options_of(1);
    options.forced_eos_token_ids = ids;
    options.forced_eos_token_ids_len = 1;
    options.max_new_tokens = 4;
    snprintf(json, sizeof json, "{\"max_new_tokens\": 4, \"forced_eos_token_id\": [%u]}", ids[0]);
    answers_as(plain, features, &options, json);
    florence2_token_sequence word = {ids, 2};
    options = options_of(1);
    options.bad_words_ids = &word;
    options.bad_words_ids_len = 1;
    snprintf(json, sizeof json, "{\"bad_words_ids\": [[%u, %u]]}", ids[0], ids[1]);
    answers_as(plain, features, &options, json);
    florence2_sequence_bias bias = {ids, 1, -50.0f, 0};
    options = options_of(1);
    options.sequence_bias = &bias;
    options.sequence_bias_len = 1;
    snprintf(json, sizeof json, "{\"sequence_bias\": [[[%u], -50.0]]}", ids[0]);
    answers_as(plain, features, &options, json);
    const char *stop = "a";
    options = options_of(1);
    options.stop_strings = &stop;
    options.stop_strings_len = 1;
    answers_as(plain, features, &options, "{\"stop_strings\": [\"a\"]}");
    options = options_of(1);
    options.eos_token_ids = ids;
    options.eos_token_ids_len = 1;
    snprintf(json, sizeof json, "{\"eos_token_id\": [%u]}", ids[0]);
    answers_as(plain, features, &options, json);
    // Sampling with seed 0, which `set` marks as set.
    options = options_of(1);
    options.do_sample = FLORENCE2_SWITCH_ON;
    options.temperature = 5.0f;
    options.min_p = 0.01f;
    options.typical_p = 0.9f;
    options.set = FLORENCE2_SET_SEED | FLORENCE2_SET_TOP_K;
    answers_as(plain, features, &options,
               "{\"do_sample\": true, \"temperature\": 5, \"min_p\": 0.01, \"typical_p\": 0.9, \"seed\": 0, "
               "\"top_k\": 0}");

    florence2_result_free(plain);
    florence2_result_free(plain_of_beams);
    florence2_image_features_free(features);

    const florence2_status bad = FLORENCE2_STATUS_INVALID_ARGUMENT;
    florence2_result *result = NULL;
    options = options_of(0);
    options.set = FLORENCE2_SET_NUM_BEAMS;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "num_beams");
    options = options_of(1);
    options.set = UINT64_C(1) << 63;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "options.set");
    options = options_of(1);
    options.stop_strings_len = 1;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "stop_strings");
    stop = NULL;
    options.stop_strings = &stop;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "stop_strings[0]");
    options = options_of(1);
    bias.reserved = 1;
    options.sequence_bias = &bias;
    options.sequence_bias_len = 1;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "sequence_bias[0]");
    options = options_of(1);
    options.renormalize_logits = 9;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "renormalize_logits");
    options = options_of(1);
    options.location_tolerance = -2;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "location_tolerance");
}

typedef struct {
    size_t tokens, progresses, stop_at;
    char text[4096];
} heard;

static int32_t on_token(const florence2_token *token, void *user) {
    heard *h = user;
    h->tokens++;
    strncat(h->text, token->text, sizeof h->text - strlen(h->text) - 1);
    return h->stop_at != 0 && h->tokens == h->stop_at;
}

static int32_t on_progress(const florence2_progress *progress, void *user) {
    ((heard *)user)->progresses++;
    return progress->new_tokens > progress->max_new_tokens;
}

static void streams_stops_and_deadlines(void) {
    heard h = {0, 0, 0, ""};
    florence2_run_options options = options_of(1);
    options.on_token = on_token;
    options.on_progress = on_progress;
    options.user = &h;
    florence2_request request = request_of("<CAPTION>");
    florence2_result *result = NULL;
    TAKEN(florence2_model_run(model, &request, &options, &result, &error));
    CHECK(h.tokens > 2 && h.progresses > 2);
    CHECK(strstr(h.text, florence2_result_text(result)) != NULL);
    florence2_result_free(result);

    h = (heard){0, 0, 2, ""};
    result = (florence2_result *)&h;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error),
            FLORENCE2_STATUS_CANCELLED, "cancel");
    CHECK(result == NULL && h.tokens == 2);

    florence2_cancel *cancel = NULL;
    TAKEN(florence2_cancel_new(&cancel, &error));
    CHECK(!florence2_cancel_is_fired(cancel));
    florence2_cancel_fire(cancel);
    CHECK(florence2_cancel_is_fired(cancel));
    options = options_of(1);
    options.cancel = cancel;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error),
            FLORENCE2_STATUS_CANCELLED, "cancel");
    florence2_cancel_free(cancel);

    options = options_of(4);
    options.deadline_ms = 1;
    options.min_new_tokens = options.max_new_tokens = 200;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error),
            FLORENCE2_STATUS_DEADLINE_EXCEEDED, "deadline");
}

// 0 with the bit of an option that excludes 0 is an error, of a sampling option with sampling.
static void zeros_are_refused(void) {
    static const struct {
        uint64_t bit;
        const char *name;
        bool is_sampling;
    } zeros[] = {
        {FLORENCE2_SET_NUM_BEAMS, "num_beams", false},
        {FLORENCE2_SET_NUM_RETURN_SEQUENCES, "num_return_sequences", false},
        {FLORENCE2_SET_MAX_NEW_TOKENS, "max_new_tokens", false},
        {FLORENCE2_SET_REPETITION_PENALTY, "repetition_penalty", false},
        {FLORENCE2_SET_ENCODER_REPETITION_PENALTY, "encoder_repetition_penalty", false},
        {FLORENCE2_SET_TEMPERATURE, "temperature", true},
        {FLORENCE2_SET_TOP_H, "top_h", true},
        {FLORENCE2_SET_TYPICAL_P, "typical_p", true},
    };
    florence2_request request = request_of("<OD>");
    florence2_result *result = NULL;
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) {
        florence2_run_options options = options_of(0);
        options.set = zeros[i].bit;
        options.do_sample = zeros[i].is_sampling ? FLORENCE2_SWITCH_ON : FLORENCE2_SWITCH_OFF;
        REFUSED(florence2_model_run(model, &request, &options, &result, &error),
                FLORENCE2_STATUS_INVALID_ARGUMENT, zeros[i].name);
    }
    // A box and a prompt exclude each other.
    request.task = NULL;
    request.prompt = "<REGION_TO_CATEGORY>";
    request.region_unit = FLORENCE2_REGION_UNIT_PX;
    request.region[2] = request.region[3] = 50;
    REFUSED(florence2_model_run(model, &request, NULL, &result, &error),
            FLORENCE2_STATUS_INVALID_ARGUMENT, "prompt");
}

// What a callback calls the library with.
typedef struct {
    const florence2_model *outer;
    florence2_cancel *cancel;
    pthread_t thread;
    char expected[512];
    size_t calls;
} caller;

static int32_t on_token_of_inner(const florence2_token *token, void *user) {
    CHECK(token->text != NULL);
    ++*(size_t *)user;
    return 0;
}

// Runs a model within a callback, with tokens of its own, and compares the answer.
static void run_within(const florence2_model *inner, const caller *c) {
    size_t tokens = 0;
    florence2_run_options options = options_of(1);
    options.on_token = on_token_of_inner;
    options.user = &tokens;
    florence2_request request = request_of("<OD>");
    florence2_result *result = NULL;
    TAKEN(florence2_model_run(inner, &request, &options, &result, &error));
    CHECK(strcmp(florence2_result_raw_text(result), c->expected) == 0);
    CHECK(tokens + 1 == florence2_result_token_count(result));
    florence2_result_free(result);
}

static void call_the_library(caller *c) {
    CHECK(pthread_equal(pthread_self(), c->thread));
    if (c->calls++ != 1) {
        return;
    }
    if (c->cancel != NULL) {
        florence2_cancel_fire(c->cancel);
    }
    florence2_model *other = NULL;
    florence2_image_features *features = NULL;
    florence2_score *score = NULL;
    florence2_request request = request_of("<CAPTION>");
    if (c->outer != NULL) {
        run_within(c->outer, c);
        TAKEN(florence2_model_encode_image(c->outer, image, NULL, &features, &error));
        TAKEN(florence2_model_score(c->outer, &request, "a white circle", NULL, &score, &error));
    }
    TAKEN(florence2_model_load_demo(NULL, &other, &error));
    run_within(other, c);
    florence2_model_free(other);
    florence2_score_free(score);
    florence2_image_features_free(features);
    florence2_trim();
}

static int32_t call_at_token(const florence2_token *token, void *user) {
    CHECK(token->text != NULL);
    call_the_library(user);
    return 0;
}

static int32_t call_at_progress(const florence2_progress *progress, void *user) {
    CHECK(progress->new_tokens <= progress->max_new_tokens);
    call_the_library(user);
    return 0;
}

static int32_t call_at_load(const florence2_load_progress *progress, void *user) {
    CHECK(progress->tensors <= progress->total_tensors);
    call_the_library(user);
    return 0;
}

// Callbacks may run the same model and others, load and free, and fire the cancel token of their own run. Models with
// the shared thread pool, with one thread and with several differ in the threads that wait.
static void callbacks_call_the_library(size_t most_threads) {
    caller c = {NULL, NULL, pthread_self(), "", 0};
    florence2_request request = request_of("<OD>");
    florence2_run_options greedy = options_of(1);
    florence2_result *result = NULL;
    TAKEN(florence2_model_run(model, &request, &greedy, &result, &error));
    snprintf(c.expected, sizeof c.expected, "%s", florence2_result_raw_text(result));
    florence2_result_free(result);
    for (size_t threads = 0; threads <= most_threads; threads++) {
        florence2_model *outer = NULL;
        florence2_load_options load;
        florence2_load_options_init(&load, sizeof load);
        load.threads = threads;
        load.on_progress = call_at_load;
        load.user = &c;
        c.outer = NULL;
        c.calls = 0;
        TAKEN(florence2_model_load_demo(&load, &outer, &error));
        CHECK(c.calls > 2);
        c.outer = outer;
        for (int use_progress = 0; use_progress < 2; use_progress++) {
            florence2_run_options options = options_of(1);
            options.on_token = use_progress ? NULL : call_at_token;
            options.on_progress = use_progress ? call_at_progress : NULL;
            options.user = &c;
            c.calls = 0;
            TAKEN(florence2_model_run(outer, &request, &options, &result, &error));
            CHECK(strcmp(florence2_result_raw_text(result), c.expected) == 0);
            CHECK(c.calls > 2);
            florence2_result_free(result);
        }
        florence2_run_options options = options_of(1);
        options.on_token = call_at_token;
        options.user = &c;
        TAKEN(florence2_cancel_new(&c.cancel, &error));
        options.cancel = c.cancel;
        // Without an end, so that tokens remain when the token is fired.
        options.min_new_tokens = options.max_new_tokens = 1000;
        c.calls = 0;
        REFUSED(florence2_model_run(outer, &request, &options, &result, &error),
                FLORENCE2_STATUS_CANCELLED, "cancel");
        florence2_cancel_free(c.cancel);
        c.cancel = NULL;
        florence2_model_free(outer);
    }
}

// Tokens arrive during a greedy search and after a beam search, progress in each step of both.
typedef struct {
    size_t tokens, progresses, progresses_at_first_token;
} order;

static int32_t on_ordered_token(const florence2_token *token, void *user) {
    order *o = user;
    CHECK(token->request == 0);
    if (o->tokens++ == 0) {
        o->progresses_at_first_token = o->progresses;
    }
    return 0;
}

static int32_t on_ordered_progress(const florence2_progress *progress, void *user) {
    CHECK(progress->new_tokens > 0);
    ((order *)user)->progresses++;
    return 0;
}

static void beams_report_tokens_at_the_end(void) {
    for (uint32_t beams = 1; beams < 4; beams += 2) {
        order o = {0, 0, 0};
        florence2_run_options options = options_of(beams);
        options.on_token = on_ordered_token;
        options.on_progress = on_ordered_progress;
        options.user = &o;
        florence2_request request = request_of("<OD>");
        florence2_result *result = NULL;
        TAKEN(florence2_model_run(model, &request, &options, &result, &error));
        CHECK(o.tokens + 1 == florence2_result_token_count(result));
        CHECK(o.progresses + 1 >= o.tokens && o.tokens > 2);
        if (beams == 1) {
            CHECK(o.progresses_at_first_token <= 1);
        } else {
            CHECK(o.progresses_at_first_token == o.progresses);
        }
        florence2_result_free(result);
    }
}

static void refusals(void) {
    florence2_result *result = NULL;
    florence2_request request = request_of("<OD>");
    const florence2_status bad = FLORENCE2_STATUS_INVALID_ARGUMENT;

    REFUSED(florence2_model_run(NULL, &request, NULL, &result, &error), bad, "model");
    REFUSED(florence2_model_run(model, NULL, NULL, &result, &error), bad, "request");
    REFUSED(florence2_model_run(model, &request, NULL, NULL, &error), bad, "result");
    CHECK(florence2_model_run(NULL, NULL, NULL, NULL, NULL) == bad);

    request.image = NULL;
    REFUSED(florence2_model_run(model, &request, NULL, &result, &error), bad, "image");
    request = request_of("<NOTHING>");
    REFUSED(florence2_model_run(model, &request, NULL, &result, &error), bad, "<NOTHING>");
    request = request_of("<\xff\xfe>");
    REFUSED(florence2_model_run(model, &request, NULL, &result, &error), bad, "UTF-8");
    request = request_of("<CAPTION_TO_PHRASE_GROUNDING>");
    REFUSED(florence2_model_run(model, &request, NULL, &result, &error), bad, "input");

    request = request_of("<OD>");
    request.struct_size = 3;
    REFUSED(florence2_model_run(model, &request, NULL, &result, &error), bad, "struct_size");
    struct {
        florence2_request known;
        uint64_t unknown;
    } newer = {request_of("<OD>"), 0};
    newer.known.struct_size = sizeof newer;
    TAKEN(florence2_model_run(model, &newer.known, NULL, &result, &error));
    florence2_result_free(result);
    newer.unknown = 1;
    REFUSED(florence2_model_run(model, &newer.known, NULL, &result, &error), bad, "struct_size");

    request = request_of("<OD>");
    REFUSED(florence2_model_run_batch(model, &request, SIZE_MAX / 2, NULL, &result, NULL, &error), bad,
            "requests_len");
    florence2_result *results[2] = {(florence2_result *)&request, (florence2_result *)&request};
    REFUSED(florence2_model_run_batch(model, NULL, 2, NULL, results, NULL, &error), bad, "requests");
    CHECK(results[0] == NULL && results[1] == NULL);
    florence2_run_options options = options_of(1);
    options.do_sample = FLORENCE2_SWITCH_ON;
    options.temperature = NAN;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "temperature");
    options = options_of(UINT32_MAX);
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "num_beams");
    options = options_of(1);
    options.generation_config = "{\"numbeams\": 3}";
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "numbeams");
    options.generation_config = "{\"num_beams\": -1}";
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "num_beams: invalid value");

    florence2_image *none = NULL;
    REFUSED(florence2_image_from_path("/nowhere.png", NULL, &none, &error), FLORENCE2_STATUS_IO,
            "/nowhere.png");
    REFUSED(florence2_image_from_encoded((const uint8_t *)"no", 2, NULL, &none, &error),
            FLORENCE2_STATUS_INVALID_IMAGE, "image");
    REFUSED(florence2_image_from_encoded(NULL, 9, NULL, &none, &error), bad, "data");
    florence2_pixels pixels;
    florence2_pixels_init(&pixels, sizeof pixels);
    uint8_t gray[4] = {0, 80, 160, 240};
    pixels.data = gray;
    pixels.data_len = sizeof gray;
    pixels.width_px = pixels.height_px = 2;
    pixels.format = FLORENCE2_PIXEL_FORMAT_GRAY;
    TAKEN(florence2_image_from_pixels(&pixels, &none, &error));
    CHECK(florence2_image_width_px(none) == 2 && florence2_image_height_px(none) == 2);
    florence2_image_free(none);
    pixels.height_px = 3;
    REFUSED(florence2_image_from_pixels(&pixels, &none, &error), bad, "data");
    pixels.height_px = UINT32_MAX;
    pixels.width_px = UINT32_MAX;
    CHECK(florence2_image_from_pixels(&pixels, &none, NULL) != FLORENCE2_STATUS_OK);
    pixels.format = 77;
    REFUSED(florence2_image_from_pixels(&pixels, &none, &error), bad, "format");

    florence2_model *other = NULL;
    florence2_load_options load;
    florence2_load_options_init(&load, sizeof load);
    load.device = "abacus";
    REFUSED(florence2_model_load_demo(&load, &other, &error),
            FLORENCE2_STATUS_UNSUPPORTED_DEVICE, "abacus");
    florence2_load_options_init(&load, sizeof load);
    load.dtype = "f99";
    REFUSED(florence2_model_load_demo(&load, &other, &error), bad, "options.dtype");
    load.dtype = "";
    REFUSED(florence2_model_load_demo(&load, &other, &error), bad, "options.dtype");
    florence2_load_options_init(&load, sizeof load);
    load.spin_limit = -2;
    REFUSED(florence2_model_load_demo(&load, &other, &error), bad, "options.spin_limit");
    florence2_load_options_init(&load, sizeof load);
    load.reserved = 1;
    REFUSED(florence2_model_load_demo(&load, &other, &error), bad, "options.reserved");
    REFUSED(florence2_model_load("/nowhere", NULL, &other, &error), FLORENCE2_STATUS_IO,
            "/nowhere");
    CHECK(other == NULL);
}

static void huge_counts(void) {
    const florence2_status bad = FLORENCE2_STATUS_INVALID_ARGUMENT;
    florence2_adapter adapter = {.folder = "/nowhere"};
    florence2_model *other = NULL;
    florence2_load_options load;
    florence2_load_options_init(&load, sizeof load);
    load.adapters = &adapter;
    load.adapters_len = SIZE_MAX;
    REFUSED(florence2_model_load_demo(&load, &other, &error), bad, "adapters_len");
    florence2_load_options_init(&load, sizeof load);
    load.threads = SIZE_MAX;
    REFUSED(florence2_model_load_demo(&load, &other, &error), bad, "threads");

    uint8_t byte = 0;
    florence2_file file = {"config.json", &byte, SIZE_MAX};
    REFUSED(florence2_model_load_memory(&file, 1, NULL, &other, &error), bad, "data_len");
    REFUSED(florence2_model_load_memory(&file, SIZE_MAX, NULL, &other, &error), bad, "files_len");
    florence2_image *none = NULL;
    REFUSED(florence2_image_from_encoded(&byte, SIZE_MAX, NULL, &none, &error), bad, "data_len");

    florence2_request request = request_of("<OD>");
    florence2_result *result = NULL;
    florence2_run_options options = options_of(1);
    uint32_t id = 2;
    options.eos_token_ids = &id;
    options.eos_token_ids_len = SIZE_MAX;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad,
            "eos_token_ids_len");
    options = options_of(UINT32_MAX);
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "num_beams");
    request.struct_size = SIZE_MAX;
    REFUSED(florence2_model_run(model, &request, NULL, &result, &error), bad, "struct_size");
}

static void nothing_is_fine(void) {
    florence2_error_free(NULL);
    florence2_image_free(NULL);
    florence2_image_features_free(NULL);
    florence2_model_free(NULL);
    florence2_cancel_free(NULL);
    florence2_result_free(NULL);
    florence2_score_free(NULL);
    florence2_cancel_fire(NULL);
    CHECK(florence2_result_region_count(NULL) == 0);
    CHECK(florence2_result_region(NULL, 0) == NULL);
    CHECK(strcmp(florence2_error_message(NULL), "") == 0);
    CHECK(isnan(florence2_score_loss(NULL)));
    CHECK(florence2_model_warning_count(NULL) == 0);
    CHECK(florence2_model_warning(NULL, 0) == NULL);
}

typedef struct {
    size_t errors, infos;
    florence2_status nested;
} logged;

static void on_log(florence2_log_level level, const char *target, const char *message, void *user) {
    logged *l = user;
    l->errors += level == FLORENCE2_LOG_LEVEL_ERROR && strstr(message, "freed twice") != NULL;
    l->infos += level == FLORENCE2_LOG_LEVEL_INFO && target[0] != '\0';
    l->nested = florence2_log_set(NULL, NULL, FLORENCE2_LOG_LEVEL_OFF, NULL);
}

// The tested library has the feature handle-checks, which is also active in debug builds.
static void freed_handles_are_known(void) {
    logged l = {0, 0, FLORENCE2_STATUS_OK};
    TAKEN(florence2_log_set(on_log, &l, FLORENCE2_LOG_LEVEL_INFO, &error));
    REFUSED(florence2_log_set(on_log, &l, 77, &error), FLORENCE2_STATUS_INVALID_ARGUMENT,
            "max_level");
    uint8_t gray = 7;
    florence2_pixels pixels;
    florence2_pixels_init(&pixels, sizeof pixels);
    pixels.data = &gray;
    pixels.data_len = pixels.width_px = pixels.height_px = 1;
    pixels.format = FLORENCE2_PIXEL_FORMAT_GRAY;
    florence2_image *freed = NULL;
    TAKEN(florence2_image_from_pixels(&pixels, &freed, &error));
    CHECK(florence2_image_width_px(freed) == 1);
    florence2_image_free(freed);
    CHECK(l.errors == 0);
    florence2_image_free(freed);
    CHECK(l.errors == 1 && l.nested == FLORENCE2_STATUS_INVALID_ARGUMENT);
    CHECK(florence2_image_width_px(freed) == 0);
    florence2_request request = request_of("<OD>");
    request.image = freed;
    florence2_result *result = NULL;
    REFUSED(florence2_model_run(model, &request, NULL, &result, &error),
            FLORENCE2_STATUS_INVALID_ARGUMENT, "image");
    // A handle of another type is invalid, and the call does not change it.
    request = request_of("<OD>");
    REFUSED(florence2_model_run((florence2_model *)image, &request, NULL, &result, &error),
            FLORENCE2_STATUS_INVALID_ARGUMENT, "model");
    florence2_model_free((florence2_model *)image);
    CHECK(l.errors == 2 && florence2_image_width_px(image) == 192);
    // The caller must not free a borrowed object.
    florence2_run_options options = options_of(2);
    options.num_return_sequences = 2;
    TAKEN(florence2_model_run(model, &request, &options, &result, &error));
    florence2_result_free((florence2_result *)florence2_result_alternative(result, 0));
    CHECK(l.errors == 3 && florence2_result_alternative_count(result) == 1);
    florence2_result_free(result);
    florence2_result_free(result);
    CHECK(l.errors == 4);

    CHECK(l.infos == 0);
    florence2_model *other = NULL;
    TAKEN(florence2_model_load_demo(NULL, &other, &error));
    CHECK(l.infos > 0);
    florence2_model_free(other);
    TAKEN(florence2_log_set(NULL, NULL, FLORENCE2_LOG_LEVEL_OFF, &error));
    florence2_model_free(other);
    CHECK(l.errors == 4);
}

typedef struct {
    size_t panics;
    char message[512];
} panicked;

static void on_panic(florence2_log_level level, const char *target, const char *message, void *user) {
    panicked *p = user;
    if (level == FLORENCE2_LOG_LEVEL_ERROR && strcmp(target, "florence2::panic") == 0) {
        p->panics++;
        snprintf(p->message, sizeof p->message, "%s", message);
    }
}

// A panic becomes a status and a log message, and nothing is printed.
static void panics_are_statuses(void) {
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    FILE *printed = tmpfile();
    CHECK(saved >= 0 && printed != NULL && dup2(fileno(printed), STDERR_FILENO) >= 0);
    panicked p = {0, ""};
    florence2_status statuses[4] = {
        florence2_test_panic(NULL),
        florence2_log_set(on_panic, &p, FLORENCE2_LOG_LEVEL_ERROR, NULL),
        florence2_test_panic(NULL),
        florence2_test_panic_in_pool(NULL),
    };
    florence2_status unset = florence2_log_set(NULL, NULL, FLORENCE2_LOG_LEVEL_OFF, NULL);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    CHECK(lseek(fileno(printed), 0, SEEK_END) == 0);
    fclose(printed);
    CHECK(statuses[0] == FLORENCE2_STATUS_PANIC && statuses[2] == FLORENCE2_STATUS_PANIC);
    CHECK(statuses[1] == FLORENCE2_STATUS_OK && unset == FLORENCE2_STATUS_OK);
    CHECK(statuses[3] == FLORENCE2_STATUS_PANIC);
    CHECK(p.panics == 2);
    CHECK(strstr(p.message, "test_hooks.rs") != NULL);
    CHECK(strstr(p.message, "on the pool, as the test asked") != NULL);
    REFUSED(florence2_test_panic(&error), FLORENCE2_STATUS_PANIC, "as the test asked");
    REFUSED(florence2_test_panic_in_pool(&error), FLORENCE2_STATUS_PANIC, "as the test asked");
}

static void loading(const char *folder) {
    florence2_model *other = NULL;
    florence2_load_options load;
    florence2_load_options_init(&load, sizeof load);
    load.threads = 2;
    load.dtype = "f16";
    TAKEN(florence2_model_load(folder, &load, &other, &error));
    CHECK(strcmp(florence2_model_device(other), "cpu") == 0);
    CHECK(strstr(florence2_model_info_json(other), "\"dtype\":\"f16\"") != NULL);
    uint32_t id = 0;
    TAKEN(florence2_model_token_id(other, "<loc_0>", &id, &error));
    CHECK(id > 0);
    florence2_request request = request_of("<OD>");
    florence2_result *result = NULL;
    TAKEN(florence2_model_run(other, &request, NULL, &result, &error));
    CHECK(florence2_result_region_count(result) == 3);
    // A result outlives its model.
    florence2_model_free(other);
    CHECK(strcmp(florence2_result_region(result, 0)->label, "white circle") == 0);
    florence2_result_free(result);
}

typedef struct {
    size_t calls, stop_at;
    florence2_load_progress last;
} loads;

static int32_t on_load(const florence2_load_progress *progress, void *user) {
    loads *l = user;
    CHECK(progress->total_tensors > 10 && progress->total_parameters > 1000);
    CHECK(progress->tensors <= progress->total_tensors);
    CHECK(l->calls == 0 ? progress->tensors == 0 && progress->parameters == 0
                        : progress->tensors > l->last.tensors &&
                              progress->parameters > l->last.parameters);
    l->last = *progress;
    l->calls++;
    return l->calls == l->stop_at;
}

static void loading_is_watched_and_ended(void) {
    florence2_model *other = NULL;
    loads l;
    memset(&l, 0, sizeof l);
    florence2_load_options load;
    florence2_load_options_init(&load, sizeof load);
    load.on_progress = on_load;
    load.user = &l;
    load.spin_limit = -1;
    TAKEN(florence2_model_load_demo(&load, &other, &error));
    CHECK(l.calls > 10 && l.last.tensors == l.last.total_tensors);
    CHECK(l.last.parameters == l.last.total_parameters);
    CHECK(florence2_model_warning_count(other) == 0 && florence2_model_warning(other, 0) == NULL);
    florence2_request request = request_of("<OD>");
    florence2_result *result = NULL;
    TAKEN(florence2_model_run(other, &request, NULL, &result, &error));
    CHECK(florence2_result_region_count(result) == 3);
    florence2_result_free(result);
    florence2_model_free(other);

    memset(&l, 0, sizeof l);
    l.stop_at = 3;
    REFUSED(florence2_model_load_demo(&load, &other, &error), FLORENCE2_STATUS_CANCELLED, "cancel");
    CHECK(other == NULL && l.calls == 3);

    florence2_cancel *cancel = NULL;
    TAKEN(florence2_cancel_new(&cancel, &error));
    florence2_cancel_fire(cancel);
    memset(&l, 0, sizeof l);
    load.cancel = cancel;
    REFUSED(florence2_model_load_demo(&load, &other, &error), FLORENCE2_STATUS_CANCELLED, "cancel");
    CHECK(l.calls == 0);
    florence2_cancel_free(cancel);
}

typedef struct {
    size_t tokens[5];
} counted;

static int32_t on_counted(const florence2_token *token, void *user) {
    counted *c = user;
    CHECK(token->request < 5);
    c->tokens[token->request]++;
    return 0;
}

// If requests of a batch fail, the other requests still return results.
static void failures_are_of_one_request(void) {
    static char prompt[8192];
    memset(prompt, 'a', sizeof prompt - 1);
    for (size_t i = 0; i + 1 < sizeof prompt; i += 2) {
        prompt[i] = ' ';
    }
    florence2_request requests[5] = {request_of("<OD>"), request_of("<NOTHING>"), request_of("<OD>"),
                                     request_of(NULL), request_of("<CAPTION>")};
    requests[2].image = NULL;
    requests[3].prompt = prompt;
    florence2_run_options options = options_of(1);
    counted c = {{0}};
    options.on_token = on_counted;
    options.user = &c;
    florence2_result *results[5];
    florence2_error *errors[5];
    memset(results, 1, sizeof results);
    memset(errors, 1, sizeof errors);
    TAKEN(florence2_model_run_batch(model, requests, 5, &options, results, errors, &error));
    static const char *const parts[5] = {NULL, "<NOTHING>", "request.image", "positions", NULL};
    for (size_t i = 0; i < 5; i++) {
        CHECK((results[i] == NULL) == (parts[i] != NULL));
        CHECK((errors[i] == NULL) == (parts[i] == NULL));
        CHECK((c.tokens[i] == 0) == (parts[i] != NULL));
        if (parts[i] != NULL) {
            CHECK(florence2_error_status(errors[i]) == FLORENCE2_STATUS_INVALID_ARGUMENT);
            if (strstr(florence2_error_message(errors[i]), parts[i]) == NULL) {
                fprintf(stderr, "found `%s`\n", florence2_error_message(errors[i]));
                CHECK(!"the message names it");
            }
        } else {
            florence2_result *alone = NULL;
            florence2_run_options silent = options_of(1);
            TAKEN(florence2_model_run(model, &requests[i], &silent, &alone, &error));
            CHECK(strcmp(florence2_result_raw_text(alone), florence2_result_raw_text(results[i])) == 0);
            CHECK(c.tokens[i] + 1 == florence2_result_token_count(alone));
            florence2_result_free(alone);
        }
        florence2_result_free(results[i]);
        florence2_error_free(errors[i]);
    }
    // Without `errors`, one request that fails fails the call, before and after the model runs.
    memset(results, 1, sizeof results);
    REFUSED(florence2_model_run_batch(model, requests, 2, NULL, results, NULL, &error),
            FLORENCE2_STATUS_INVALID_ARGUMENT, "requests[1]");
    CHECK(results[0] == NULL && results[1] == NULL);
    memset(results, 1, sizeof results);
    REFUSED(florence2_model_run_batch(model, requests + 3, 2, NULL, results, NULL, &error),
            FLORENCE2_STATUS_INVALID_ARGUMENT, "positions");
    CHECK(results[0] == NULL && results[1] == NULL);
    TAKEN(florence2_model_run_batch(model, NULL, 0, NULL, NULL, NULL, &error));
    TAKEN(florence2_model_run_batch(model, NULL, 0, NULL, NULL, errors, &error));
    // Each request keeps its start token, whether or not the others are valid.
    static const uint32_t starts[2] = {2, 0};
    florence2_request second[2] = {request_of("<NOTHING>"), request_of("<OD>")};
    florence2_run_options started = options_of(1);
    started.decoder_start_token_ids = starts;
    started.decoder_start_token_ids_len = 2;
    TAKEN(florence2_model_run_batch(model, second, 2, &started, results, errors, &error));
    CHECK(results[0] == NULL && errors[0] != NULL && errors[1] == NULL);
    CHECK(florence2_result_token_ids(results[1])[0] == 0);
    florence2_error_free(errors[0]);
    florence2_result_free(results[1]);
    REFUSED(florence2_model_run_batch(model, requests, 5, &started, results, errors, &error),
            FLORENCE2_STATUS_INVALID_ARGUMENT, "decoder_start_token_ids_len");
    // An error that concerns all requests fails the call.
    options.do_sample = FLORENCE2_SWITCH_ON;
    options.temperature = NAN;
    memset(results, 1, sizeof results);
    memset(errors, 1, sizeof errors);
    REFUSED(florence2_model_run_batch(model, requests, 2, &options, results, errors, &error),
            FLORENCE2_STATUS_INVALID_ARGUMENT, "temperature");
    CHECK(results[0] == NULL && results[1] == NULL && errors[0] == NULL && errors[1] == NULL);
    florence2_cancel *cancel = NULL;
    TAKEN(florence2_cancel_new(&cancel, &error));
    florence2_cancel_fire(cancel);
    options = options_of(1);
    options.cancel = cancel;
    REFUSED(florence2_model_run_batch(model, requests, 2, &options, results, errors, &error),
            FLORENCE2_STATUS_CANCELLED, "cancel");
    florence2_cancel_free(cancel);
    REFUSED(florence2_model_run_batch(model, requests, 2, NULL, NULL, errors, &error),
            FLORENCE2_STATUS_INVALID_ARGUMENT, "results");
}

#ifdef _WIN32
// Windows has no fork.
static void forks_are_refused(void) {
}
#else
// A forked process lacks the threads of its parent's thread pools. Calls return a status instead of blocking.
static void forks_are_refused(void) {
    fflush(stdout);
    fflush(stderr);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const florence2_status forked = FLORENCE2_STATUS_FORKED;
        alarm(120);
        florence2_request request = request_of("<OD>");
        florence2_result *result = NULL;
        florence2_score *score = NULL;
        florence2_image_features *features = NULL;
        florence2_model *other = NULL;
        florence2_error *failed = NULL;
        int refused = florence2_model_run(model, &request, NULL, &result, NULL) == forked &&
                      florence2_model_run_batch(model, &request, 1, NULL, &result, NULL, NULL) == forked &&
                      florence2_model_run_batch(model, &request, 1, NULL, &result, &failed, NULL) == forked &&
                      florence2_model_score(model, &request, "a", NULL, &score, NULL) == forked &&
                      florence2_model_encode_image(model, image, NULL, &features, NULL) == forked &&
                      florence2_model_load_demo(NULL, &other, NULL) == forked;
        florence2_trim();
        florence2_image_free(image);
        florence2_model_free(model);
        // exec ends the process, because at `_exit` valgrind would report the memory of threads that fork left behind.
        const char *program = refused ? "true" : "false";
        execlp(program, program, (char *)NULL);
        _exit(1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif

static void trimmed_memory_is_allocated_again(void) {
    florence2_request request = request_of("<OD>");
    for (int i = 0; i < 2; i++) {
        florence2_trim();
        florence2_result *result = NULL;
        TAKEN(florence2_model_run(model, &request, NULL, &result, &error));
        CHECK(florence2_result_region_count(result) == 3);
        florence2_result_free(result);
    }
}

// Reads a file of a folder into memory. The caller frees `data`.
static florence2_file file_of(const char *folder, const char *name) {
    FILE *stream = fopen(in_folder(folder, name), "rb");
    if (stream == NULL) {
        fprintf(stderr, "%s cannot be opened\n", path);
        exit(2);
    }
    fseek(stream, 0, SEEK_END);
    size_t len = (size_t)ftell(stream);
    rewind(stream);
    uint8_t *data = malloc(len);
    CHECK(data != NULL && fread(data, 1, len, stream) == len);
    fclose(stream);
    return (florence2_file){name, data, len};
}

static void free_files(florence2_file *files, size_t len) {
    for (size_t i = 0; i < len; i++) {
        free((void *)files[i].data);
    }
}

// Returns a model's result for `<OD>` as JSON. The caller frees it.
static char *objects_json(const florence2_model *asked) {
    florence2_request request = request_of("<OD>");
    florence2_result *result = NULL;
    TAKEN(florence2_model_run(asked, &request, NULL, &result, &error));
    char *json = strdup(florence2_result_text(result));
    florence2_result_free(result);
    return json;
}

static void loading_from_memory(const char *folder) {
    const florence2_status io = FLORENCE2_STATUS_IO, bad = FLORENCE2_STATUS_INVALID_ARGUMENT;
    enum { WEIGHTS = 3, FILES = 5 };
    florence2_file files[FILES + 1] = {
        file_of(folder, "config.json"),       file_of(folder, "preprocessor_config.json"),
        file_of(folder, "tokenizer.json"),    file_of(folder, "model.safetensors"),
        file_of(folder, "generation_config.json"),
    };
    florence2_model *other = NULL;
    REFUSED(florence2_model_load_memory(NULL, 0, NULL, &other, &error), io, "config.json");
    REFUSED(florence2_model_load_memory(NULL, 1, NULL, &other, &error), bad, "files");
    REFUSED(florence2_model_load_memory(files, 1, NULL, &other, &error), io,
            "preprocessor_config.json");
    REFUSED(florence2_model_load_memory(files, 2, NULL, &other, &error), io, "tokenizer.json");
    REFUSED(florence2_model_load_memory(files, 3, NULL, &other, &error), io, "model.safetensors");
    size_t weights_len = files[WEIGHTS].data_len;
    files[WEIGHTS].data_len /= 2;
    REFUSED(florence2_model_load_memory(files, FILES, NULL, &other, &error),
            FLORENCE2_STATUS_INVALID_MODEL, "model.safetensors");
    files[WEIGHTS].data_len = weights_len;
    files[FILES] = files[0];
    REFUSED(florence2_model_load_memory(files, FILES + 1, NULL, &other, &error), bad,
            "files[5].name");
    files[FILES].name = "confg.json";
    REFUSED(florence2_model_load_memory(files, FILES + 1, NULL, &other, &error), bad, "confg.json");
    files[FILES].name = NULL;
    REFUSED(florence2_model_load_memory(files, FILES + 1, NULL, &other, &error), bad,
            "files[5].name");
    florence2_load_options options;
    florence2_load_options_init(&options, sizeof options);
    options.processor = folder;
    REFUSED(florence2_model_load_memory(files, FILES, &options, &other, &error), bad, "processor");
    files[WEIGHTS].name = "fine-tuned.bin"; // The format is detected from the content.
    TAKEN(florence2_model_load_memory(files, FILES, NULL, &other, &error));
    free_files(files, FILES);
    char *expected = objects_json(model), *found = objects_json(other);
    CHECK(strcmp(expected, found) == 0);
    free(expected);
    free(found);
    florence2_model_free(other);
}

// The weights and the processor are in other folders than the configuration.
static void loading_from_several_folders(const char *folder) {
    char *weights = strdup(in_folder(folder, "model.safetensors"));
    florence2_load_options options;
    florence2_load_options_init(&options, sizeof options);
    options.weights = weights;
    options.processor = folder;
    florence2_model *other = NULL;
    TAKEN(florence2_model_load(folder, &options, &other, &error));
    florence2_model_free(other);
    options.weights = "/nowhere.safetensors";
    REFUSED(florence2_model_load(folder, &options, &other, &error), FLORENCE2_STATUS_IO,
            "/nowhere.safetensors");
    options.weights = weights;
    options.processor = "/nowhere";
    REFUSED(florence2_model_load(folder, &options, &other, &error), FLORENCE2_STATUS_IO, "/nowhere");
    free(weights);
}

static void put(uint8_t *bytes, size_t at, uint32_t value) {
    for (size_t i = 0; i < 4; i++) {
        bytes[at + i] = (uint8_t)(value >> 8 * i);
    }
}

// Writes a LoRA adapter of the demo model as safetensors. All values of its matrices are 1.
static size_t write_adapter(uint8_t *bytes, size_t capacity) {
    enum { D_MODEL = 128, FFN_DIM = 512 };
    const float one = 1;
    char header[512];
    int len = snprintf(header, sizeof header,
                       "{\"base_model.model.model.language_model.decoder.layers.0.fc1.lora_A.weight\":"
                       "{\"dtype\":\"F32\",\"shape\":[1,%d],\"data_offsets\":[0,%d]},"
                       "\"base_model.model.model.language_model.decoder.layers.0.fc1.lora_B.weight\":"
                       "{\"dtype\":\"F32\",\"shape\":[%d,1],\"data_offsets\":[%d,%d]}}",
                       D_MODEL, D_MODEL * 4, FFN_DIM, D_MODEL * 4, (D_MODEL + FFN_DIM) * 4);
    size_t needed = 8 + (size_t)len + (D_MODEL + FFN_DIM) * sizeof one;
    CHECK(needed <= capacity);
    memset(bytes, 0, 8);
    put(bytes, 0, (uint32_t)len);
    memcpy(bytes + 8, header, (size_t)len);
    for (size_t i = 0; i < D_MODEL + FFN_DIM; i++) {
        memcpy(bytes + 8 + len + i * sizeof one, &one, sizeof one);
    }
    return needed;
}

// An adapter in memory changes the results according to its scale.
static void adapters_from_memory(void) {
    static const char config[] = "{\"peft_type\": \"LORA\", \"r\": 1, \"lora_alpha\": 1, "
                                 "\"target_modules\": [\"fc1\"]}";
    static uint8_t weights[4096];
    const florence2_status bad = FLORENCE2_STATUS_INVALID_ARGUMENT;
    size_t weights_len = write_adapter(weights, sizeof weights);
    florence2_file files[2] = {
        {"adapter_config.json", (const uint8_t *)config, sizeof config - 1},
        {"adapter_model.safetensors", weights, weights_len},
    };
    florence2_adapter adapters[2] = {{.files = files, .files_len = 2}, {.files = files, .files_len = 2}};
    florence2_load_options options;
    florence2_load_options_init(&options, sizeof options);
    options.adapters = adapters;
    options.adapters_len = 1;
    florence2_model *changed = NULL, *unchanged = NULL, *none = NULL;
    TAKEN(florence2_model_load_demo(&options, &changed, &error));
    options.adapters_len = 2;
    adapters[1].scale = -1; // The second adapter cancels the first.
    TAKEN(florence2_model_load_demo(&options, &unchanged, &error));
    char *base = objects_json(model), *one = objects_json(changed), *both = objects_json(unchanged);
    CHECK(strcmp(base, one) != 0);
    CHECK(strcmp(base, both) == 0);
    free(base);
    free(one);
    free(both);
    florence2_model_free(changed);
    florence2_model_free(unchanged);

    adapters[1].folder = "/nowhere";
    REFUSED(florence2_model_load_demo(&options, &none, &error), bad, "options.adapters[1]");
    adapters[1] = (florence2_adapter){0};
    REFUSED(florence2_model_load_demo(&options, &none, &error), bad, "options.adapters[1]");
    adapters[1].folder = "/nowhere";
    REFUSED(florence2_model_load_demo(&options, &none, &error), FLORENCE2_STATUS_IO, "/nowhere");
    adapters[1].reserved = 1;
    REFUSED(florence2_model_load_demo(&options, &none, &error), bad, "options.adapters[1].reserved");
    options.adapters_len = 1;
    adapters[0].files_len = 1;
    REFUSED(florence2_model_load_demo(&options, &none, &error), FLORENCE2_STATUS_IO,
            "adapter_model.safetensors");
}

enum { SIDE = 96, STRIDE = SIDE * 4 + 20, BMP_HEADER = 54 };

// The RGB value of a pixel: an orange disc on a light gray background.
static const uint8_t *colour_at(size_t x, size_t y) {
    static const uint8_t disc[3] = {240, 130, 20}, ground[3] = {211, 211, 211};
    double dx = (double)x - 40, dy = (double)y - 52;
    return dx * dx + dy * dy < 30 * 30 ? disc : ground;
}

// Writes the disc as a BMP file: rows from the bottom up, in BGR order.
static void write_bmp(uint8_t *bmp, size_t len) {
    memset(bmp, 0, len);
    memcpy(bmp, "BM", 2);
    put(bmp, 2, (uint32_t)len);
    put(bmp, 10, BMP_HEADER);
    put(bmp, 14, 40);
    put(bmp, 18, SIDE);
    put(bmp, 22, SIDE);
    bmp[26] = 1;
    bmp[28] = 24;
    for (size_t y = 0; y < SIDE; y++) {
        for (size_t x = 0; x < SIDE; x++) {
            const uint8_t *colour = colour_at(x, SIDE - 1 - y);
            uint8_t *pixel = bmp + BMP_HEADER + (y * SIDE + x) * 3;
            pixel[0] = colour[2];
            pixel[1] = colour[1];
            pixel[2] = colour[0];
        }
    }
}

// Runs `<OD>` on an image, and frees the image.
static florence2_result *objects_in(florence2_image *asked) {
    florence2_request request = request_of("<OD>");
    request.image = asked;
    florence2_result *result = NULL;
    TAKEN(florence2_model_run(model, &request, NULL, &result, &error));
    florence2_image_free(asked);
    return result;
}

static int same_answer(const florence2_result *found, const florence2_result *expected) {
    size_t count = florence2_result_token_count(expected);
    return count > 2 && florence2_result_token_count(found) == count &&
           memcmp(florence2_result_token_ids(found), florence2_result_token_ids(expected),
                  count * sizeof(uint32_t)) == 0 &&
           memcmp(florence2_result_token_log_probs(found),
                  florence2_result_token_log_probs(expected), count * sizeof(float)) == 0;
}

// Pixels in rows with padding give the same result as the same image from a file.
static void pixels_answer_like_files(void) {
    static uint8_t bmp[BMP_HEADER + SIDE * SIDE * 3], rows[SIDE * STRIDE];
    write_bmp(bmp, sizeof bmp);
    florence2_image *made = NULL;
    TAKEN(florence2_image_from_encoded(bmp, sizeof bmp, NULL, &made, &error));
    florence2_result *expected = objects_in(made);
    CHECK(florence2_result_region_count(expected) > 0);
    static const struct {
        int32_t format;
        size_t bytes, red, green, blue;
    } formats[] = {
        {FLORENCE2_PIXEL_FORMAT_RGB, 3, 0, 1, 2},
        {FLORENCE2_PIXEL_FORMAT_RGBA, 4, 0, 1, 2},
        {FLORENCE2_PIXEL_FORMAT_BGR, 3, 2, 1, 0},
        {FLORENCE2_PIXEL_FORMAT_BGRA, 4, 2, 1, 0},
        // One channel with the green values of the file's image. The result must differ.
        {FLORENCE2_PIXEL_FORMAT_GRAY, 1, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        memset(rows, 0x5a, sizeof rows);
        for (size_t y = 0; y < SIDE; y++) {
            for (size_t x = 0; x < SIDE; x++) {
                uint8_t *pixel = rows + y * STRIDE + x * formats[i].bytes;
                pixel[formats[i].red] = colour_at(x, y)[0];
                pixel[formats[i].blue] = colour_at(x, y)[2];
                pixel[formats[i].green] = colour_at(x, y)[1];
            }
        }
        florence2_pixels pixels;
        florence2_pixels_init(&pixels, sizeof pixels);
        pixels.data = rows;
        pixels.data_len = sizeof rows;
        pixels.stride_bytes = STRIDE;
        pixels.width_px = pixels.height_px = SIDE;
        pixels.format = formats[i].format;
        TAKEN(florence2_image_from_pixels(&pixels, &made, &error));
        florence2_result *found = objects_in(made);
        CHECK(same_answer(found, expected) == (formats[i].bytes > 1));
        florence2_result_free(found);
    }
    florence2_result_free(expected);
}

enum { YUV_SIDE = SIDE - 1, CHROMA_SIDE = (YUV_SIDE + 1) / 2, YUV_STRIDE = SIDE + 9 };

// Converts a YUV pixel (ITU-R BT.601, limited range) to RGB, in double precision.
static void to_rgb(uint8_t y, uint8_t u, uint8_t v, uint8_t *rgb) {
    double luma = (y - 16) * 255.0 / 219, blue = (u - 128) * 255.0 / 112, red = (v - 128) * 255.0 / 112;
    double channels[3] = {luma + 0.701 * red,
                          luma - (0.114 * 0.886 * blue + 0.299 * 0.701 * red) / 0.587,
                          luma + 0.886 * blue};
    for (size_t i = 0; i < 3; i++) {
        rgb[i] = (uint8_t)fmin(255, fmax(0, floor(channels[i] + 0.5)));
    }
}

// A YUV frame gives the same result as its RGB pixels, and a crop of the frame the same result as a crop of the pixels.
static void yuv_and_regions_answer_like_pixels(void) {
    static uint8_t y[YUV_SIDE * YUV_STRIDE], u[CHROMA_SIDE * CHROMA_SIDE], v[CHROMA_SIDE * CHROMA_SIDE],
        uv[2 * CHROMA_SIDE * CHROMA_SIDE], rgb[YUV_SIDE * YUV_SIDE * 3];
    memset(y, 0x5a, sizeof y);
    for (size_t row = 0; row < YUV_SIDE; row++) {
        for (size_t column = 0; column < YUV_SIDE; column++) {
            int disc = colour_at(column / 2 * 2, row / 2 * 2)[2] == 20;
            size_t sample = row / 2 * CHROMA_SIDE + column / 2;
            y[row * YUV_STRIDE + column] = disc ? 144 : 197;
            uv[2 * sample] = u[sample] = disc ? 63 : 128;
            uv[2 * sample + 1] = v[sample] = disc ? 187 : 128;
            to_rgb(y[row * YUV_STRIDE + column], u[sample], v[sample],
                   rgb + (row * YUV_SIDE + column) * 3);
        }
    }
    florence2_pixels pixels;
    florence2_pixels_init(&pixels, sizeof pixels);
    pixels.data = rgb;
    pixels.data_len = sizeof rgb;
    pixels.width_px = pixels.height_px = YUV_SIDE;
    pixels.format = FLORENCE2_PIXEL_FORMAT_RGB;
    florence2_yuv yuv;
    florence2_yuv_init(&yuv, sizeof yuv);
    yuv.y = y;
    yuv.y_len = sizeof y;
    yuv.y_stride_bytes = YUV_STRIDE;
    yuv.width_px = yuv.height_px = YUV_SIDE;
    // The whole frame, then a crop from an odd pixel to the lower right corner.
    for (uint32_t edge = 0; edge < 6; edge += 5) {
        pixels.region_x_px = pixels.region_y_px = yuv.region_x_px = yuv.region_y_px = edge;
        uint32_t side = edge == 0 ? 0 : YUV_SIDE - edge;
        pixels.region_width_px = pixels.region_height_px = side;
        yuv.region_width_px = yuv.region_height_px = side;
        florence2_image *made = NULL;
        TAKEN(florence2_image_from_pixels(&pixels, &made, &error));
        CHECK(florence2_image_width_px(made) == YUV_SIDE - edge);
        florence2_result *expected = objects_in(made);
        CHECK(florence2_result_region_count(expected) > 0);
        for (int32_t format = FLORENCE2_YUV_FORMAT_NV12; format <= FLORENCE2_YUV_FORMAT_I420; format++) {
            yuv.format = format;
            int nv12 = format == FLORENCE2_YUV_FORMAT_NV12;
            yuv.u = nv12 ? uv : u;
            yuv.u_len = nv12 ? sizeof uv : sizeof u;
            yuv.v = nv12 ? NULL : v;
            yuv.v_len = nv12 ? 0 : sizeof v;
            for (int32_t range = FLORENCE2_YUV_RANGE_LIMITED; range <= FLORENCE2_YUV_RANGE_FULL; range++) {
                yuv.range = range;
                TAKEN(florence2_image_from_yuv(&yuv, &made, &error));
                florence2_result *found = objects_in(made);
                CHECK(same_answer(found, expected) == (range == FLORENCE2_YUV_RANGE_LIMITED));
                florence2_result_free(found);
            }
        }
        florence2_result_free(expected);
    }

    const florence2_status bad = FLORENCE2_STATUS_INVALID_ARGUMENT;
    florence2_image *none = NULL;
    yuv.v_len--;
    REFUSED(florence2_image_from_yuv(&yuv, &none, &error), bad, "`v`");
    yuv.v = NULL;
    yuv.v_len = 9;
    REFUSED(florence2_image_from_yuv(&yuv, &none, &error), bad, "yuv.v");
    yuv.v = v;
    yuv.v_len = sizeof v;
    yuv.region_width_px = YUV_SIDE;
    REFUSED(florence2_image_from_yuv(&yuv, &none, &error), bad, "region");
    pixels.region_width_px = YUV_SIDE;
    REFUSED(florence2_image_from_pixels(&pixels, &none, &error), bad, "region");
    yuv.format = FLORENCE2_YUV_FORMAT_NV12;
    REFUSED(florence2_image_from_yuv(&yuv, &none, &error), bad, "yuv.v");
    yuv.format = 9;
    REFUSED(florence2_image_from_yuv(&yuv, &none, &error), bad, "yuv.format");
    yuv.format = FLORENCE2_YUV_FORMAT_I420;
    yuv.matrix = 9;
    REFUSED(florence2_image_from_yuv(&yuv, &none, &error), bad, "yuv.matrix");
    yuv.matrix = FLORENCE2_YUV_MATRIX_BT709;
    yuv.range = 9;
    REFUSED(florence2_image_from_yuv(&yuv, &none, &error), bad, "yuv.range");
    yuv.range = 0;
    yuv.reserved = 1;
    REFUSED(florence2_image_from_yuv(&yuv, &none, &error), bad, "yuv.reserved");
    REFUSED(florence2_image_from_yuv(NULL, &none, &error), bad, "yuv");
}

static void *run_on_thread(void *expected) {
    florence2_request request = request_of("<OD>");
    florence2_result *result = NULL;
    florence2_status status = florence2_model_run(model, &request, NULL, &result, NULL);
    int same = status == FLORENCE2_STATUS_OK &&
               strcmp(florence2_result_raw_text(result), expected) == 0;
    florence2_result_free(result);
    return same ? expected : NULL;
}

enum { MOST_THREADS = 64 };

static void many_threads(int count) {
    florence2_request request = request_of("<OD>");
    florence2_result *result = NULL;
    TAKEN(florence2_model_run(model, &request, NULL, &result, &error));
    pthread_t threads[MOST_THREADS];
    for (int i = 0; i < count; i++) {
        pthread_create(&threads[i], NULL, run_on_thread, (void *)florence2_result_raw_text(result));
    }
    for (int i = 0; i < count; i++) {
        void *same = NULL;
        pthread_join(threads[i], &same);
        CHECK(same != NULL);
    }
    florence2_result_free(result);
}

int main(int argc, char **argv) {
    int threads = argc == 3 ? atoi(argv[2]) : 0;
    if (threads < 1 || threads > MOST_THREADS) {
        fprintf(stderr, "usage: suite DEMO_MODEL_FOLDER THREADS\n");
        return 2;
    }
    TAKEN(florence2_model_load_demo(NULL, &model, &error));
    TAKEN(florence2_image_from_path(in_folder(argv[1], "scenes/scene-1.png"), NULL, &image, &error));
    layouts();
    versions_and_lists();
    first_sizes();
    answers();
    batches_features_and_scores();
    fields_are_options();
    streams_stops_and_deadlines();
    zeros_are_refused();
    // Under valgrind, threads run one at a time, and a model's own threads spin for minutes.
    callbacks_call_the_library(threads > 2 ? 2 : 0);
    beams_report_tokens_at_the_end();
    refusals();
    huge_counts();
    nothing_is_fine();
    panics_are_statuses();
    freed_handles_are_known();
    loading(argv[1]);
    loading_from_memory(argv[1]);
    loading_from_several_folders(argv[1]);
    adapters_from_memory();
    loading_is_watched_and_ended();
    failures_are_of_one_request();
    pixels_answer_like_files();
    yuv_and_regions_answer_like_pixels();
    trimmed_memory_is_allocated_again();
    forks_are_refused();
    many_threads(threads);
    florence2_image_free(image);
    florence2_model_free(model);
    printf("%d checks, %d failed\n", checks, failures);
    return failures != 0;
}

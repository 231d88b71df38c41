// The C API as a C program meets it: what it answers, and what it does with what it must refuse.
// Run by tests/c/run.sh with the folder of the demo model.
#define FLORENCE2_TEST_HOOKS
#include <florence2.h>

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int checks, failures;

#define CHECK(condition)                                                              \
    do {                                                                              \
        checks++;                                                                     \
        if (!(condition)) {                                                           \
            failures++;                                                               \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);   \
        }                                                                             \
    } while (0)

// Checks a status and that the error is there, says `part`, and is freed.
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

// Every struct is laid out as the library has it.
static void layouts(void) {
#define SIZE(name) CHECK(florence2_test_layout(#name) == sizeof(name))
#define FIELD(name, field) CHECK(florence2_test_layout(#name "." #field) == offsetof(name, field))
    SIZE(florence2_load_options);
    FIELD(florence2_load_options, threads);
    SIZE(florence2_model_files);
    FIELD(florence2_model_files, weights_len);
    SIZE(florence2_pixels);
    FIELD(florence2_pixels, stride_bytes);
    FIELD(florence2_pixels, format);
    SIZE(florence2_request);
    FIELD(florence2_request, prompt);
    FIELD(florence2_request, region);
    FIELD(florence2_request, region_unit);
    SIZE(florence2_run_options);
    FIELD(florence2_run_options, top_p);
    FIELD(florence2_run_options, compat);
    FIELD(florence2_run_options, seed);
    FIELD(florence2_run_options, deadline_ms);
    FIELD(florence2_run_options, on_progress);
    FIELD(florence2_run_options, user);
    SIZE(florence2_progress);
    SIZE(florence2_point);
    SIZE(florence2_region);
    FIELD(florence2_region, kind);
    FIELD(florence2_region, location_score);
    SIZE(florence2_token);
    FIELD(florence2_token, log_prob);
    SIZE(florence2_timings);
    CHECK(florence2_test_layout("florence2_nothing") == SIZE_MAX);
}

static void versions_and_lists(void) {
    CHECK(florence2_abi_version() == FLORENCE2_ABI_VERSION);
    CHECK(strncmp(florence2_version(), "0.", 2) == 0);
    CHECK(florence2_device_count() >= 1);
    CHECK(strcmp(florence2_device_name(0), "cpu") == 0);
    CHECK(florence2_device_name(999) == NULL);
    CHECK(florence2_task_count() == 15);
    CHECK(florence2_task_token(0)[0] == '<');
    CHECK(florence2_task_token(999) == NULL);
    CHECK(strlen(florence2_status_name(FLORENCE2_STATUS_PANIC)) > 0);
    CHECK(florence2_status_name(12345) == NULL);
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
    CHECK(florence2_result_region(result, 3) == NULL);
    CHECK(florence2_result_image_width_px(result) == 192);
    CHECK(strstr(florence2_result_raw_text(result), "<loc_") != NULL);
    CHECK(strcmp(florence2_result_task(result), "<OD>") == 0);
    CHECK(florence2_result_token_ids(result)[0] == 2);
    CHECK(florence2_result_token_count(result) > 10);
    CHECK(florence2_result_finish_reason(result) == FLORENCE2_FINISH_REASON_END_OF_TEXT);
    CHECK(strstr(florence2_result_json(result), "\"schema\":1") != NULL);
    CHECK(florence2_result_timings(result)->vision_ms > 0);
    florence2_result_free(result);

    // The further sequences of a beam search, best first.
    florence2_run_options options = options_of(2);
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
    TAKEN(florence2_model_run_batch(model, requests, 2, NULL, results, &error));
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
    florence2_score_free(score);
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
    REFUSED(florence2_model_run_batch(model, &request, SIZE_MAX / 2, NULL, &result, &error), bad,
            "requests_len");
    florence2_result *results[2] = {(florence2_result *)&request, (florence2_result *)&request};
    REFUSED(florence2_model_run_batch(model, NULL, 2, NULL, results, &error), bad, "requests");
    CHECK(results[0] == NULL && results[1] == NULL);
    florence2_run_options options = options_of(1);
    options.temperature = NAN;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "temperature");
    options = options_of(1);
    options.max_new_tokens = UINT32_MAX;
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "max_new_tokens");
    options = options_of(1);
    options.generation_config = "{\"numbeams\": 3}";
    REFUSED(florence2_model_run(model, &request, &options, &result, &error), bad, "numbeams");

    florence2_image *none = NULL;
    REFUSED(florence2_image_from_path("/nowhere.png", &none, &error), FLORENCE2_STATUS_IO,
            "/nowhere.png");
    REFUSED(florence2_image_from_encoded((const uint8_t *)"no", 2, &none, &error),
            FLORENCE2_STATUS_INVALID_IMAGE, "image");
    REFUSED(florence2_image_from_encoded(NULL, 9, &none, &error), bad, "data");
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
    REFUSED(florence2_model_load("/nowhere", NULL, &other, &error), FLORENCE2_STATUS_IO,
            "/nowhere");
    CHECK(other == NULL);
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
}

static void panics_are_statuses(void) {
    REFUSED(florence2_test_panic(&error), FLORENCE2_STATUS_PANIC, "as the test asked");
    CHECK(florence2_test_panic(NULL) == FLORENCE2_STATUS_PANIC);
}

static void loading(const char *folder) {
    florence2_model *other = NULL;
    florence2_load_options load;
    florence2_load_options_init(&load, sizeof load);
    load.threads = 2;
    TAKEN(florence2_model_load(folder, &load, &other, &error));
    CHECK(strcmp(florence2_model_device(other), "cpu") == 0);
    CHECK(florence2_model_info_json(other)[0] == '{');
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

static void *run_on_thread(void *expected) {
    florence2_request request = request_of("<OD>");
    florence2_result *result = NULL;
    florence2_status status = florence2_model_run(model, &request, NULL, &result, NULL);
    int same = status == FLORENCE2_STATUS_OK &&
               strcmp(florence2_result_raw_text(result), expected) == 0;
    florence2_result_free(result);
    return same ? expected : NULL;
}

static void sixteen_threads(void) {
    florence2_request request = request_of("<OD>");
    florence2_result *result = NULL;
    TAKEN(florence2_model_run(model, &request, NULL, &result, &error));
    pthread_t threads[16];
    for (int i = 0; i < 16; i++) {
        pthread_create(&threads[i], NULL, run_on_thread, (void *)florence2_result_raw_text(result));
    }
    for (int i = 0; i < 16; i++) {
        void *same = NULL;
        pthread_join(threads[i], &same);
        CHECK(same != NULL);
    }
    florence2_result_free(result);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: suite DEMO_MODEL_FOLDER\n");
        return 2;
    }
    TAKEN(florence2_model_load_demo(NULL, &model, &error));
    TAKEN(florence2_image_from_path(in_folder(argv[1], "scenes/scene-1.png"), &image, &error));
    layouts();
    versions_and_lists();
    answers();
    batches_features_and_scores();
    streams_stops_and_deadlines();
    refusals();
    nothing_is_fine();
    panics_are_statuses();
    loading(argv[1]);
    sixteen_threads();
    florence2_image_free(image);
    florence2_model_free(model);
    printf("%d checks, %d failed\n", checks, failures);
    return failures != 0;
}

/* Runs the cases of cases.json with the C API: driver CASES MODEL_FOLDER. Prints one JSON object per line. */
#include <florence2.h>

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST 32

static const char *folder;
static florence2_model *model;

static void *required(void *pointer) {
    if (pointer == NULL) {
        fprintf(stderr, "driver: found nothing where something was expected\n");
        exit(1);
    }
    return pointer;
}

static char *read_file(const char *path) {
    FILE *file = required(fopen(path, "rb"));
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *text = required(calloc(size + 1, 1));
    if (fread(text, 1, size, file) != size) {
        exit(1);
    }
    fclose(file);
    return text;
}

static const char *text_of(const cJSON *object, const char *key) {
    return cJSON_GetStringValue(cJSON_GetObjectItem(object, key));
}

static cJSON *points_of(const florence2_region *region) {
    cJSON *points = cJSON_CreateArray();
    for (size_t i = 0; i < region->points_len; i++) {
        double pair[2] = {region->points[i].x_px, region->points[i].y_px};
        cJSON_AddItemToArray(points, cJSON_CreateDoubleArray(pair, 2));
    }
    return points;
}

static cJSON *answer_of(const florence2_result *result) {
    static const char *const kinds[] = {"box", "quad", "polygon"};
    cJSON *answer = cJSON_CreateObject();
    cJSON_AddStringToObject(answer, "text", florence2_result_text(result));
    cJSON_AddNumberToObject(answer, "sequence_score", florence2_result_sequence_score(result));
    cJSON *ids = cJSON_AddArrayToObject(answer, "token_ids");
    for (size_t i = 0; i < florence2_result_token_count(result); i++) {
        cJSON_AddItemToArray(ids, cJSON_CreateNumber(florence2_result_token_ids(result)[i]));
    }
    cJSON *regions = cJSON_AddArrayToObject(answer, "regions");
    for (size_t i = 0; i < florence2_result_region_count(result); i++) {
        const florence2_region *region = florence2_result_region(result, i);
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "kind", kinds[region->kind]);
        cJSON_AddStringToObject(object, "label", region->label);
        cJSON_AddItemToObject(object, "points", points_of(region));
        cJSON_AddItemToArray(regions, object);
    }
    cJSON *alternatives = cJSON_AddArrayToObject(answer, "alternatives");
    for (size_t i = 0; i < florence2_result_alternative_count(result); i++) {
        const char *text = florence2_result_text(florence2_result_alternative(result, i));
        cJSON_AddItemToArray(alternatives, cJSON_CreateString(text));
    }
    return answer;
}

/* The text and the number of tokens that the token callback received, and the number of tokens after which it stops. */
struct listener {
    char heard[4096];
    int tokens, stop_after;
};

static int32_t hear(const florence2_token *token, void *user) {
    struct listener *listener = user;
    strncat(listener->heard, token->text, sizeof listener->heard - strlen(listener->heard) - 1);
    listener->tokens++;
    return listener->tokens == listener->stop_after;
}

struct firing {
    florence2_cancel *cancel;
    int after_ms;
};

static void *fire_later(void *argument) {
    struct firing *firing = argument;
    struct timespec wait = {0, firing->after_ms * 1000000L};
    nanosleep(&wait, NULL);
    florence2_cancel_fire(firing->cancel);
    return NULL;
}

/* The handles of a request, which are freed after the run. */
struct subject {
    florence2_image *image;
    florence2_image_features *features;
};

static florence2_status fill(const cJSON *asked, bool encode_first, florence2_request *request,
                             struct subject *subject, florence2_error **error) {
    char path[512];
    snprintf(path, sizeof path, "%s/scenes/%s", folder, text_of(asked, "image"));
    florence2_request_init(request, sizeof *request);
    florence2_status status = florence2_image_from_path(path, NULL, &subject->image, error);
    if (status == FLORENCE2_STATUS_OK && encode_first) {
        status = florence2_model_encode_image(model, subject->image, NULL, &subject->features, error);
        request->image_features = subject->features;
    } else {
        request->image = subject->image;
    }
    request->task = text_of(asked, "task");
    request->prompt = text_of(asked, "prompt");
    request->input = text_of(asked, "input");
    const cJSON *region = cJSON_GetObjectItem(asked, "region");
    for (int i = 0; i < cJSON_GetArraySize(region); i++) {
        request->region[i] = cJSON_GetArrayItem(region, i)->valuedouble;
        request->region_unit = FLORENCE2_REGION_UNIT_PX;
    }
    return status;
}

static florence2_status run(const cJSON *asked, const char *call, const florence2_request *requests, size_t count,
                            cJSON *said, florence2_error **error) {
    struct listener listener = {.stop_after = -1};
    struct firing firing = {0};
    pthread_t thread;
    florence2_run_options options;
    florence2_run_options_init(&options, sizeof options);
    options.coordinates = FLORENCE2_COORDINATES_HF_INTEGERS;
    char *generation = cJSON_PrintUnformatted(cJSON_GetObjectItem(asked, "generation"));
    options.generation_config = generation;
    options.user = &listener;
    const cJSON *after = cJSON_GetObjectItem(asked, "after_ms");
    if (strcmp(call, "stream") == 0 || strcmp(call, "stop") == 0) {
        options.on_token = hear;
        const cJSON *stop = cJSON_GetObjectItem(asked, "stop_after");
        listener.stop_after = stop == NULL ? -1 : stop->valueint;
    } else if (strcmp(call, "deadline") == 0) {
        options.deadline_ms = (uint64_t)after->valueint;
    } else if (strcmp(call, "cancel") == 0) {
        florence2_cancel_new(&firing.cancel, NULL);
        firing.after_ms = after->valueint;
        options.cancel = firing.cancel;
        pthread_create(&thread, NULL, fire_later, &firing);
    }
    florence2_result *results[MOST] = {NULL};
    florence2_status status = count == 1
        ? florence2_model_run(model, requests, &options, results, error)
        : florence2_model_run_batch(model, requests, count, &options, results, NULL, error);
    if (firing.cancel != NULL) {
        pthread_join(thread, NULL);
        florence2_cancel_free(firing.cancel);
    }
    if (strcmp(call, "stream") == 0) {
        cJSON_AddStringToObject(said, "streamed", listener.heard);
    } else if (status == FLORENCE2_STATUS_OK) {
        cJSON *answers = cJSON_AddArrayToObject(said, "answers");
        for (size_t i = 0; i < count; i++) {
            cJSON_AddItemToArray(answers, answer_of(results[i]));
        }
    } else if (strcmp(call, "stop") == 0) {
        cJSON_AddNumberToObject(said, "stopped", listener.tokens);
    } else if (strcmp(call, "run") != 0) {
        cJSON_AddBoolToObject(said, "cancelled", status == FLORENCE2_STATUS_CANCELLED);
        cJSON_AddBoolToObject(said, "expired", status == FLORENCE2_STATUS_DEADLINE_EXCEEDED);
    }
    for (size_t i = 0; i < count; i++) {
        florence2_result_free(results[i]);
    }
    free(generation);
    return status;
}

static florence2_status score(const cJSON *asked, const florence2_request *request, cJSON *said,
                              florence2_error **error) {
    florence2_score *score = NULL;
    florence2_status status =
        florence2_model_score(model, request, text_of(asked, "target"), NULL, &score, error);
    cJSON_AddNumberToObject(said, "loss", florence2_score_loss(score));
    cJSON *log_probs = cJSON_AddArrayToObject(said, "log_probs");
    for (size_t i = 0; i < florence2_score_token_count(score); i++) {
        cJSON_AddItemToArray(log_probs, cJSON_CreateNumber(florence2_score_token(score, i)->log_prob));
    }
    florence2_score_free(score);
    return status;
}

static florence2_status load(const cJSON *asked, florence2_error **error) {
    florence2_load_options options;
    florence2_load_options_init(&options, sizeof options);
    options.device = text_of(asked, "device");
    const char *directory = text_of(asked, "directory");
    florence2_model *loaded = NULL;
    florence2_status status =
        florence2_model_load(directory == NULL ? folder : directory, &options, &loaded, error);
    florence2_model_free(loaded);
    return status;
}

static florence2_status ask(const cJSON *asked, const char *call, cJSON *said, florence2_error **error) {
    florence2_request requests[MOST];
    struct subject subjects[MOST] = {{NULL, NULL}};
    const cJSON *list = cJSON_GetObjectItem(asked, "requests");
    int count = cJSON_GetArraySize(list);
    florence2_status status = FLORENCE2_STATUS_OK;
    for (int i = 0; i < count && status == FLORENCE2_STATUS_OK; i++) {
        bool encode_first = cJSON_HasObjectItem(asked, "encode_first");
        status = fill(cJSON_GetArrayItem(list, i), encode_first, &requests[i], &subjects[i], error);
    }
    if (status == FLORENCE2_STATUS_OK) {
        status = strcmp(call, "score") == 0 ? score(asked, requests, said, error)
                                            : run(asked, call, requests, (size_t)count, said, error);
    }
    for (int i = 0; i < count; i++) {
        florence2_image_features_free(subjects[i].features);
        florence2_image_free(subjects[i].image);
    }
    return status;
}

int main(int argc, char **argv) {
    required(argc == 3 ? argv : NULL);
    folder = argv[2];
    florence2_model_load(folder, NULL, &model, NULL);
    required(model);
    char *text = read_file(argv[1]);
    cJSON *cases = required(cJSON_Parse(text));
    const cJSON *asked;
    cJSON_ArrayForEach(asked, cases) {
        const char *call = text_of(asked, "call");
        cJSON *said = cJSON_CreateObject();
        cJSON_AddStringToObject(said, "name", text_of(asked, "name"));
        florence2_error *error = NULL;
        florence2_status status =
            strcmp(call, "load") == 0 ? load(asked, &error) : ask(asked, call, said, &error);
        if (status != FLORENCE2_STATUS_OK) {
            cJSON_AddStringToObject(said, "error", florence2_error_message(error));
        }
        florence2_error_free(error);
        char *line = cJSON_PrintUnformatted(said);
        puts(line);
        free(line);
        cJSON_Delete(said);
    }
    cJSON_Delete(cases);
    free(text);
    florence2_model_free(model);
    return 0;
}

// Measures model loads and the smallest request with the C API. run.py runs it.
//   calls MODEL_FOLDER IMAGE LOADS RUNS
// "run" is a whole call, including the release of its result; "outside" is its time outside the model.
#include <florence2.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void expect(florence2_status status, florence2_error *error) {
    if (status != FLORENCE2_STATUS_OK) {
        fprintf(stderr, "calls: %s\n", florence2_error_message(error));
        exit(1);
    }
}

static double now_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values, size_t len) {
    qsort(values, len, sizeof *values, compare);
    return values[len / 2];
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: calls MODEL_FOLDER IMAGE LOADS RUNS\n");
        return 2;
    }
    size_t loads = strtoul(argv[3], NULL, 10), runs = strtoul(argv[4], NULL, 10);
    size_t most = loads > runs ? loads : runs;
    double *all = calloc(most, sizeof *all), *outside = calloc(most, sizeof *outside);
    if (all == NULL || outside == NULL || loads == 0 || runs == 0) {
        return 2;
    }
    florence2_model *model = NULL;
    florence2_image *image = NULL;
    florence2_image_features *features = NULL;
    florence2_error *error = NULL;
    for (size_t i = 0; i < loads; i++) {
        double started = now_us();
        expect(florence2_model_load(argv[1], NULL, &model, &error), error);
        all[i] = now_us() - started;
        florence2_model_free(model);
    }
    printf("load %f\n", median(all, loads));

    expect(florence2_model_load(argv[1], NULL, &model, &error), error);
    expect(florence2_image_from_path(argv[2], NULL, &image, &error), error);
    expect(florence2_model_encode_image(model, image, NULL, &features, &error), error);
    for (size_t i = 0; i < runs; i++) {
        double started = now_us();
        florence2_run_options options;
        florence2_run_options_init(&options, sizeof options);
        options.num_beams = 1;
        options.max_new_tokens = 1;
        florence2_request request;
        florence2_request_init(&request, sizeof request);
        request.image_features = features;
        request.task = "<CAPTION>";
        florence2_result *result = NULL;
        expect(florence2_model_run(model, &request, &options, &result, &error), error);
        double generate = florence2_result_timings(result)->generate_ms * 1e3;
        florence2_result_free(result);
        all[i] = now_us() - started;
        outside[i] = all[i] - generate;
    }
    printf("run %f\n", median(all, runs));
    printf("outside %f\n", median(outside, runs));
    florence2_image_features_free(features);
    florence2_image_free(image);
    florence2_model_free(model);
    free(all);
    free(outside);
    return 0;
}

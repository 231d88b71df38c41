// Runs the smallest request 10,000 times, and compares the memory before and after: soak IMAGE
//
// If the library uses the system's allocator, the allocated bytes show a leak. With another allocator, only the resident
// memory does; it grows in the steps in which the allocator takes memory from the system.
#include <florence2.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum { WARM = 1000, RUNS = 10000 };
// A leak of the smallest block in every run would add 312 KiB. The caches of the threads add some tens of KiB.
static const long MOST_GROWTH_KIB = 128;
static const long MOST_RESIDENT_GROWTH_KIB = 8 << 10;

static void expect(florence2_status status, florence2_error *error) {
    if (status != FLORENCE2_STATUS_OK) {
        fprintf(stderr, "soak: %s\n", florence2_error_message(error));
        exit(1);
    }
}

static long resident_kib(void) {
    char line[256];
    long kib = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "VmRSS: %ld", &kib);
    }
    if (file == NULL || kib < 0) {
        fprintf(stderr, "soak: /proc/self/status: expected a line VmRSS\n");
        exit(1);
    }
    fclose(file);
    return kib;
}

// The memory that the system's allocator has allocated.
static long allocated_kib(void) {
    struct mallinfo2 info = mallinfo2();
    return (long)((info.uordblks + info.hblkhd) >> 10);
}

int main(int argc, char **argv) {
    florence2_model *model = NULL;
    florence2_image *image = NULL;
    florence2_image_features *features = NULL;
    florence2_error *error = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: soak IMAGE\n");
        return 2;
    }
    expect(florence2_model_load_demo(NULL, &model, &error), error);
    expect(florence2_image_from_path(argv[1], NULL, &image, &error), error);
    expect(florence2_model_encode_image(model, image, NULL, &features, &error), error);

    florence2_request request;
    florence2_request_init(&request, sizeof request);
    request.image_features = features;
    request.task = "<CAPTION>";
    florence2_run_options options;
    florence2_run_options_init(&options, sizeof options);
    options.num_beams = 1;
    options.max_new_tokens = 1;
    long resident = 0, allocated = 0;
    for (int run = 0; run < WARM + RUNS; run++) {
        if (run == WARM) {
            resident = resident_kib();
            allocated = allocated_kib();
        }
        florence2_result *result = NULL;
        expect(florence2_model_run(model, &request, &options, &result, &error), error);
        if (florence2_result_json(result)[0] != '{') {
            fprintf(stderr, "soak: found no answer\n");
            return 1;
        }
        florence2_result_free(result);
    }
    long resident_after = resident_kib(), allocated_after = allocated_kib();
    florence2_image_features_free(features);
    florence2_image_free(image);
    florence2_model_free(model);
    printf("%d runs: resident %ld KiB before, %ld KiB after; of the system's allocator %ld and %ld\n", RUNS,
           resident, resident_after, allocated, allocated_after);
    return allocated_after - allocated > MOST_GROWTH_KIB ||
           resident_after - resident > MOST_RESIDENT_GROWTH_KIB;
}

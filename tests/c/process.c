// Tests the library's effects on the process, one effect per run: process trim | process simd LEVEL
#define _DEFAULT_SOURCE
#include <florence2.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
// After windows.h, whose types it uses.
#include <psapi.h>
#else
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { SIDE_PX = 64, REQUESTS = 16 };

static void expect(florence2_status status, florence2_error *error) {
    if (status != FLORENCE2_STATUS_OK) {
        fprintf(stderr, "process: %s\n", florence2_error_message(error));
        exit(1);
    }
}

#ifdef _WIN32
// The committed memory, which a DLL can free. Windows may remove pages from the resident memory at any time.
static long resident_kib(void) {
    PROCESS_MEMORY_COUNTERS counters;
    if (!GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof counters)) {
        fprintf(stderr, "process: GetProcessMemoryInfo: error %lu\n", GetLastError());
        exit(1);
    }
    return (long)(counters.PagefileUsage >> 10);
}
#else
static long resident_kib(void) {
    long pages = -1;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1) {
        fprintf(stderr, "process: /proc/self/statm: expected two numbers\n");
        exit(1);
    }
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) >> 10);
}
#endif

// Runs a batch of gray images with the model.
static void run(const florence2_model *model) {
    static uint8_t data[SIDE_PX * SIDE_PX];
    florence2_pixels pixels;
    florence2_image *images[REQUESTS];
    florence2_request requests[REQUESTS];
    florence2_result *results[REQUESTS];
    florence2_error *error = NULL;
    florence2_pixels_init(&pixels, sizeof pixels);
    pixels.data = data;
    pixels.data_len = sizeof data;
    pixels.width_px = pixels.height_px = SIDE_PX;
    pixels.format = FLORENCE2_PIXEL_FORMAT_GRAY;
    for (int i = 0; i < REQUESTS; i++) {
        expect(florence2_image_from_pixels(&pixels, &images[i], &error), error);
        florence2_request_init(&requests[i], sizeof requests[i]);
        requests[i].image = images[i];
        requests[i].task = "<OD>";
    }
    expect(florence2_model_run_batch(model, requests, REQUESTS, NULL, results, NULL, &error), error);
    for (int i = 0; i < REQUESTS; i++) {
        florence2_result_free(results[i]);
        florence2_image_free(images[i]);
    }
}

// florence2_trim returns at least half of the resident memory that a run added.
static int trim(void) {
    florence2_model *model = NULL;
    florence2_error *error = NULL;
    expect(florence2_model_load_demo(NULL, &model, &error), error);
    florence2_trim();
    long loaded = resident_kib();
    run(model);
    long kept = resident_kib();
    florence2_trim();
    long trimmed = resident_kib();
    printf("resident: %ld KiB with a model, %ld after a run, %ld after florence2_trim\n", loaded, kept, trimmed);
    run(model);
    florence2_model_free(model);
    if (kept - trimmed < (kept - loaded) / 2) {
        fprintf(stderr, "process: florence2_trim: found %ld KiB returned, expected at least half of %ld\n", kept - trimmed,
                kept - loaded);
        return 1;
    }
    return 0;
}

#ifndef _WIN32
// Returns 1 if the process has permission for the AMX tile registers, from arch_prctl(ARCH_GET_XCOMP_PERM), and else 0.
static int may_use_tiles(void) {
    enum { ARCH_GET_XCOMP_PERM = 0x1022, TILE_DATA = 18 };
    unsigned long permitted = 0;
    if (syscall(SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &permitted) != 0) {
        return 0; // Linux before 5.16 does not support this permission.
    }
    return permitted >> TILE_DATA & 1;
}

// The library requests the AMX permission only at the level "amx".
static int simd(const char *level) {
    florence2_error *error = NULL;
    florence2_status status = florence2_simd_level_set(level, &error);
    if (status == FLORENCE2_STATUS_INVALID_ARGUMENT) {
        printf("skipped: %s\n", florence2_error_message(error));
        florence2_error_free(error);
        return may_use_tiles();
    }
    expect(status, error);
    florence2_model *model = NULL;
    expect(florence2_model_load_demo(NULL, &model, &error), error);
    run(model);
    florence2_model_free(model);
    int expected = strcmp(level, "amx") == 0, found = may_use_tiles();
    printf("%s: the permission to use AMX's tiles is %s\n", level, found ? "given" : "not given");
    return found != expected;
}
#endif

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "trim") == 0) {
        return trim();
    }
#ifndef _WIN32 // The library requests no permission from Windows.
    if (argc == 3 && strcmp(argv[1], "simd") == 0) {
        return simd(argv[2]);
    }
#endif
    fprintf(stderr, "usage: process trim | process simd LEVEL\n");
    return 2;
}

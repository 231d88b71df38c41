// Measures the machine's peaks: multiply-adds and memory reads, on THREADS threads. Prints JSON.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// The vector width of the target instruction set.
#ifdef __AVX512F__
enum { LANES = 16 };
#else
enum { LANES = 8 };
#endif
typedef float vector __attribute__((vector_size(4 * LANES)));

enum { CHAINS = 12, ROUNDS = 20 * 1000 * 1000, MEGABYTES = 512, PASSES = 4 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void *multiply(void *result) {
    vector chains[CHAINS], factor, term;
    for (int lane = 0; lane < LANES; lane++) {
        factor[lane] = 0.999f + 1e-5f * lane;
        term[lane] = 1e-3f;
    }
    for (int chain = 0; chain < CHAINS; chain++) {
        chains[chain] = term * (float)chain;
    }
    for (long round = 0; round < ROUNDS; round++) {
        for (int chain = 0; chain < CHAINS; chain++) {
            chains[chain] = chains[chain] * factor + term;
        }
    }
    for (int chain = 1; chain < CHAINS; chain++) {
        chains[0] += chains[chain];
    }
    *(float *)result = chains[0][0];
    return NULL;
}

static void *read_memory(void *buffer) {
    const vector *values = buffer;
    long count = (long)MEGABYTES * 1024 * 1024 / sizeof(vector);
    vector sums[4] = {0};
    for (int pass = 0; pass < PASSES; pass++) {
        for (long i = 0; i < count; i += 4) {
            for (int part = 0; part < 4; part++) {
                sums[part] += values[i + part];
            }
        }
    }
    ((vector *)buffer)[0] = sums[0] + sums[1] + sums[2] + sums[3];
    return NULL;
}

static double on_threads(int threads, void *(*work)(void *), void **arguments) {
    pthread_t ids[64];
    double started = now();
    for (int i = 0; i < threads; i++) {
        pthread_create(&ids[i], NULL, work, arguments[i]);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
    }
    return now() - started;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    if (threads < 1 || threads > 64) {
        fprintf(stderr, "usage: peaks THREADS, from 1 to 64\n");
        return 2;
    }
    void *buffers[64];
    for (int i = 0; i < threads; i++) {
        buffers[i] = aligned_alloc(64, (size_t)MEGABYTES * 1024 * 1024);
        memset(buffers[i], 0, (size_t)MEGABYTES * 1024 * 1024);
    }
    double reading = on_threads(threads, read_memory, buffers);
    double multiplying = on_threads(threads, multiply, buffers);
    double bytes = (double)MEGABYTES * 1024 * 1024 * PASSES * threads;
    double operations = 2.0 * LANES * CHAINS * (double)ROUNDS * threads;
    printf("{\"threads\": %d, \"f32_gflops\": %.1f, \"read_gb_per_s\": %.1f}\n", threads,
           operations / multiplying / 1e9, bytes / reading / 1e9);
    return 0;
}

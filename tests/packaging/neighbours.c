// A program that links the static libflorence2, another Rust library, and its own functions with mimalloc's names.
#include <florence2.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

bool neighbour_catches(void);

static int calls;

void *mi_malloc(size_t size) {
    calls++;
    return malloc(size);
}

void mi_free(void *pointer) {
    calls++;
    free(pointer);
}

int main(void) {
    florence2_model *model = NULL;
    if (florence2_model_load_demo(NULL, &model, NULL) != FLORENCE2_STATUS_OK) {
        fprintf(stderr, "the demo model was not loaded\n");
        return 1;
    }
    florence2_model_free(model);
    if (calls != 0 || !neighbour_catches()) {
        fprintf(stderr, "found %d calls of the program's allocator, expected 0\n", calls);
        return 1;
    }
    mi_free(mi_malloc(1));
    printf("the static library shares no symbol with its neighbours\n");
    return 0;
}

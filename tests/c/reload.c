// Loads the library at run time, closes it while the threads of its thread pool run, and loads it again: reload LIBRARY
#include <florence2.h>

#include <stdio.h>
#include <stdlib.h>

#ifdef _WIN32
#include <windows.h>

// The functions of dlfcn.h.
enum { RTLD_NOW, RTLD_LOCAL = 0, RTLD_NOLOAD };

static void *dlopen(const char *name, int mode) {
    HMODULE module = NULL;
    if (mode == RTLD_NOLOAD) {
        GetModuleHandleExA(0, name, &module);
    } else {
        module = LoadLibraryA(name);
    }
    return module;
}

static void *dlsym(void *library, const char *name) {
    FARPROC found = GetProcAddress(library, name);
    return *(void **)&found;
}

static int dlclose(void *library) {
    return !FreeLibrary(library);
}

static const char *dlerror(void) {
    static char message[32];
    snprintf(message, sizeof message, "error %lu", GetLastError());
    return message;
}
#else
#include <dlfcn.h>
#endif

typedef florence2_status (*load_demo)(const florence2_load_options *, florence2_model **, florence2_error **);
typedef void (*free_model)(florence2_model *);

static void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "reload: %s\n", dlerror());
        exit(1);
    }
    return found;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: reload LIBRARY\n");
        return 2;
    }
    for (int round = 0; round < 3; round++) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) {
            fprintf(stderr, "reload: %s\n", dlerror());
            return 1;
        }
        load_demo load;
        free_model unload;
        // ISO C does not define the conversion of an object pointer to a function pointer.
        *(void **)&load = symbol(library, "florence2_model_load_demo");
        *(void **)&unload = symbol(library, "florence2_model_free");
        florence2_model *model = NULL;
        if (load(NULL, &model, NULL) != FLORENCE2_STATUS_OK) {
            fprintf(stderr, "reload: round %d: the demo model was not loaded\n", round);
            return 1;
        }
        unload(model);
        dlclose(library);
        void *kept = dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD);
        if (kept == NULL) {
            fprintf(stderr, "reload: the library was unloaded, under its threads\n");
            return 1;
        }
        dlclose(kept);
    }
    printf("the library stays loaded after dlclose\n");
    return 0;
}

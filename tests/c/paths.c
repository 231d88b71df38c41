// Loads a model and an image from folders whose paths have spaces and characters of several scripts, and from a path of
// more than 260 characters: paths MODEL_FOLDER EMPTY_FOLDER. Paths are UTF-8 on all systems.
#include <florence2.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096, LONG_PATH = 400 };

#ifdef _WIN32
#include <direct.h>
#include <wchar.h>
#include <windows.h>

// The path in UTF-16, in the form that may be longer than 260 characters.
static const wchar_t *wide(const char *path) {
    static wchar_t full[PATH_BYTES + 4], text[PATH_BYTES];
    if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, text, PATH_BYTES) == 0) {
        fprintf(stderr, "paths: %s: found text that is not UTF-8\n", path);
        exit(1);
    }
    wcscpy(full, L"\\\\?\\");
    GetFullPathNameW(text, PATH_BYTES, full + 4, NULL);
    return full;
}

static FILE *open_file(const char *path, int to_write) {
    return _wfopen(wide(path), to_write ? L"wb" : L"rb");
}

static int make_folder(const char *path) {
    return _wmkdir(wide(path));
}
#else
#include <sys/stat.h>

static FILE *open_file(const char *path, int to_write) {
    return fopen(path, to_write ? "wb" : "rb");
}

static int make_folder(const char *path) {
    return mkdir(path, 0777);
}
#endif

static void fail(const char *path, const char *reason) {
    fprintf(stderr, "paths: %s: %s\n", path, reason);
    exit(1);
}

static void make(const char *path) {
    if (make_folder(path) != 0) {
        fail(path, "the folder cannot be made");
    }
}

static void join(char *path, const char *folder, const char *name) {
    snprintf(path, PATH_BYTES, "%s/%s", folder, name);
}

static void copy(const char *from_folder, const char *name, const char *folder, const char *new_name) {
    static char buffer[1 << 16], from[PATH_BYTES], to[PATH_BYTES];
    join(from, from_folder, name);
    join(to, folder, new_name);
    FILE *input = open_file(from, 0), *output = open_file(to, 1);
    if (input == NULL || output == NULL) {
        fail(input == NULL ? from : to, "cannot be opened");
    }
    for (size_t count; (count = fread(buffer, 1, sizeof buffer, input)) > 0;) {
        if (fwrite(buffer, 1, count, output) != count) {
            fail(to, "cannot be written");
        }
    }
    fclose(input);
    if (fclose(output) != 0) {
        fail(to, "cannot be written");
    }
}

static void expect(florence2_status status, const char *path, florence2_error *error) {
    if (status != FLORENCE2_STATUS_OK) {
        fail(path, florence2_error_message(error));
    }
}

// Copies the model and a scene to the folder, and detects the three objects of the scene.
static void answer_in(const char *model_folder, const char *folder) {
    static const char *const files[] = {"config.json", "generation_config.json", "preprocessor_config.json",
                                        "tokenizer.json", "model.safetensors"};
    static const char scene[] = "scène 図 🦊.png";
    char path[PATH_BYTES];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        copy(model_folder, files[i], folder, files[i]);
    }
    copy(model_folder, "scenes/scene-1.png", folder, scene);
    join(path, folder, scene);
    florence2_model *model = NULL;
    florence2_image *image = NULL;
    florence2_result *result = NULL;
    florence2_error *error = NULL;
    expect(florence2_model_load(folder, NULL, &model, &error), folder, error);
    expect(florence2_image_from_path(path, NULL, &image, &error), path, error);
    florence2_request request;
    florence2_request_init(&request, sizeof request);
    request.image = image;
    request.task = "<OD>";
    expect(florence2_model_run(model, &request, NULL, &result, &error), path, error);
    if (florence2_result_region_count(result) != 3) {
        fail(path, "expected three regions");
    }
    if (strstr(florence2_result_json(result), scene) == NULL) {
        fail(florence2_result_json(result), "expected the image's path");
    }
    florence2_result_free(result);
    florence2_image_free(image);
    florence2_model_free(model);

    // The error of a missing file has its path.
    join(path, folder, "ничего.png");
    if (florence2_image_from_path(path, NULL, &image, &error) != FLORENCE2_STATUS_IO ||
        strstr(florence2_error_message(error), path) == NULL) {
        fail(path, "expected an error with the path");
    }
    florence2_error_free(error);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: paths MODEL_FOLDER EMPTY_FOLDER\n");
        return 2;
    }
    char folder[PATH_BYTES], deeper[PATH_BYTES];
    join(folder, argv[2], "model of Jürgen, 模型, модель 🦊");
    make(folder);
    answer_in(argv[1], folder);
    while (strlen(folder) < LONG_PATH) {
        join(deeper, folder, "a folder with a name of fifty characters, at most 50");
        strcpy(folder, deeper);
        make(folder);
    }
    answer_in(argv[1], folder);
    printf("models and images are read from paths of any script and of %d bytes\n", (int)strlen(folder));
    return 0;
}

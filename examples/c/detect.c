// Finds objects in an image:   detect IMAGE [MODEL_FOLDER]
#include <florence2.h>
#include <stdio.h>

static int fail(florence2_error *error) {
    fprintf(stderr, "detect: %s\n", florence2_error_message(error));
    florence2_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 2 || florence2_abi_version() != FLORENCE2_ABI_VERSION) {
        fprintf(stderr, "usage: detect IMAGE [MODEL_FOLDER], with libflorence2 of ABI %u\n",
                (unsigned)FLORENCE2_ABI_VERSION);
        return 2;
    }
    florence2_model *model = NULL;
    florence2_image *image = NULL;
    florence2_result *result = NULL;
    florence2_error *error = NULL;

    florence2_status status = argc > 2 ? florence2_model_load(argv[2], NULL, &model, &error)
                                       : florence2_model_load_demo(NULL, &model, &error);
    if (status == FLORENCE2_STATUS_OK) {
        status = florence2_image_from_path(argv[1], NULL, &image, &error);
    }
    if (status == FLORENCE2_STATUS_OK) {
        florence2_request request;
        florence2_request_init(&request, sizeof request);
        request.image = image;
        request.task = "<OD>";
        status = florence2_model_run(model, &request, NULL, &result, &error);
    }
    for (size_t i = 0; i < florence2_result_region_count(result); i++) {
        const florence2_region *region = florence2_result_region(result, i);
        const florence2_point *corners = region->points;
        printf("%3.0f %%  %-20s (%.0f, %.0f) (%.0f, %.0f)\n", 100 * region->score, region->label,
               corners[0].x_px, corners[0].y_px, corners[1].x_px, corners[1].y_px);
    }
    florence2_result_free(result);
    florence2_image_free(image);
    florence2_model_free(model);
    return status == FLORENCE2_STATUS_OK ? 0 : fail(error);
}

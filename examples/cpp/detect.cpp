// Finds objects in an image:   detect IMAGE [MODEL_FOLDER]
#include <florence2.hpp>

#include <cstdio>

int main(int argc, char **argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: detect IMAGE [MODEL_FOLDER]\n");
        return 2;
    }
    try {
        auto model = argc > 2 ? florence2::model::load(argv[2]) : florence2::model::demo();
        auto image = florence2::image::from_path(argv[1]);
        for (const auto &region : model.run({image, "<OD>"}).regions) {
            std::printf("%3.0f %%  %-20s (%.0f, %.0f) (%.0f, %.0f)\n", 100 * region.score->overall,
                        region.label.c_str(), region.points[0].x_px, region.points[0].y_px,
                        region.points[1].x_px, region.points[1].y_px);
        }
    } catch (const florence2::error &error) {
        std::fprintf(stderr, "detect: %s\n", error.what());
        return 1;
    }
    return 0;
}

// Tests the C++ header with the demo model. tests/c/run.sh runs it with the model's folder as argument.
#include <florence2.hpp>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <thread>
#include <type_traits>

static int checks, failures;

#define CHECK(condition)                                                               \
    do {                                                                               \
        checks++;                                                                      \
        if (!(condition)) {                                                            \
            failures++;                                                                \
            std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
        }                                                                              \
    } while (0)

static_assert(std::is_move_constructible_v<florence2::model>);
static_assert(!std::is_copy_constructible_v<florence2::model>);
static_assert(!std::is_copy_constructible_v<florence2::image>);
static_assert(std::is_copy_constructible_v<florence2::result>);

template <typename Run> static void refused(florence2_status status, Run run) {
    try {
        run();
        CHECK(!"it is refused");
    } catch (const florence2::error &error) {
        CHECK(error.status() == status);
        CHECK(error.what()[0] != '\0');
    }
}

static void answers(const florence2::model &model, const florence2::image &image) {
    auto result = model.run({image, "<OD>"});
    CHECK(result.regions.size() == 3);
    CHECK(result.regions.at(0).label == "white circle");
    CHECK(std::fabs(result.regions.at(0).points.at(0).x_px - 31.392) < 1e-3);
    CHECK(result.task == "<OD>" && result.token_ids.at(0) == 2);
    CHECK(result.token_ids.size() == result.token_log_probs.size());
    CHECK(result.json.find("\"schema\":1") != std::string::npos);

    auto features = model.encode_image(image);
    florence2::request region(features, "<REGION_TO_CATEGORY>");
    region.region_px = {30, 30, 104, 104};
    auto together = model.run_batch({{image, "<CAPTION>"}, region});
    CHECK(together.at(0).raw_text == model.run({features, "<CAPTION>"}).raw_text);
    CHECK(together.at(1).raw_text == model.run(region).raw_text);
    auto score = model.score({image, "<CAPTION>"}, "a white circle");
    double sum = 0;
    for (const auto &token : score.tokens) {
        sum += token.log_prob;
    }
    CHECK(std::fabs(score.loss + sum / double(score.tokens.size())) < 1e-4);

    florence2::run_options options;
    options.native.num_beams = 3;
    options.generation_config = "{\"num_return_sequences\": 2}";
    CHECK(model.run({image, "<CAPTION>"}, options).alternatives.size() == 1);
}

static void callbacks(const florence2::model &model, const florence2::image &image) {
    florence2::run_options options;
    options.native.num_beams = 1;
    std::string heard;
    int steps = 0;
    options.on_token = [&](const florence2_token &token) {
        heard += token.text;
        return true;
    };
    options.on_progress = [&](const florence2_progress &) { return ++steps > 0; };
    auto result = model.run({image, "<CAPTION>"}, options);
    CHECK(heard.find(result.text) != std::string::npos && steps > 2);
    options.on_token = [](const florence2_token &) { return false; };
    refused(FLORENCE2_STATUS_CANCELLED, [&] { model.run({image, "<CAPTION>"}, options); });
    options.on_token = [](const florence2_token &) -> bool { throw std::out_of_range("mine"); };
    try {
        model.run({image, "<CAPTION>"}, options);
        CHECK(!"it throws");
    } catch (const std::out_of_range &error) {
        CHECK(std::string(error.what()) == "mine");
    }
    // The C callbacks receive the caller's `user` pointer, with and without a C++ callback.
    struct counts {
        int tokens = 0, steps = 0;
    } counted;
    options = {};
    options.native.num_beams = 1;
    options.native.user = &counted;
    options.native.on_token = [](const florence2_token *token, void *user) -> std::int32_t {
        static_cast<counts *>(user)->tokens += token->text != nullptr;
        return 0;
    };
    model.run({image, "<CAPTION>"}, options);
    int tokens = counted.tokens;
    CHECK(tokens > 2 && counted.steps == 0);
    options.native.on_progress = [](const florence2_progress *, void *user) -> std::int32_t {
        static_cast<counts *>(user)->steps++;
        return 0;
    };
    int heard_tokens = 0;
    options.on_token = [&](const florence2_token &) { return ++heard_tokens > 0; };
    model.run({image, "<CAPTION>"}, options);
    CHECK(counted.tokens == tokens && heard_tokens == tokens && counted.steps > 2);
    CHECK(options.native.user == &counted);
    options.on_token = nullptr;
    options.native.on_token = [](const florence2_token *, void *) -> std::int32_t { return 1; };
    refused(FLORENCE2_STATUS_CANCELLED, [&] { model.run({image, "<CAPTION>"}, options); });
    options.native.on_token = [](const florence2_token *, void *) -> std::int32_t { throw std::out_of_range("mine"); };
    try {
        model.run({image, "<CAPTION>"}, options);
        CHECK(!"it throws");
    } catch (const std::out_of_range &) {
    }
    // In a batch, the first exception from a callback ends the run and is rethrown.
    int calls = 0;
    options.on_token = [&](const florence2_token &) -> bool { throw ++calls; };
    try {
        model.run_batch({{image, "<CAPTION>"}, {image, "<OD>"}}, options);
        CHECK(!"it throws");
    } catch (int first) {
        CHECK(first == 1 && calls == 1);
    }
    florence2::cancel cancel;
    cancel.fire();
    options = {};
    options.cancelled_by = &cancel;
    refused(FLORENCE2_STATUS_CANCELLED, [&] { model.run({image, "<CAPTION>"}, options); });
}

/// A function that returns a status of a later version of the library.
static florence2_status later(florence2_error **error) {
    *error = nullptr;
    return florence2_status(99);
}

static void moved_and_later(florence2::model model, florence2::image image) {
    auto taken = std::move(image);
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, [&] { model.run({image, "<OD>"}); });
    CHECK(image.width_px() == 0 && taken.width_px() == 192);
    auto other = std::move(model);
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, [&] { model.run({taken, "<OD>"}); });
    CHECK(model.device().empty() && !other.device().empty());
    refused(florence2_status(99), [] { florence2::detail::call(later); });
}

int main(int argc, char **argv) {
    if (argc != 2) {
        return 2;
    }
    std::string folder = argv[1], scene = folder + "/scenes/scene-1.png";
    auto model = florence2::model::demo();
    auto image = florence2::image::from_path(scene);
    CHECK(image.width_px() == 192 && image.height_px() == 192);
    CHECK(florence2::devices().at(0) == model.device());
    answers(model, image);
    callbacks(model, image);
    moved_and_later(florence2::model::demo(), florence2::image::from_path(scene));

    std::ifstream file(scene, std::ios::binary);
    std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    auto data = reinterpret_cast<const std::uint8_t *>(bytes.data());
    auto encoded = florence2::image::from_encoded(data, bytes.size());
    florence2::load_options options;
    options.threads = 2;
    auto loaded = florence2::model::load(folder, options);
    auto moved = std::move(loaded);
    CHECK(moved.run({encoded, "<OD>"}).token_ids == model.run({image, "<OD>"}).token_ids);
    std::vector<std::uint8_t> gray(4, 9);
    auto pixels = florence2::image::from_pixels(gray.data(), 4, 2, 2, florence2_pixel_format(FLORENCE2_PIXEL_FORMAT_GRAY));
    CHECK(pixels.width_px() == 2);

    refused(FLORENCE2_STATUS_IO, [] { florence2::image::from_path("/nowhere.png"); });
    refused(FLORENCE2_STATUS_IO, [] { florence2::model::load("/nowhere"); });
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, [&] { model.run({image, "<NOTHING>"}); });
    options.dtype = "f99";
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, [&] { florence2::model::demo(options); });
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, [&] { florence2::set_simd_level("abacus"); });
    CHECK(florence2::system_info().find(florence2::version()) != std::string::npos);
    CHECK(model.warnings().empty());
    florence2::trim();
    options = {};
    options.device = "abacus";
    refused(FLORENCE2_STATUS_UNSUPPORTED_DEVICE, [&] { florence2::model::demo(options); });
    const std::string nul("a\0b", 3);
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, [&] { florence2::image::from_path(nul); });
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, [&] { florence2::model::load(nul); });
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, [&] { model.run({image, nul}); });
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, [&] { model.score({image, "<OD>"}, nul); });

    auto expected = model.run({image, "<OD>"}).raw_text;
    std::vector<std::string> found(8);
    std::vector<std::thread> threads;
    for (auto &text : found) {
        threads.emplace_back([&] { text = model.run({image, "<OD>"}).raw_text; });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    for (const auto &text : found) {
        CHECK(text == expected);
    }
    std::printf("%d checks, %d failed\n", checks, failures);
    return failures != 0;
}

// Tests of the C++ header with the demo model: suite MODEL_FOLDER
#include <florence2.hpp>

#include "../c/florence2_test_hooks.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <new>
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

/// The number of allocations until one fails; negative if none fails.
static thread_local long allocations_left = -1;

// GCC does not see that malloc and free below belong together.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

void *operator new(std::size_t size) {
    if (allocations_left == 0) {
        throw std::bad_alloc();
    }
    allocations_left -= allocations_left > 0;
    void *memory = std::malloc(size == 0 ? 1 : size);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }

static_assert(std::is_move_constructible_v<florence2::model>);
static_assert(!std::is_copy_constructible_v<florence2::model>);
static_assert(!std::is_copy_constructible_v<florence2::image>);
static_assert(std::is_copy_constructible_v<florence2::result>);

static void is_error(const florence2::error &error, florence2_status status, const char *part) {
    CHECK(error.status() == status);
    if (error.what()[0] == '\0' || std::string(error.what()).find(part) == std::string::npos) {
        std::fprintf(stderr, "found `%s`, expected `%s` in it\n", error.what(), part);
        CHECK(!"the message names it");
    }
}

/// Checks that a call fails with a status, and with a message that contains `part`.
template <typename Run> static void refused(florence2_status status, const char *part, Run run) {
    try {
        run();
        CHECK(!"it is refused");
    } catch (const florence2::error &error) {
        is_error(error, status, part);
    }
}

template <typename Run> static void refused(florence2_status status, Run run) { refused(status, "", run); }

static std::string contents(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    CHECK(file.good());
    return {std::istreambuf_iterator<char>(file), {}};
}

static const std::uint8_t *bytes(const std::string &text) {
    return reinterpret_cast<const std::uint8_t *>(text.data());
}

/// The file of a model, whose contents the caller keeps.
static florence2::file file_of(const char *name, const std::string &data) {
    return {name, bytes(data), data.size()};
}

static void answers(const florence2::model &model, const florence2::image &image) {
    auto result = model.run({image, "<OD>"});
    CHECK(result.regions.size() == 3);
    CHECK(result.regions.at(0).label == "white circle");
    CHECK(std::fabs(result.regions.at(0).points.at(0).x_px - 31.392) < 1e-3);
    CHECK(result.task == "<OD>" && result.token_ids.at(0) == 2);
    CHECK(result.token_ids.size() == result.token_log_probs.size());
    CHECK(result.json().find("\"schema\":2") != std::string::npos);
    CHECK(florence2::result().json().empty());
    CHECK(result.image_width_px == 192 && result.image_height_px == 192);
    CHECK(result.finish_reason == FLORENCE2_FINISH_REASON_END_OF_TEXT);
    CHECK(result.timings.vision_ms > 0 && result.timings.generate_ms > 0);
    CHECK(result.score > 0.5f && result.sequence_score < 0);
    const auto &found = result.regions.at(0);
    CHECK(found.score && found.score->label && found.score->overall > 0.5f);
    CHECK(std::fabs(found.score->overall - *found.score->label * found.score->locations) < 1e-5);
    CHECK(found.bounding_box().at(0) == found.points.at(0).x_px && found.bounding_box().at(3) == found.points.at(1).y_px);
    const auto proposal = model.run({image, "<REGION_PROPOSAL>"});
    for (const auto &box : proposal.regions) {
        CHECK(box.score && !box.score->label);
    }

    auto features = model.encode_image(image);
    florence2::request region(features, "<REGION_TO_CATEGORY>", florence2::box_px{30, 30, 104, 104});
    auto together = model.run_batch({{image, "<CAPTION>"}, region});
    CHECK(together.at(0).value().raw_text == model.run({features, "<CAPTION>"}).raw_text);
    CHECK(together.at(1).value().raw_text == model.run(region).raw_text);
    region.input = florence2::box_fractions{30 / 192.0, 30 / 192.0, 104 / 192.0, 104 / 192.0};
    CHECK(model.run(region).raw_text == together.at(1).value().raw_text);
    region.input = florence2::box_fractions{30, 30, 104, 104};
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, [&] { model.run(region); });
    region.input = {};
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, [&] { model.run(region); });
    auto score = model.score({image, "<CAPTION>"}, "a white circle");
    double sum = 0;
    for (const auto &token : score.tokens) {
        sum += token.log_prob;
    }
    CHECK(std::fabs(score.loss + sum / double(score.tokens.size())) < 1e-4);
    CHECK(score.json().find("\"loss\"") != std::string::npos);

    florence2::run_options options;
    options.generation.num_beams = 3;
    options.generation_config = "{\"num_return_sequences\": 2}";
    auto several = model.run({image, "<CAPTION>"}, options);
    CHECK(several.alternatives.size() == 1);
    // An alternative and its JSON exist without the result.
    const florence2::result alternative = several.alternatives.at(0);
    several = {};
    CHECK(alternative.json().find(alternative.raw_text.substr(3, 8)) != std::string::npos);

    florence2::request prompt(image, "");
    prompt.prompt = "<OD>";
    CHECK(model.run(prompt).token_ids == result.token_ids);
    CHECK(model.token_id("</s>") == 2);
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "nonsense", [&] { model.token_id("nonsense"); });
    CHECK(model.info_json().find("\"vocab_size\"") != std::string::npos);
}

static void tasks_are_described() {
    const auto tasks = florence2::tasks();
    CHECK(tasks.size() == 15);
    for (const auto &task : tasks) {
        CHECK(task.token.front() == '<' && task.input != FLORENCE2_TASK_INPUT_UNKNOWN);
    }
    const auto task = florence2::describe_task("region-to-segmentation");
    CHECK(task.input == FLORENCE2_TASK_INPUT_REGION);
    CHECK(task.post_processing_type == FLORENCE2_POST_PROCESSING_TYPE_POLYGONS);
    CHECK(florence2::describe_task("<NOTHING>").input == FLORENCE2_TASK_INPUT_UNKNOWN);
}

/// The typed options have the effects of those of the C API.
static void run_options_are_typed(const florence2::model &model, const florence2::image &image) {
    florence2::run_options options;
    options.coordinates = florence2::coordinates::hf_integers;
    const auto exact = model.run({image, "<OD>"}), integers = model.run({image, "<OD>"}, options);
    for (std::size_t index = 0; index < exact.regions.size(); index++) {
        const auto &left = exact.regions.at(index).points.at(0), &right = integers.regions.at(index).points.at(0);
        CHECK(right.x_px == std::floor(left.x_px) && right.y_px == std::floor(left.y_px));
    }
    options = {};
    float previous = -1;
    for (std::uint32_t bins : {0u, 3u, 1000u, 4000000000u}) {
        options.location_tolerance = bins;
        const float locations = model.run({image, "<OD>"}, options).regions.at(0).score->locations;
        CHECK(locations >= previous && locations <= 1.001f);
        previous = locations;
    }
    CHECK(previous > 0.999f);
    options.location_tolerance = 50;
    CHECK(model.run({image, "<OD>"}, options).regions.at(0).score->locations == exact.regions.at(0).score->locations);
    options = {};
    options.generation.num_beams = 4;
    options.generation.min_new_tokens = options.generation.max_new_tokens = 900;
    options.timeout = std::chrono::seconds(0);
    refused(FLORENCE2_STATUS_DEADLINE_EXCEEDED, [&] { model.run({image, "<OD>"}, options); });
    options.timeout = std::chrono::milliseconds(2);
    refused(FLORENCE2_STATUS_DEADLINE_EXCEEDED, [&] { model.run({image, "<OD>"}, options); });
    options = {};
    options.timeout = std::chrono::minutes(5);
    CHECK(model.run({image, "<OD>"}, options).regions.size() == 3);
}

static void messages_are_logged() {
    std::vector<std::string> messages;
    florence2::set_log(
        [&](florence2_log_level level, std::string_view target, std::string_view message) {
            CHECK(level != FLORENCE2_LOG_LEVEL_OFF && target.substr(0, 9) == "florence2");
            messages.emplace_back(message);
            refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "callback", [] { florence2::set_log({}); });
            throw std::out_of_range("dropped");
        },
        FLORENCE2_LOG_LEVEL_DEBUG);
    refused(FLORENCE2_STATUS_IO, [] { florence2::image::from_path("/nowhere.png"); });
    const std::size_t logged = messages.size();
    CHECK(logged > 0 && messages.back().find("/nowhere.png") != std::string::npos);
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, [&] {
        florence2::set_log([](florence2_log_level, std::string_view, std::string_view) {}, florence2_log_level(9));
    });
    florence2::set_log({});
    refused(FLORENCE2_STATUS_IO, [] { florence2::image::from_path("/nowhere.png"); });
    CHECK(messages.size() == logged + 1); // that of the refused level
}

/// Fails each allocation of a call in turn, until it needs no more. No handle remains.
template <typename Call> static void frees_what_it_made(Call call) {
    const std::size_t live = florence2_test_live_handles();
    long failed = 0;
    for (bool complete = false; !complete; failed += !complete) {
        allocations_left = failed;
        try {
            call();
            complete = true;
        } catch (const std::bad_alloc &) {
        }
        allocations_left = -1;
        if (florence2_test_live_handles() != live) {
            std::fprintf(stderr, "after allocation %ld: %zu handles\n", failed, florence2_test_live_handles() - live);
            CHECK(!"all handles are freed");
            return;
        }
    }
    CHECK(failed > 0);
}

static void nothing_leaks(const florence2::model &model, const florence2::image &image, const std::string &scene) {
    const auto features = model.encode_image(image);
    const std::vector<florence2::request> requests = {{features, "<OD>"},
                                                      {features, "<NOTHING>"},
                                                      {features, "<OD>", std::string("a\0b", 3)},
                                                      {features, "<CAPTION>"}};
    florence2::run_options several;
    several.generation.num_beams = 2;
    several.generation.num_return_sequences = 2;
    several.generation.bad_words_ids = {{4, 5}};
    several.generation.stop_strings = {"nothing"};
    florence2::load_options loading;
    loading.adapters = {"/a/folder/that/does/not/exist"};
    std::string text;
    several.on_token = [&](const florence2_token &token) {
        text = std::string("the text of a token: ") + token.text;
        return true;
    };
    frees_what_it_made([&] { CHECK(!model.run(requests[0], several).json().empty()); });
    frees_what_it_made([&] { CHECK(model.run_batch(requests, several).size() == requests.size()); });
    frees_what_it_made([&] { CHECK(!model.score(requests[3], "a white circle").json().empty()); });
    frees_what_it_made([&] {
        try {
            model.run(requests[1], several);
        } catch (const florence2::error &) {
        }
    });
    frees_what_it_made([&] {
        const std::string path = scene + std::string(40, ' ');
        try {
            florence2::image::from_path(path);
        } catch (const florence2::error &) {
        }
        const auto decoded = florence2::image::from_path(scene);
        const auto encoded = model.encode_image(decoded);
        const florence2::cancel cancel;
    });
    frees_what_it_made([&] {
        try {
            florence2::model::load("/nowhere", loading);
        } catch (const florence2::error &) {
        }
        florence2::model::demo().warnings();
        florence2::tasks();
    });
}

// Each option has the effect of its key in generation_config.
static void generation_options(const florence2::model &model, const florence2::image &image) {
    const florence2::image_features features = model.encode_image(image);
    const auto run = [&](const florence2::run_options &options) {
        const auto result = model.run({features, "<CAPTION>"}, options);
        return result.raw_text + std::to_string(result.sequence_score) + std::to_string(result.alternatives.size());
    };
    florence2::run_options fields, json;
    const std::string plain = run(fields);
    const auto same = [&](const char *text) {
        json.generation_config = text;
        const std::string found = run(fields);
        CHECK(found == run(json) && found != plain);
        fields.generation = {};
    };
    fields.generation.num_beams = 3;
    fields.generation.num_return_sequences = 2;
    fields.generation.length_penalty = 0.0f;
    fields.generation.early_stopping = florence2::early_stopping::never;
    same(R"({"num_beams": 3, "num_return_sequences": 2, "length_penalty": 0, "early_stopping": "never"})");
    fields.generation.num_beams = 1;
    fields.generation.do_sample = true;
    fields.generation.top_k = 0;
    fields.generation.temperature = 8.0f;
    fields.generation.seed = 7;
    same(R"({"num_beams": 1, "do_sample": true, "top_k": 0, "temperature": 8, "seed": 7})");
    fields.generation.eos_token_id.emplace();
    fields.generation.max_new_tokens = 30;
    same(R"({"eos_token_id": [], "max_new_tokens": 30})");
    fields.generation.suppress_tokens = {68};
    fields.generation.bad_words_ids = {{373}, {324, 15}};
    fields.generation.sequence_bias = {{{365}, -5.0f}};
    same(R"({"suppress_tokens": [68], "bad_words_ids": [[373], [324, 15]], "sequence_bias": [[[365], -5]]})");
    fields.generation.stop_strings = {"white"};
    same(R"({"stop_strings": ["white"]})");
    fields.generation.exponential_decay_length_penalty = florence2::exponential_decay{1, 4.0};
    same(R"({"exponential_decay_length_penalty": [1, 4]})");
    fields.generation.num_beams = 0;
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "num_beams", [&] { run(fields); });
}

static void callbacks(const florence2::model &model, const florence2::image &image) {
    florence2::run_options options;
    options.generation.num_beams = 1;
    std::string streamed;
    int steps = 0;
    options.on_token = [&](const florence2_token &token) {
        streamed += token.text;
        return true;
    };
    options.on_progress = [&](const florence2_progress &) { return ++steps > 0; };
    auto result = model.run({image, "<CAPTION>"}, options);
    CHECK(streamed.find(result.text) != std::string::npos && steps > 2);
    options.on_token = [](const florence2_token &) { return false; };
    refused(FLORENCE2_STATUS_CANCELLED, [&] { model.run({image, "<CAPTION>"}, options); });
    options.on_token = [](const florence2_token &) -> bool { throw std::out_of_range("mine"); };
    try {
        model.run({image, "<CAPTION>"}, options);
        CHECK(!"it throws");
    } catch (const std::out_of_range &error) {
        CHECK(std::string(error.what()) == "mine");
    }
    // A callback may run the model.
    options = {};
    options.generation.num_beams = 1;
    std::string within;
    options.on_token = [&](const florence2_token &) {
        if (within.empty()) {
            within = model.run({image, "<OD>"}).raw_text;
        }
        return true;
    };
    CHECK(model.run({image, "<CAPTION>"}, options).raw_text == result.raw_text);
    CHECK(within == model.run({image, "<OD>"}).raw_text);
    // The first exception from a callback ends a batch and is rethrown.
    int calls = 0;
    options.on_token = [&](const florence2_token &) -> bool { throw ++calls; };
    try {
        model.run_batch({{image, "<CAPTION>"}, {image, "<OD>"}}, options);
        CHECK(!"it throws");
    } catch (int first) {
        CHECK(first == 1 && calls == 1);
    }
    florence2::cancel cancel;
    CHECK(!cancel.is_fired());
    cancel.fire();
    CHECK(cancel.is_fired());
    options = {};
    options.cancel = &cancel;
    refused(FLORENCE2_STATUS_CANCELLED, [&] { model.run({image, "<CAPTION>"}, options); });
}

/// Returns a status that the header does not know.
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

/// Whether two results have the same tokens, with the same probabilities.
static bool same(const florence2::result &left, const florence2::result &right) {
    return left.token_ids == right.token_ids && left.token_log_probs == right.token_log_probs;
}

static const char *const nowhere = "/nowhere";

static void loads_from_memory(const florence2::model &model, const florence2::image &image,
                              const std::string &folder) {
    static const char *const names[] = {"config.json", "preprocessor_config.json", "tokenizer.json",
                                        "model.safetensors"};
    std::vector<std::string> data;
    for (const char *name : names) {
        data.push_back(contents(folder + "/" + name));
    }
    std::vector<florence2::file> files;
    for (std::size_t index = 0; index < data.size(); index++) {
        refused(FLORENCE2_STATUS_IO, names[index], [&] { florence2::model::load_memory(files); });
        files.push_back(file_of(names[index], data[index]));
    }
    const std::string generation = contents(folder + "/generation_config.json");
    files.push_back(file_of("generation_config.json", generation));
    auto loaded = florence2::model::load_memory(files);
    CHECK(same(loaded.run({image, "<OD>"}), model.run({image, "<OD>"})));

    files.push_back(file_of("confg.json", data[0]));
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "confg.json", [&] { florence2::model::load_memory(files); });
    files.back().name = std::string("a\0b", 3);
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "name", [&] { florence2::model::load_memory(files); });
    files.pop_back();
    files[3].size /= 2;
    refused(FLORENCE2_STATUS_INVALID_MODEL, names[3], [&] { florence2::model::load_memory(files); });
}

static void loads_from_several_folders(const florence2::image &image, const std::string &folder) {
    florence2::load_options options;
    options.weights = folder + "/model.safetensors";
    options.processor = folder;
    CHECK(florence2::model::load(folder, options).run({image, "<OD>"}).regions.size() == 3);
    options.processor = nowhere;
    refused(FLORENCE2_STATUS_IO, nowhere, [&] { florence2::model::load(folder, options); });
    options.processor.clear();
    options.weights = "/nowhere.safetensors";
    refused(FLORENCE2_STATUS_IO, "/nowhere.safetensors", [&] { florence2::model::load(folder, options); });
}

/// The weights of a LoRA adapter of the demo model, whose matrices are ones, as safetensors.
static std::string adapter_weights() {
    const std::size_t d_model = 128, ffn_dim = 512;
    const std::string layer = "base_model.model.model.language_model.decoder.layers.0.fc1.lora_";
    auto tensor = [&](const char *name, const std::string &shape, std::size_t begin, std::size_t end) {
        return "\"" + layer + name + ".weight\":{\"dtype\":\"F32\",\"shape\":" + shape + ",\"data_offsets\":[" +
               std::to_string(begin * 4) + "," + std::to_string(end * 4) + "]}";
    };
    const std::string header = "{" + tensor("A", "[1,128]", 0, d_model) + "," +
                               tensor("B", "[512,1]", d_model, d_model + ffn_dim) + "}";
    std::string file(8, '\0');
    file[0] = static_cast<char>(header.size() & 255);
    file[1] = static_cast<char>(header.size() >> 8);
    file += header;
    for (std::size_t value = 0; value < d_model + ffn_dim; value++) {
        file.append("\0\0\x80\x3f", 4); // 1 as a little-endian float
    }
    return file;
}

static void adapters_have_scales(const florence2::model &model, const florence2::image &image) {
    const std::string config = R"({"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["fc1"]})";
    const std::string weights = adapter_weights();
    const std::vector<florence2::file> files = {file_of("adapter_config.json", config),
                                                file_of("adapter_model.safetensors", weights)};
    auto answer = [&](const florence2::model &other) { return other.run({image, "<OD>"}).raw_text; };
    florence2::load_options options;
    options.adapters = {files};
    CHECK(answer(florence2::model::demo(options)) != answer(model));
    // The second adapter subtracts the update of the first.
    options.adapters = {files, {files, -1}};
    CHECK(answer(florence2::model::demo(options)) == answer(model));

    options.adapters = {{nowhere, 0.5f}};
    refused(FLORENCE2_STATUS_IO, nowhere, [&] { florence2::model::demo(options); });
    options.adapters = {nowhere};
    refused(FLORENCE2_STATUS_IO, nowhere, [&] { florence2::model::demo(options); });
    options.adapters = {std::vector<florence2::file>{files[0]}};
    refused(FLORENCE2_STATUS_IO, "safetensors", [&] { florence2::model::demo(options); });
    options.adapters = {files, std::string()};
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "adapters[1]", [&] { florence2::model::demo(options); });
    options.adapters = {std::string("a\0b", 3)};
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "adapters", [&] { florence2::model::demo(options); });
    options.adapters = {{files, NAN}};
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "scale", [&] { florence2::model::demo(options); });
}

static void loading_has_progress(const florence2::image &image) {
    florence2::load_options options;
    options.spin_limit = -1;
    std::vector<florence2_load_progress> steps;
    options.on_progress = [&](const florence2_load_progress &progress) {
        steps.push_back(progress);
        return true;
    };
    auto loaded = florence2::model::demo(options);
    CHECK(loaded.run({image, "<OD>"}).regions.size() == 3);
    CHECK(steps.size() > 10 && steps.front().tensors == 0 && steps.front().parameters == 0);
    CHECK(steps.back().tensors == steps.back().total_tensors);
    CHECK(steps.back().parameters == steps.back().total_parameters);
    CHECK(std::is_sorted(steps.begin(), steps.end(), [](const auto &left, const auto &right) {
        return left.parameters < right.parameters;
    }));
    options.spin_limit = -2;
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "spin_limit", [&] { florence2::model::demo(options); });
    options.spin_limit = 0;

    std::size_t calls = 0;
    options.on_progress = [&](const florence2_load_progress &) { return ++calls < 3; };
    refused(FLORENCE2_STATUS_CANCELLED, [&] { florence2::model::demo(options); });
    CHECK(calls == 3);
    // An exception ends the loading, even from the last call.
    for (bool last : {false, true}) {
        calls = 0;
        options.on_progress = [&](const florence2_load_progress &progress) -> bool {
            calls++;
            if (!last || progress.tensors == progress.total_tensors) {
                throw std::out_of_range("mine");
            }
            return true;
        };
        try {
            florence2::model::demo(options);
            CHECK(!"it throws");
        } catch (const std::out_of_range &error) {
            CHECK(std::string(error.what()) == "mine" && calls == (last ? steps.size() : 1));
        }
    }
    florence2::cancel cancel;
    options.cancel = &cancel;
    options.on_progress = [&](const florence2_load_progress &) {
        calls++;
        cancel.fire();
        return true;
    };
    calls = 0;
    refused(FLORENCE2_STATUS_CANCELLED, [&] { florence2::model::demo(options); });
    CHECK(calls == 1);
}

static void decoding_has_a_limit(const std::string &scene) {
    const std::string data = contents(scene);
    florence2::decode_options options;
    options.max_pixels = 192 * 192;
    CHECK(florence2::image::from_path(scene, options).width_px() == 192);
    CHECK(florence2::image::from_encoded(bytes(data), data.size(), options).width_px() == 192);
    options.max_pixels--;
    refused(FLORENCE2_STATUS_INVALID_IMAGE, "36863", [&] { florence2::image::from_path(scene, options); });
    refused(FLORENCE2_STATUS_INVALID_IMAGE, "36863",
            [&] { florence2::image::from_encoded(bytes(data), data.size(), options); });
}

/// A white disc on gray: the colour of a pixel, without chroma.
static std::uint8_t gray_at(std::size_t x, std::size_t y) {
    const double dx = double(x) - 60, dy = double(y) - 50;
    return dx * dx + dy * dy < 30 * 30 ? 235 : 40;
}

static void regions_and_frames(const florence2::model &model) {
    const std::uint32_t width = 131, height = 101, left = 13, top = 7, chroma_width = (width + 1) / 2;
    const std::size_t stride = width + 5, chroma_stride = chroma_width + 3, chroma_height = (height + 1) / 2;
    const florence2::crop region{left, top, 110, 90};
    std::vector<std::uint8_t> gray(stride * height, 77), cut;
    for (std::size_t y = 0; y < height; y++) {
        for (std::size_t x = 0; x < width; x++) {
            gray[y * stride + x] = gray_at(x, y);
            if (x >= left && x < left + region.width_px && y >= top && y < top + region.height_px) {
                cut.push_back(gray_at(x, y));
            }
        }
    }
    auto answer = [&](const florence2::image &image) { return model.run({image, "<OD>"}); };
    auto pixels = [&](const florence2::crop &part) {
        return florence2::image::from_pixels(gray.data(), gray.size(), width, height,
                                             FLORENCE2_PIXEL_FORMAT_GRAY, stride, part);
    };
    const auto all = answer(pixels({})), part = answer(pixels(region));
    CHECK(pixels(region).width_px() == 110 && pixels(region).height_px() == 90);
    const auto alone = florence2::image::from_pixels(cut.data(), cut.size(), region.width_px, region.height_px,
                                                     FLORENCE2_PIXEL_FORMAT_GRAY);
    CHECK(same(answer(alone), part));
    CHECK(!same(all, part));
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "region", [&] { pixels({left, top, width, 1}); });

    // Gray frames of the full range have the pixels' values as luma, in both formats and matrices.
    for (auto format : {FLORENCE2_YUV_FORMAT_NV12, FLORENCE2_YUV_FORMAT_I420}) {
        florence2::yuv_frame frame;
        frame.width_px = width;
        frame.height_px = height;
        frame.format = format;
        frame.y = {gray.data(), gray.size(), stride};
        // Samples of 128 and gaps of 0 between the rows.
        const bool nv12 = format == FLORENCE2_YUV_FORMAT_NV12;
        const std::size_t samples = chroma_width * (nv12 ? 2 : 1), row = chroma_stride * (nv12 ? 2 : 1);
        std::vector<std::uint8_t> chroma(2 * chroma_stride * chroma_height, 0);
        for (std::size_t at = 0; at < chroma.size(); at += row) {
            std::fill_n(&chroma[at], samples, std::uint8_t(128));
        }
        if (nv12) {
            frame.u = {chroma.data(), chroma.size(), row};
        } else {
            frame.u = {chroma.data(), chroma.size() / 2, row};
            frame.v = {chroma.data() + chroma.size() / 2, chroma.size() / 2, row};
        }
        CHECK(!same(answer(florence2::image::from_yuv(frame)), all));
        frame.range = FLORENCE2_YUV_RANGE_FULL;
        CHECK(same(answer(florence2::image::from_yuv(frame)), all));
        frame.matrix = FLORENCE2_YUV_MATRIX_BT709;
        CHECK(same(answer(florence2::image::from_yuv(frame)), all));
        frame.part = region;
        CHECK(same(answer(florence2::image::from_yuv(frame)), part));
        frame.part.width_px = width;
        refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "region", [&] { florence2::image::from_yuv(frame); });
        frame.part = {};
        frame.u.size /= 2;
        refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "`u", [&] { florence2::image::from_yuv(frame); });
        frame.matrix = florence2_yuv_matrix(9);
        refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "matrix", [&] { florence2::image::from_yuv(frame); });
    }
}

/// The matrices and the planes of U and V differ in coloured frames.
static void frames_have_colours(const florence2::model &model) {
    const std::uint32_t side = 96, chroma = side / 2;
    std::vector<std::uint8_t> y(side * side, 120), u(chroma * chroma, 90), v(chroma * chroma, 200), uv;
    for (std::size_t sample = 0; sample < u.size(); sample++) {
        uv.push_back(u[sample]);
        uv.push_back(v[sample]);
    }
    // The loss of a target depends on every pixel.
    auto answer = [&](const florence2::yuv_frame &frame) {
        return model.score({florence2::image::from_yuv(frame), "<CAPTION>"}, "a red circle").loss;
    };
    florence2::yuv_frame i420;
    i420.width_px = i420.height_px = side;
    i420.format = FLORENCE2_YUV_FORMAT_I420;
    i420.y = {y.data(), y.size()};
    i420.u = {u.data(), u.size()};
    i420.v = {v.data(), v.size()};
    auto nv12 = i420;
    nv12.format = FLORENCE2_YUV_FORMAT_NV12;
    nv12.u = {uv.data(), uv.size()};
    nv12.v = {};
    CHECK(answer(nv12) == answer(i420));
    auto other = i420;
    other.matrix = FLORENCE2_YUV_MATRIX_BT709;
    CHECK(answer(other) != answer(i420));
    other = i420;
    std::swap(other.u, other.v);
    CHECK(answer(other) != answer(i420));
    nv12.v = i420.v;
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "yuv.v", [&] { answer(nv12); });
}

static void batches_have_outcomes(const florence2::model &model, const florence2::image &image) {
    auto moved_from = florence2::image::from_pixels(bytes("gray"), 4, 2, 2, FLORENCE2_PIXEL_FORMAT_GRAY);
    auto taken = std::move(moved_from);
    const std::vector<florence2::request> requests = {{image, "<OD>"},
                                                      {image, "<NOTHING>"},
                                                      {moved_from, "<OD>"},
                                                      {image, "<OD>", std::string("a\0b", 3)},
                                                      {image, "<CAPTION>"}};
    const char *const parts[] = {nullptr, "<NOTHING>", "image", "input", nullptr};
    florence2::run_options options;
    std::vector<std::size_t> tokens(requests.size());
    options.on_token = [&](const florence2_token &token) { return ++tokens.at(token.request) > 0; };
    auto outcomes = model.run_batch(requests, options);
    CHECK(outcomes.size() == requests.size());
    for (std::size_t index = 0; index < outcomes.size(); index++) {
        const auto &outcome = outcomes[index];
        CHECK(outcome.has_value() == (parts[index] == nullptr) && bool(outcome) == outcome.has_value());
        CHECK((tokens[index] == 0) == (parts[index] != nullptr));
        if (outcome) {
            CHECK(outcome.value().json().size() > 2);
            CHECK(outcome.value().token_ids == model.run(requests[index]).token_ids);
            CHECK(florence2::outcome(outcome).value().token_ids == outcome.value().token_ids);
        } else {
            is_error(outcome.error(), FLORENCE2_STATUS_INVALID_ARGUMENT, parts[index]);
            refused(FLORENCE2_STATUS_INVALID_ARGUMENT, parts[index], [&] { outcome.value(); });
        }
    }
    CHECK(model.run_batch({}).empty());
    // Errors that concern all requests fail the call, as does an exception from a callback.
    options.generation_config = "{\"num_beams\": 0}";
    refused(FLORENCE2_STATUS_INVALID_ARGUMENT, "num_beams", [&] { model.run_batch(requests, options); });
    options.generation_config.clear();
    options.on_token = [](const florence2_token &) -> bool { throw std::out_of_range("mine"); };
    try {
        model.run_batch(requests, options);
        CHECK(!"it throws");
    } catch (const std::out_of_range &) {
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        return 2;
    }
    std::string folder = argv[1], scene = folder + "/scenes/scene-1.png";
    auto model = florence2::model::demo();
    auto image = florence2::image::from_path(scene);
    CHECK(image.width_px() == 192 && image.height_px() == 192);
    CHECK(florence2::status_name(FLORENCE2_STATUS_IO) == "FLORENCE2_STATUS_IO");
    CHECK(florence2::status_name(florence2_status(99)).empty());
    CHECK(florence2::devices().at(0) == model.device());
    answers(model, image);
    generation_options(model, image);
    tasks_are_described();
    run_options_are_typed(model, image);
    messages_are_logged();
    nothing_leaks(model, image, scene);
    callbacks(model, image);
    moved_and_later(florence2::model::demo(), florence2::image::from_path(scene));

    loads_from_memory(model, image, folder);
    loads_from_several_folders(image, folder);
    adapters_have_scales(model, image);
    loading_has_progress(image);
    decoding_has_a_limit(scene);
    regions_and_frames(model);
    frames_have_colours(model);
    batches_have_outcomes(model, image);

    const std::string data = contents(scene);
    auto encoded = florence2::image::from_encoded(bytes(data), data.size());
    florence2::load_options options;
    options.threads = 2;
    auto loaded = florence2::model::load(folder, options);
    auto moved = std::move(loaded);
    CHECK(moved.run({encoded, "<OD>"}).token_ids == model.run({image, "<OD>"}).token_ids);
    std::vector<std::uint8_t> gray(4, 9);
    auto pixels = florence2::image::from_pixels(gray.data(), 4, 2, 2, FLORENCE2_PIXEL_FORMAT_GRAY);
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

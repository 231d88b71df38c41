// Runs the cases of cases.json with the C++ binding: driver CASES MODEL_FOLDER. Prints one JSON object per line.
#include <florence2.hpp>

#include <chrono>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

using nlohmann::json;

static json answer_of(const florence2::result &result) {
    static const char *const kinds[] = {"box", "quad", "polygon"};
    json regions = json::array(), alternatives = json::array();
    for (const auto &region : result.regions) {
        json points = json::array();
        for (const auto &point : region.points) {
            points.push_back({point.x_px, point.y_px});
        }
        regions.push_back({{"kind", kinds[region.kind]}, {"label", region.label}, {"points", points}});
    }
    for (const auto &alternative : result.alternatives) {
        alternatives.push_back(alternative.text);
    }
    return {{"text", result.text},
            {"token_ids", result.token_ids},
            {"sequence_score", result.sequence_score},
            {"regions", regions},
            {"alternatives", alternatives}};
}

struct driver {
    std::string folder;
    florence2::model model = florence2::model::load(folder);

    florence2::image image_of(const json &asked) const {
        return florence2::image::from_path(folder + "/scenes/" + asked["image"].get<std::string>());
    }

    template <typename ImageInput> static florence2::request request_of(const json &asked, const ImageInput &subject) {
        florence2::request request(subject, asked.value("task", ""));
        if (asked.contains("input")) {
            request.input = asked["input"].get<std::string>();
        }
        if (asked.contains("prompt")) {
            request.prompt = asked["prompt"].get<std::string>();
        }
        if (asked.contains("region")) {
            const auto box = asked["region"].get<std::array<double, 4>>();
            request.input = florence2::box_px{box[0], box[1], box[2], box[3]};
        }
        return request;
    }

    void load(const json &asked) const {
        florence2::load_options options;
        options.device = asked.value("device", options.device);
        florence2::model::load(asked.value("directory", folder), options);
    }

    json run(const json &asked) const {
        const std::string call = asked["call"];
        std::vector<florence2::image> images;
        std::vector<florence2::image_features> features;
        std::vector<florence2::request> requests;
        for (const json &request : asked["requests"]) {
            images.push_back(image_of(request));
            if (asked.contains("encode_first")) {
                features.push_back(model.encode_image(images.back()));
                requests.push_back(request_of(request, features.back()));
            } else {
                requests.push_back(request_of(request, images.back()));
            }
        }
        if (call == "score") {
            return score(requests.front(), asked["target"]);
        }
        florence2::run_options options;
        options.coordinates = florence2::coordinates::hf_integers;
        options.generation_config = asked.value("generation", json::object()).dump();
        if (call == "stream" || call == "stop") {
            return listen(requests.front(), options, asked.value("stop_after", 0));
        }
        if (call == "cancel" || call == "deadline") {
            return end_early(requests.front(), options, call == "cancel", asked["after_ms"]);
        }
        json answers = json::array();
        for (const auto &outcome : model.run_batch(requests, options)) {
            answers.push_back(answer_of(outcome.value()));
        }
        return {{"answers", answers}};
    }

    json score(const florence2::request &request, const std::string &target) const {
        const auto score = model.score(request, target);
        json log_probs = json::array();
        for (const auto &token : score.tokens) {
            log_probs.push_back(token.log_prob);
        }
        return {{"loss", score.loss}, {"log_probs", log_probs}};
    }

    json listen(const florence2::request &request, florence2::run_options &options, int stop_after) const {
        std::string heard;
        int tokens = 0;
        options.on_token = [&](const florence2_token &token) {
            heard += token.text;
            return ++tokens != stop_after;
        };
        try {
            model.run(request, options);
        } catch (const florence2::error &error) {
            if (error.status() != FLORENCE2_STATUS_CANCELLED) {
                throw;
            }
        }
        return {{"streamed", heard}, {"stopped", tokens}};
    }

    json end_early(const florence2::request &request, florence2::run_options &options, bool by_cancel, int after_ms) const {
        florence2::cancel cancel;
        std::thread firing;
        if (by_cancel) {
            options.cancel = &cancel;
            firing = std::thread([&] {
                std::this_thread::sleep_for(std::chrono::milliseconds(after_ms));
                cancel.fire();
            });
        } else {
            options.timeout = std::chrono::milliseconds(after_ms);
        }
        florence2_status status = FLORENCE2_STATUS_OK;
        try {
            model.run(request, options);
        } catch (const florence2::error &error) {
            status = error.status();
        }
        if (firing.joinable()) {
            firing.join();
        }
        return {{"cancelled", status == FLORENCE2_STATUS_CANCELLED},
                {"expired", status == FLORENCE2_STATUS_DEADLINE_EXCEEDED}};
    }
};

int main(int, char **argv) {
    std::ifstream file(argv[1]);
    const driver driver{argv[2]};
    for (const json &asked : json::parse(file)) {
        json said = json::object();
        try {
            if (asked["call"] == "load") {
                driver.load(asked);
            } else {
                said = driver.run(asked);
            }
        } catch (const florence2::error &error) {
            said["error"] = error.what();
        }
        said["name"] = asked["name"];
        std::cout << said.dump() << '\n';
    }
}

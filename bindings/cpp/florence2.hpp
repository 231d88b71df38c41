// libflorence2 in C++17: one header over florence2.h.
//
// Models, images, image features and cancel tokens are move-only handles. Results are plain values.
// A call that fails throws florence2::error. Any number of threads may use a model at once. A callback
// may throw: the exception ends the call and is rethrown from it.
//
//     florence2::model model = florence2::model::load("Florence-2-base");
//     florence2::image image = florence2::image::from_path("street.jpg");
//     for (const florence2::region &region : model.run({image, "<OD>"}).regions) { ... }
#ifndef FLORENCE2_HPP
#define FLORENCE2_HPP

#include <florence2.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace florence2 {

/// The error of a call that failed.
class error : public std::runtime_error {
  public:
    error(florence2_status status, const std::string &message)
        : std::runtime_error(message), status_(status) {}

    /// The status that the C API returned.
    florence2_status status() const noexcept { return status_; }

  private:
    florence2_status status_;
};

namespace detail {

template <typename T, void (*Free)(T *)> struct deleter {
    void operator()(T *pointer) const noexcept { Free(pointer); }
};

template <typename T, void (*Free)(T *)> using handle = std::unique_ptr<T, deleter<T, Free>>;

/// Calls `function(arguments.., &error)` and throws what it refuses.
template <typename Function, typename... Arguments>
void call(Function function, Arguments... arguments) {
    florence2_error *raised = nullptr;
    florence2_status status = function(arguments..., &raised);
    if (status != FLORENCE2_STATUS_OK) {
        handle<florence2_error, florence2_error_free> owned(raised);
        std::string message = florence2_error_message(raised);
        // A status of a later library has its number alone.
        throw error(status, message.empty() ? "florence2 status " + std::to_string(status) : message);
    }
}

/// As C reads it: it ends with NUL, so none may be inside.
inline const char *c_string(const std::string &text, const char *argument) {
    if (text.find('\0') != std::string::npos) {
        throw error(FLORENCE2_STATUS_INVALID_ARGUMENT, std::string("argument `") + argument +
                                                           "`: found a NUL character, expected none");
    }
    return text.c_str();
}

} // namespace detail

/// The version of the loaded library.
inline std::string version() { return florence2_version(); }

/// The devices of this build on this machine, best first.
inline std::vector<std::string> devices() {
    std::vector<std::string> names;
    for (std::size_t index = 0; index < florence2_device_count(); index++) {
        names.emplace_back(florence2_device_name(index));
    }
    return names;
}

/// The library and the machine as a JSON object, for bug reports.
inline std::string system_info() { return florence2_system_info_json(); }

/// Returns the memory that the library keeps for later runs to the system.
inline void trim() { florence2_trim(); }

/// Sets the SIMD level of the device "cpu" for the whole process. Call it before loading the first model.
inline void set_simd_level(const std::string &level) {
    detail::call(florence2_simd_level_set, detail::c_string(level, "level"));
}

/// A decoded image.
class image {
  public:
    /// Of a JPEG, PNG, WebP, BMP, GIF or TIFF file.
    static image from_path(const std::string &path) {
        florence2_image *made = nullptr;
        detail::call(florence2_image_from_path, detail::c_string(path, "path"), &made);
        return image(made);
    }

    /// Of a JPEG, PNG, WebP, BMP, GIF or TIFF file's bytes.
    static image from_encoded(const std::uint8_t *data, std::size_t size) {
        florence2_image *made = nullptr;
        detail::call(florence2_image_from_encoded, data, size, &made);
        return image(made);
    }

    /// Copies a pixel buffer, or a region of it. A stride of 0 stands for rows without gaps.
    static image from_pixels(const std::uint8_t *data, std::size_t size, std::uint32_t width_px,
                             std::uint32_t height_px, florence2_pixel_format format,
                             std::size_t stride_bytes = 0) {
        florence2_pixels pixels;
        florence2_pixels_init(&pixels, sizeof pixels);
        pixels.data = data;
        pixels.data_len = size;
        pixels.stride_bytes = stride_bytes;
        pixels.width_px = width_px;
        pixels.height_px = height_px;
        pixels.format = static_cast<std::int32_t>(format);
        florence2_image *made = nullptr;
        detail::call(florence2_image_from_pixels, static_cast<const florence2_pixels *>(&pixels),
                     &made);
        return image(made);
    }

    /// Pixels across.
    std::uint32_t width_px() const noexcept { return florence2_image_width_px(get()); }
    /// Height in pixels.
    std::uint32_t height_px() const noexcept { return florence2_image_height_px(get()); }
    /// The handle of the C API, borrowed.
    const florence2_image *get() const noexcept { return handle_.get(); }

  private:
    explicit image(florence2_image *made) : handle_(made) {}
    detail::handle<florence2_image, florence2_image_free> handle_;
};

/// The vision tower's output for an image, for any number of requests to the model that encoded it.
class image_features {
  public:
    /// Takes ownership of the output of florence2_model_encode_image.
    explicit image_features(florence2_image_features *made) : handle_(made) {}
    /// The handle of the C API, borrowed.
    const florence2_image_features *get() const noexcept { return handle_.get(); }

  private:
    detail::handle<florence2_image_features, florence2_image_features_free> handle_;
};

/// A cancel token: ends runs and loading early, from any thread.
class cancel {
  public:
    cancel() {
        florence2_cancel *made = nullptr;
        detail::call(florence2_cancel_new, &made);
        handle_.reset(made);
    }

    /// Ends every call that was given this token.
    void fire() const noexcept { florence2_cancel_fire(get()); }
    /// Whether the token was fired.
    bool is_fired() const noexcept { return florence2_cancel_is_fired(get()); }
    /// The handle of the C API, borrowed.
    const florence2_cancel *get() const noexcept { return handle_.get(); }

  private:
    detail::handle<florence2_cancel, florence2_cancel_free> handle_;
};

/// A point in pixels of the image. The origin is the upper left corner.
struct point {
    double x_px, y_px;
};

/// A box (two corners), quad or polygon with its label. Scores range from 0 to 1.
struct region {
    florence2_region_kind kind;
    std::string label;
    std::vector<point> points;
    float score, label_score, location_score;
    std::size_t instance;
};

/// The answer to a request.
struct result {
    std::string text;     ///< without special tokens
    std::string raw_text; ///< with special tokens
    std::string task;
    std::string json;
    std::vector<region> regions;
    std::vector<std::uint32_t> token_ids;
    std::vector<float> token_log_probs;
    float score, sequence_score;
    florence2_finish_reason finish_reason;
    std::vector<result> alternatives; ///< further answers of num_return_sequences, best first
};

/// The log-probabilities of a target answer.
struct target_score {
    struct token {
        std::uint32_t token_id;
        std::string text;
        float log_prob;
    };
    float loss; ///< the mean negative log-probability of the tokens
    std::vector<token> tokens;
};

/// A question about an image, which must outlive the run.
struct request {
    request(const image &subject, std::string task_, std::optional<std::string> input_ = {})
        : image_(subject.get()), task(std::move(task_)), input(std::move(input_)) {}
    request(const image_features &subject, std::string task_, std::optional<std::string> input_ = {})
        : features_(subject.get()), task(std::move(task_)), input(std::move(input_)) {}

    const florence2_image *image_ = nullptr;
    const florence2_image_features *features_ = nullptr;
    std::string task; ///< such as "<OD>"; empty for a prompt
    std::optional<std::string> input; ///< the text that the task needs, such as a phrase
    std::optional<std::string> prompt; ///< free text, for fine-tuned models
    std::optional<std::array<double, 4>> region_px; ///< x1, y1, x2, y2
};

/// How to load.
struct load_options {
    std::string device = "auto"; ///< one of devices()
    std::string dtype = "auto";  ///< how weights are kept and multiplied: f32, f16, bf16, int8; auto for f32
    std::vector<std::string> adapters; ///< folders of LoRA adapters, merged in order
    std::size_t threads = 0; ///< 0 for the process's own
};

/// Options of a run. Zero and empty select the model's own values.
struct run_options {
    run_options() { florence2_run_options_init(&native, sizeof native); }

    /// The options of the C API. Its callbacks receive its `user`. on_token and on_progress replace them.
    florence2_run_options native;
    std::string generation_config; ///< a JSON object with keys of generation_config.json
    const cancel *cancelled_by = nullptr;
    /// Called once per token, in order, in place of native.on_token; false ends the run.
    std::function<bool(const florence2_token &)> on_token;
    /// Called once per step, in place of native.on_progress; false ends the run.
    std::function<bool(const florence2_progress &)> on_progress;
};

/// A loaded model. It is immutable: any number of threads may run it at once.
class model {
  public:
    /// Loads a model from a folder in Microsoft's or Hugging Face's layout.
    static model load(const std::string &directory, const load_options &options = {}) {
        return with_options(options, [&](const florence2_load_options *native) {
            florence2_model *made = nullptr;
            detail::call(florence2_model_load, detail::c_string(directory, "directory"), native, &made);
            return made;
        });
    }

    /// The embedded demo model, where the library was built with it.
    static model demo(const load_options &options = {}) {
        return with_options(options, [](const florence2_load_options *native) {
            florence2_model *made = nullptr;
            detail::call(florence2_model_load_demo, native, &made);
            return made;
        });
    }

    /// The device that the model is on, such as "cpu".
    std::string device() const { return florence2_model_device(get()); }

    /// Settings and tensors of the model's files that were ignored, one line each.
    std::vector<std::string> warnings() const {
        std::vector<std::string> lines;
        for (std::size_t index = 0; index < florence2_model_warning_count(get()); index++) {
            lines.emplace_back(florence2_model_warning(get(), index));
        }
        return lines;
    }

    /// Answers a request.
    result run(const request &asked, const run_options &options = {}) const {
        return std::move(run_batch({asked}, options).front());
    }

    /// Answers requests together, each as it would be answered alone.
    std::vector<result> run_batch(const std::vector<request> &asked,
                                  const run_options &options = {}) const {
        std::vector<florence2_request> native;
        for (const request &one : asked) {
            native.push_back(native_request(one));
        }
        std::vector<florence2_result *> made(asked.size(), nullptr);
        observed(options, [&](const florence2_run_options *native_options) {
            detail::call(florence2_model_run_batch, get(),
                         static_cast<const florence2_request *>(native.data()), native.size(),
                         native_options, made.data());
        });
        std::vector<detail::handle<florence2_result, florence2_result_free>> owned(made.begin(),
                                                                                   made.end());
        std::vector<result> results;
        for (const auto &one : owned) {
            results.push_back(copy(one.get()));
        }
        return results;
    }

    /// Sends an image through the vision tower, once for any number of requests.
    image_features encode_image(const image &subject, const run_options &options = {}) const {
        florence2_image_features *made = nullptr;
        observed(options, [&](const florence2_run_options *native) {
            detail::call(florence2_model_encode_image, get(), subject.get(), native, &made);
        });
        return image_features(made);
    }

    /// Tells how likely the model finds `target` as the answer.
    target_score score(const request &asked, const std::string &target,
                       const run_options &options = {}) const {
        florence2_request native = native_request(asked);
        florence2_score *made = nullptr;
        observed(options, [&](const florence2_run_options *native_options) {
            detail::call(florence2_model_score, get(),
                         static_cast<const florence2_request *>(&native),
                         detail::c_string(target, "target"), native_options, &made);
        });
        detail::handle<florence2_score, florence2_score_free> owned(made);
        target_score copied{florence2_score_loss(made), {}};
        for (std::size_t index = 0; index < florence2_score_token_count(made); index++) {
            const florence2_token *token = florence2_score_token(made, index);
            copied.tokens.push_back({token->token_id, token->text, token->log_prob});
        }
        return copied;
    }

    /// The handle of the C API, borrowed.
    const florence2_model *get() const noexcept { return handle_.get(); }

  private:
    explicit model(florence2_model *made) : handle_(made) {}

    template <typename Load> static model with_options(const load_options &options, Load load) {
        if (florence2_abi_version() != FLORENCE2_ABI_VERSION) {
            throw error(FLORENCE2_STATUS_NOT_IN_THIS_BUILD,
                        "libflorence2: found ABI " + std::to_string(florence2_abi_version()) +
                            ", expected " + std::to_string(FLORENCE2_ABI_VERSION));
        }
        std::vector<const char *> adapters;
        for (const std::string &adapter : options.adapters) {
            adapters.push_back(detail::c_string(adapter, "adapters"));
        }
        florence2_load_options native;
        florence2_load_options_init(&native, sizeof native);
        native.device = detail::c_string(options.device, "device");
        native.dtype = detail::c_string(options.dtype, "dtype");
        native.adapters = adapters.data();
        native.adapters_len = adapters.size();
        native.threads = options.threads;
        return model(load(&native));
    }

    static florence2_request native_request(const request &asked) {
        florence2_request native;
        florence2_request_init(&native, sizeof native);
        native.image = asked.image_;
        native.image_features = asked.features_;
        native.task = asked.task.empty() ? nullptr : detail::c_string(asked.task, "task");
        native.prompt = asked.prompt ? detail::c_string(*asked.prompt, "prompt") : nullptr;
        native.input = asked.input ? detail::c_string(*asked.input, "input") : nullptr;
        if (asked.region_px) {
            std::copy(asked.region_px->begin(), asked.region_px->end(), native.region);
            native.region_unit = FLORENCE2_REGION_UNIT_PX;
        }
        return native;
    }

    /// The `user` of the callbacks of a run.
    struct observer {
        const run_options &options;
        std::exception_ptr thrown;

        std::int32_t on_token(const florence2_token &token) {
            if (options.on_token) {
                return options.on_token(token) ? 0 : 1;
            }
            return options.native.on_token(&token, options.native.user);
        }

        std::int32_t on_progress(const florence2_progress &progress) {
            if (options.on_progress) {
                return options.on_progress(progress) ? 0 : 1;
            }
            return options.native.on_progress(&progress, options.native.user);
        }

        /// Calls a callback unless one has thrown. No exception may unwind through the library.
        template <typename Callback> std::int32_t guarded(Callback callback) noexcept {
            if (thrown) {
                return 1;
            }
            try {
                return callback();
            } catch (...) {
                thrown = std::current_exception();
                return 1;
            }
        }
    };

    template <typename Run> static void observed(const run_options &options, Run run) {
        observer observing{options, nullptr};
        florence2_run_options native = options.native;
        native.user = &observing;
        if (!options.generation_config.empty()) {
            native.generation_config = detail::c_string(options.generation_config, "generation_config");
        }
        if (options.cancelled_by != nullptr) {
            native.cancel = options.cancelled_by->get();
        }
        if (options.on_token || options.native.on_token != nullptr) {
            native.on_token = [](const florence2_token *token, void *user) -> std::int32_t {
                observer *observing = static_cast<observer *>(user);
                return observing->guarded([&] { return observing->on_token(*token); });
            };
        }
        if (options.on_progress || options.native.on_progress != nullptr) {
            native.on_progress = [](const florence2_progress *progress, void *user) -> std::int32_t {
                observer *observing = static_cast<observer *>(user);
                return observing->guarded([&] { return observing->on_progress(*progress); });
            };
        }
        try {
            run(&native);
        } catch (const error &) {
            if (observing.thrown) {
                std::rethrow_exception(observing.thrown);
            }
            throw;
        }
    }

    static result copy(const florence2_result *native) {
        result copied{florence2_result_text(native),
                      florence2_result_raw_text(native),
                      florence2_result_task(native),
                      florence2_result_json(native),
                      {},
                      {},
                      {},
                      florence2_result_score(native),
                      florence2_result_sequence_score(native),
                      florence2_result_finish_reason(native),
                      {}};
        for (std::size_t index = 0; index < florence2_result_region_count(native); index++) {
            const florence2_region *one = florence2_result_region(native, index);
            region made{one->kind,        one->label,          {},           one->score,
                        one->label_score, one->location_score, one->instance};
            for (std::size_t at = 0; at < one->points_len; at++) {
                made.points.push_back({one->points[at].x_px, one->points[at].y_px});
            }
            copied.regions.push_back(std::move(made));
        }
        std::size_t tokens = florence2_result_token_count(native);
        const std::uint32_t *ids = florence2_result_token_ids(native);
        const float *log_probs = florence2_result_token_log_probs(native);
        copied.token_ids.assign(ids, ids + tokens);
        copied.token_log_probs.assign(log_probs, log_probs + tokens);
        for (std::size_t index = 0; index < florence2_result_alternative_count(native); index++) {
            copied.alternatives.push_back(copy(florence2_result_alternative(native, index)));
        }
        return copied;
    }

    detail::handle<florence2_model, florence2_model_free> handle_;
};

} // namespace florence2

#endif // FLORENCE2_HPP

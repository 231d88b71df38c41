// libflorence2 in C++17: one header over florence2.h.
//
// Models, images, image features and cancel tokens are move-only handles. Results are plain values.
// A call that fails throws florence2::error. Any number of threads may use a model at once. A callback
// may throw: the exception ends the call and is rethrown from it.
//
//     florence2::model model = florence2::model::load("Florence-2-base");
//     florence2::image image = florence2::image::from_path("street.jpg");
//     for (const florence2::region &region : model.run({image, "<OD>"}).regions) { ... }
//
// If an allocation fails, a call throws std::bad_alloc and frees what it has made.
#ifndef FLORENCE2_HPP
#define FLORENCE2_HPP

#include <florence2.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
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

/// Places for the handles that a call writes. It owns them, and is made before the call.
template <typename T, void (*Free)(T *)> class handles {
  public:
    explicit handles(std::size_t size) : pointers_(size, nullptr) {}
    handles(const handles &) = delete;
    handles &operator=(const handles &) = delete;
    ~handles() {
        for (T *pointer : pointers_) {
            Free(pointer);
        }
    }

    T **data() noexcept { return pointers_.data(); }
    /// Returns a handle, and gives up its ownership.
    handle<T, Free> take(std::size_t index) noexcept {
        return handle<T, Free>(std::exchange(pointers_[index], nullptr));
    }

  private:
    std::vector<T *> pointers_;
};

/// A NaN of the C API as no value.
inline std::optional<float> optional_number(float number) {
    return std::isnan(number) ? std::nullopt : std::optional<float>(number);
}

/// The exception of a failed call. `raised` may be null; a status of a newer library may have no message.
inline error error_of(florence2_status status, const florence2_error *raised) {
    std::string message = florence2_error_message(raised);
    return error(status, message.empty() ? "florence2 status " + std::to_string(status) : message);
}

/// Calls `function(arguments.., &error)`. Throws the error if the call fails.
template <typename Function, typename... Arguments>
void call(Function function, Arguments... arguments) {
    florence2_error *raised = nullptr;
    florence2_status status = function(arguments..., &raised);
    if (status != FLORENCE2_STATUS_OK) {
        handle<florence2_error, florence2_error_free> owned(raised);
        throw error_of(status, raised);
    }
}

/// Keeps the exception of a callback until the call returns. No exception may unwind through the library.
class callback_guard {
  public:
    /// Calls a callback, which returns the status of the C callback. After an exception, it calls none.
    template <typename Callback> std::int32_t guarded(Callback callback) noexcept {
        if (thrown_) {
            return 1;
        }
        try {
            return callback();
        } catch (...) {
            thrown_ = std::current_exception();
            return 1;
        }
    }

    /// Calls the library. Rethrows the callback's exception if the call fails after it.
    template <typename Call> void rethrowing(Call call) {
        try {
            call();
        } catch (const error &) {
            if (thrown_) {
                std::rethrow_exception(thrown_);
            }
            throw;
        }
    }

  private:
    std::exception_ptr thrown_;
};

/// The text as a C string. Throws if it contains a NUL character.
inline const char *c_string(const std::string &text, const char *argument) {
    if (text.find('\0') != std::string::npos) {
        throw error(FLORENCE2_STATUS_INVALID_ARGUMENT, std::string("argument `") + argument +
                                                           "`: found a NUL character, expected none");
    }
    return text.c_str();
}

/// Null for an empty text, otherwise as c_string.
inline const char *c_string_or_null(const std::string &text, const char *argument) {
    return text.empty() ? nullptr : c_string(text, argument);
}

} // namespace detail

/// The version of the loaded library.
inline std::string version() { return florence2_version(); }

/// The name of a status, such as "FLORENCE2_STATUS_IO"; empty for a status of a newer library.
inline std::string status_name(florence2_status status) {
    const char *name = florence2_status_name(status);
    return name == nullptr ? "" : name;
}

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

/// The callback of set_log. It must not throw, load or run models, or call trim or set_log.
using log_callback =
    std::function<void(florence2_log_level level, std::string_view target, std::string_view message)>;

namespace detail {

/// The log callback of the process. It is never destroyed, because threads may log until the process ends.
struct log_listener {
    std::mutex changing;
    std::unique_ptr<log_callback> callback;

    static log_listener &instance() {
        static log_listener *listener = new log_listener;
        return *listener;
    }

    /// Whether this thread is in the callback.
    static bool &is_called() noexcept {
        static thread_local bool called = false;
        return called;
    }

    static void call(florence2_log_level level, const char *target, const char *message, void *user) noexcept {
        is_called() = true;
        try {
            (*static_cast<log_callback *>(user))(level, target, message);
        } catch (...) { // An exception of the callback is dropped.
        }
        is_called() = false;
    }
};

} // namespace detail

/// Sets the log callback of the process, in place of the previous one; an empty function for none. It receives
/// the messages of `max_level` and of more severe levels, on any thread, also on several at the same time.
inline void set_log(log_callback callback, florence2_log_level max_level = FLORENCE2_LOG_LEVEL_WARN) {
    if (detail::log_listener::is_called()) {
        throw error(FLORENCE2_STATUS_INVALID_ARGUMENT,
                    "argument `callback`: found a call from within the callback, expected a call from outside of it");
    }
    auto &listener = detail::log_listener::instance();
    const std::lock_guard<std::mutex> lock(listener.changing);
    std::unique_ptr<log_callback> next;
    if (callback) {
        next = std::make_unique<log_callback>(std::move(callback));
    }
    detail::call(florence2_log_set, next ? &detail::log_listener::call : florence2_log_callback(nullptr),
                 static_cast<void *>(next.get()), static_cast<std::int32_t>(max_level));
    // The previous callback is not running any more.
    listener.callback = std::move(next);
}

/// A task: its token, the input that it needs, and the format of its answer.
struct task_info {
    std::string token; ///< such as "<OD>"
    florence2_task_input input;
    florence2_post_processing_type post_processing_type;
};

/// Describes a task, by its token or name. `input` is FLORENCE2_TASK_INPUT_UNKNOWN if there is none.
inline task_info describe_task(const std::string &task) {
    const char *name = detail::c_string(task, "task");
    return {task, florence2_task_input_of(name), florence2_task_post_processing_type(name)};
}

/// All tasks.
inline std::vector<task_info> tasks() {
    std::vector<task_info> all;
    for (std::size_t index = 0; index < florence2_task_count(); index++) {
        all.push_back(describe_task(florence2_task_token(index)));
    }
    return all;
}

/// Options of decoding an image file.
struct decode_options {
    std::uint64_t max_pixels = 0; ///< A larger image is refused before it is decoded; 0 for 178,956,970.
};

/// The part of a pixel buffer or frame that becomes the image. Zeros select all pixels.
struct crop {
    std::uint32_t x_px = 0, y_px = 0, width_px = 0, height_px = 0;
};

/// A plane of a YUV frame, in the caller's memory. A stride of 0 stands for rows without gaps.
struct plane {
    const std::uint8_t *data = nullptr;
    std::size_t size = 0;
    std::size_t stride_bytes = 0;
};

/// A YUV frame with 4:2:0 subsampling, in the caller's memory.
struct yuv_frame {
    std::uint32_t width_px = 0, height_px = 0;
    florence2_yuv_format format = FLORENCE2_YUV_FORMAT_NV12;
    plane y; ///< luma
    plane u; ///< I420: U; NV12: U and V, interleaved
    plane v; ///< I420: V; NV12: no data
    florence2_yuv_matrix matrix = FLORENCE2_YUV_MATRIX_BT601;
    florence2_yuv_range range = FLORENCE2_YUV_RANGE_LIMITED;
    crop part; ///< the part that becomes the image
};

/// An image: 8-bit RGB pixels in memory.
class image {
  public:
    /// Decodes a JPEG, PNG, WebP, BMP, GIF or TIFF file.
    static image from_path(const std::string &path, const decode_options &options = {}) {
        florence2_decode_options native = native_options(options);
        florence2_image *made = nullptr;
        detail::call(florence2_image_from_path, detail::c_string(path, "path"),
                     static_cast<const florence2_decode_options *>(&native), &made);
        return image(made);
    }

    /// Decodes the contents of a JPEG, PNG, WebP, BMP, GIF or TIFF file.
    static image from_encoded(const std::uint8_t *data, std::size_t size,
                              const decode_options &options = {}) {
        florence2_decode_options native = native_options(options);
        florence2_image *made = nullptr;
        detail::call(florence2_image_from_encoded, data, size,
                     static_cast<const florence2_decode_options *>(&native), &made);
        return image(made);
    }

    /// Copies a pixel buffer, or a part of it. A stride of 0 stands for rows without gaps.
    static image from_pixels(const std::uint8_t *data, std::size_t size, std::uint32_t width_px,
                             std::uint32_t height_px, florence2_pixel_format format,
                             std::size_t stride_bytes = 0, const crop &part = {}) {
        florence2_pixels pixels;
        florence2_pixels_init(&pixels, sizeof pixels);
        pixels.data = data;
        pixels.data_len = size;
        pixels.stride_bytes = stride_bytes;
        pixels.width_px = width_px;
        pixels.height_px = height_px;
        pixels.format = static_cast<std::int32_t>(format);
        set_crop(pixels, part);
        florence2_image *made = nullptr;
        detail::call(florence2_image_from_pixels, static_cast<const florence2_pixels *>(&pixels),
                     &made);
        return image(made);
    }

    /// Converts a YUV frame, or a part of it, to RGB.
    static image from_yuv(const yuv_frame &frame) {
        florence2_yuv yuv;
        florence2_yuv_init(&yuv, sizeof yuv);
        yuv.y = frame.y.data;
        yuv.y_len = frame.y.size;
        yuv.y_stride_bytes = frame.y.stride_bytes;
        yuv.u = frame.u.data;
        yuv.u_len = frame.u.size;
        yuv.u_stride_bytes = frame.u.stride_bytes;
        yuv.v = frame.v.data;
        yuv.v_len = frame.v.size;
        yuv.v_stride_bytes = frame.v.stride_bytes;
        yuv.width_px = frame.width_px;
        yuv.height_px = frame.height_px;
        yuv.format = static_cast<std::int32_t>(frame.format);
        yuv.matrix = static_cast<std::int32_t>(frame.matrix);
        yuv.range = static_cast<std::int32_t>(frame.range);
        set_crop(yuv, frame.part);
        florence2_image *made = nullptr;
        detail::call(florence2_image_from_yuv, static_cast<const florence2_yuv *>(&yuv), &made);
        return image(made);
    }

    /// Width in pixels.
    std::uint32_t width_px() const noexcept { return florence2_image_width_px(get()); }
    /// Height in pixels.
    std::uint32_t height_px() const noexcept { return florence2_image_height_px(get()); }
    /// The handle of the C API, borrowed.
    const florence2_image *get() const noexcept { return handle_.get(); }

  private:
    explicit image(florence2_image *made) : handle_(made) {}

    static florence2_decode_options native_options(const decode_options &options) {
        florence2_decode_options native;
        florence2_decode_options_init(&native, sizeof native);
        native.max_pixels = options.max_pixels;
        return native;
    }

    template <typename Native> static void set_crop(Native &native, const crop &part) {
        native.region_x_px = part.x_px;
        native.region_y_px = part.y_px;
        native.region_width_px = part.width_px;
        native.region_height_px = part.height_px;
    }

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

/// The scores of a region, 0 to 1.
struct region_score {
    float overall;              ///< the score that is shown: label times locations
    std::optional<float> label; ///< the probability of the label; none without a label
    float locations;            ///< the probability that the coordinates lie within location_tolerance
};

/// A region of the answer: a box (two corners), quad or polygon in the image, with its label.
struct region {
    florence2_region_kind kind;
    std::string label;
    std::vector<point> points;
    std::optional<region_score> score; ///< none if it is not known
    std::size_t instance;              ///< the number of the object; the rings of one object share it

    /// The smallest box that contains the points: x1, y1, x2, y2 in pixels.
    std::array<double, 4> bounding_box() const {
        std::array<double, 4> box{0, 0, 0, 0};
        for (std::size_t index = 0; index < points.size(); index++) {
            const point &one = points[index];
            const bool first = index == 0;
            box[0] = first ? one.x_px : std::min(box[0], one.x_px);
            box[1] = first ? one.y_px : std::min(box[1], one.y_px);
            box[2] = first ? one.x_px : std::max(box[2], one.x_px);
            box[3] = first ? one.y_px : std::max(box[3], one.y_px);
        }
        return box;
    }
};

/// The durations of a run in milliseconds. Each result of a batch has those of the whole batch.
struct timings {
    double preprocess_ms = 0; ///< the image is resized and normalised
    double vision_ms = 0;     ///< the vision tower and its projection run
    double generate_ms = 0;   ///< the prompts are tokenized, and the encoder and the decoder run
};

/// The answer to a request.
struct result {
    std::string text;     ///< without special tokens
    std::string raw_text; ///< with special tokens
    std::string task;
    std::vector<region> regions;
    std::vector<std::uint32_t> token_ids;
    std::vector<float> token_log_probs;
    std::optional<float> score; ///< the confidence, 0 to 1; none for an answer without tokens
    float sequence_score = 0;   ///< transformers' sequences_scores
    florence2_finish_reason finish_reason = FLORENCE2_FINISH_REASON_NONE;
    std::uint32_t image_width_px = 0, image_height_px = 0;
    florence2::timings timings;
    std::vector<result> alternatives; ///< further answers of num_return_sequences, best first

    /// The answer as a JSON object, which the first call creates.
    std::string json() const { return florence2_result_json(native_.get()); }

  private:
    friend class model;
    std::shared_ptr<const florence2_result> native_;
};

/// The log-probabilities of a target answer.
struct target_score {
    struct token {
        std::uint32_t token_id;
        std::string text;
        float log_prob;
    };
    float loss = 0; ///< the mean negative log-probability of the tokens
    std::vector<token> tokens;

    /// The score as a JSON object, which the first call creates.
    std::string json() const { return florence2_score_json(native_.get()); }

  private:
    friend class model;
    std::shared_ptr<const florence2_score> native_;
};

/// The outcome of one request of a batch: its result or its error.
class outcome {
  public:
    outcome(result value) : held_(std::move(value)) {}
    outcome(florence2::error reason) : held_(std::move(reason)) {}

    /// Whether there is a result.
    bool has_value() const noexcept { return held_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    /// The result. Throws the error if there is none.
    const result &value() const & {
        check();
        return std::get<result>(held_);
    }
    /// The result, moved out of a temporary outcome.
    result value() && {
        check();
        return std::get<result>(std::move(held_));
    }
    /// The error. Throws std::bad_variant_access if there is a result.
    const florence2::error &error() const { return std::get<florence2::error>(held_); }

  private:
    void check() const {
        if (!has_value()) {
            throw std::get<florence2::error>(held_);
        }
    }

    std::variant<result, florence2::error> held_;
};

/// A box as the input of a task, in pixels of the image, with x1 <= x2 and y1 <= y2.
struct box_px {
    double x1, y1, x2, y2;
};

/// A box as the input of a task, in fractions of the image's width and height, 0 to 1.
struct box_fractions {
    double x1, y1, x2, y2;
};

/// The input of a task besides the image: none, a text or a box. describe_task says which a task needs.
using task_input = std::variant<std::monostate, std::string, box_px, box_fractions>;

/// A request: a task or a prompt about an image. The image must outlive the run.
struct request {
    request(const image &input_image, std::string task_, task_input input_ = {})
        : task(std::move(task_)), input(std::move(input_)), image_(input_image.get()) {}
    request(const image_features &features, std::string task_, task_input input_ = {})
        : task(std::move(task_)), input(std::move(input_)), features_(features.get()) {}

    std::string task; ///< such as "<OD>"; empty for a prompt
    task_input input;
    std::optional<std::string> prompt; ///< free text, for fine-tuned models; without task and input

  private:
    friend class model;
    const florence2_image *image_ = nullptr;
    const florence2_image_features *features_ = nullptr;
};

/// A file in the caller's memory.
struct file {
    std::string name; ///< in the folder of the model or adapter, such as "config.json"
    const std::uint8_t *data;
    std::size_t size;
};

/// A LoRA adapter in PEFT's format: a folder, or its files in memory.
struct adapter {
    adapter(std::string folder_, float scale_ = 1) : folder(std::move(folder_)), scale(scale_) {}
    adapter(const char *folder_, float scale_ = 1) : folder(folder_), scale(scale_) {}
    adapter(std::vector<file> files_, float scale_ = 1) : files(std::move(files_)), scale(scale_) {}

    std::string folder;
    std::vector<file> files;
    float scale; ///< the factor of the adapter's updates, as PEFT's set_scale; 0 counts as 1
};

/// Options of loading a model.
struct load_options {
    std::string device = "auto"; ///< one of devices()
    std::string dtype = "auto";  ///< number type of the weights: f32, f16, bf16 or int8; auto for f32
    std::vector<adapter> adapters; ///< merged into the weights in order
    std::size_t threads = 0; ///< threads of the model's own pool; 0 for the pool of the process
    /// The largest number of threads that spin between operations of a run on the CPU; 0 for 8, -1 for none.
    std::int32_t spin_limit = 0;
    std::string weights;   ///< path of a weights file or an index of shards; empty for the folder's
    std::string processor; ///< folder of the processor's and tokenizer's files; empty for the model's
    const florence2::cancel *cancel = nullptr; ///< ends the loading when it is fired
    /// Called before the first tensor and after each; false ends the loading.
    std::function<bool(const florence2_load_progress &)> on_progress;
};

/// The condition that ends a beam search.
enum class early_stopping {
    /// True: as soon as num_beams answers are complete.
    as_soon_as_complete = FLORENCE2_EARLY_STOPPING_TRUE,
    /// False: when a better answer is unlikely, by a heuristic.
    when_better_is_unlikely = FLORENCE2_EARLY_STOPPING_FALSE,
    /// Never: when a better answer is impossible.
    never = FLORENCE2_EARLY_STOPPING_NEVER,
};

/// A number of tokens after which the scores of end tokens increase, and the base of the increase.
struct exponential_decay {
    std::uint32_t start = 0;
    double factor = 1;
};

/// A sequence of tokens with the bias that is added to the score of its last token.
struct sequence_bias {
    std::vector<std::uint32_t> token_ids;
    float bias = 0;
};

/// The options of generation, with the names and effects of Hugging Face's GenerationConfig. An option without
/// a value keeps the value of the model's files, or the default that its comment states.
struct generation_options {
    // Generated by `cargo xtask options`: members. Do not edit.
    /// The maximum number of generated tokens, including the end token. It overrides max_length. Values above
    /// the number of the decoder's positions are reduced to it. Must be at least 1. Default: 1024, if
    /// max_length is not set either.
    std::optional<std::uint32_t> max_new_tokens;
    /// The minimum number of generated tokens before an end token. It overrides min_length and is limited by
    /// the maximum length. Default: none.
    std::optional<std::uint32_t> min_new_tokens;
    /// The tokens that end an answer. If the list is set and empty, answers end only at their maximum length.
    /// Default: none, with a warning of the model.
    std::optional<std::vector<std::uint32_t>> eos_token_id;
    /// The maximum length of the decoder's sequence in tokens, including the start token. max_new_tokens
    /// overrides it. Values above the number of the decoder's positions are reduced. Must be at least 2.
    /// Default: none.
    std::optional<std::uint32_t> max_length;
    /// The minimum length of the decoder's sequence in tokens, including the start token, before an end
    /// token. min_new_tokens overrides it. Default: 0.
    std::optional<std::uint32_t> min_length;
    /// After this number of generated tokens, the scores of end tokens increase exponentially with this base
    /// f. If an answer has n > 0 more tokens than the number, `|score| * (f^n - 1)` is added to the score of
    /// an end token. Banned end tokens remain banned. Default: no increase.
    std::optional<florence2::exponential_decay> exponential_decay_length_penalty;
    /// The time limit of the search in seconds, without the vision tower and the encoder. After it, answers
    /// end as they are, with the finish reason of the maximum length. Default: no limit.
    std::optional<double> max_time;
    /// Texts that end an answer. The answer ends with the token that completes one of them, with the finish
    /// reason of an end token. Default: none.
    std::optional<std::vector<std::string>> stop_strings;
    /// The number of beams of the beam search. 1 selects greedy search, or sampling with do_sample. Must be
    /// at least 1 and at most half the size of the vocabulary. Default: 1.
    std::optional<std::uint32_t> num_beams;
    /// The number of answers per request. It must not exceed num_beams, except with sampling and one beam.
    /// Must be at least 1. Default: 1.
    std::optional<std::uint32_t> num_return_sequences;
    /// Beam search divides the score of an answer by its length to the power of this value. Must be finite.
    /// Default: 1.
    std::optional<float> length_penalty;
    /// The condition that ends a beam search. True: as soon as num_beams answers are complete. False: when a
    /// better answer is unlikely, by a heuristic. Never: when a better answer is impossible. Default: false.
    std::optional<florence2::early_stopping> early_stopping;
    /// True to sample tokens. Otherwise, the most likely tokens are chosen. Default: false.
    std::optional<bool> do_sample;
    /// Sampling: choose from the k most likely tokens. Must be at least 0. 0 disables the option. Default:
    /// 50.
    std::optional<std::int32_t> top_k;
    /// Sampling: choose from the most likely tokens whose total probability reaches this value. Must be at
    /// least 0. Default: 1, which disables the option.
    std::optional<float> top_p;
    /// Sampling: the divisor of the scores. Must be greater than 0. Default: 1, which disables the option.
    std::optional<float> temperature;
    /// Sampling: the seed of the random numbers, which are the same on every machine. Transformers has no
    /// such key, and the tokens differ from those that it samples. Default: 0.
    std::optional<std::uint64_t> seed;
    /// Sampling: choose from the tokens whose probability is at least this fraction of that of the most
    /// likely token. Must be between 0 and 1. Default: no limit.
    std::optional<float> min_p;
    /// Sampling: choose from the most likely tokens whose total entropy is at most this fraction of the
    /// entropy of the 100 most likely tokens. Must be greater than 0 and at most 1. Default: no limit.
    std::optional<float> top_h;
    /// Sampling: choose from the tokens whose information is closest to the entropy of the distribution
    /// (locally typical tokens) and whose total probability reaches this value. Must be greater than 0.
    /// Default: 1, which disables the option.
    std::optional<float> typical_p;
    /// Sampling: choose from the tokens with at least this probability. Default: 0, which disables the
    /// option.
    std::optional<float> epsilon_cutoff;
    /// Sampling: the cutoff e of eta sampling, which chooses from the tokens whose probability is at least
    /// `min(e, sqrt(e) * exp(-entropy))`. Default: 0, which disables the option.
    std::optional<float> eta_cutoff;
    /// A value greater than 1 makes tokens that the answer already contains less likely. Positive scores are
    /// divided by it, negative scores are multiplied. Must be greater than 0. Default: 1, which disables the
    /// option.
    std::optional<float> repetition_penalty;
    /// A value greater than 1 makes tokens of the encoder's input more likely. The input is the image
    /// placeholder and the prompt, without padding. It applies only to the first beam or sample of a request,
    /// as in transformers. Must be greater than 0. Default: 1, which disables the option.
    std::optional<float> encoder_repetition_penalty;
    /// True to replace NaN scores by 0 and infinite scores by the largest and the smallest finite number.
    /// Default: false.
    std::optional<bool> remove_invalid_values;
    /// True to normalise scores to log-probabilities again after all other options have changed them.
    /// Default: false.
    std::optional<bool> renormalize_logits;
    /// Sequences of tokens, each with a bias that is added to the score of its last token after the other
    /// tokens. A positive bias makes the sequence more likely. If a sequence occurs twice, its last bias
    /// applies. Default: none.
    std::optional<std::vector<florence2::sequence_bias>> sequence_bias;
    /// No sequence of this many tokens occurs twice in an answer. Default: 0, which disables the option.
    std::optional<std::uint32_t> no_repeat_ngram_size;
    /// No sequence of this many tokens of the encoder's input occurs in an answer. The input is the image
    /// placeholder and the prompt, without padding. Size 1 bans `</s>`, which every prompt contains. Default:
    /// 0, which disables the option.
    std::optional<std::uint32_t> encoder_no_repeat_ngram_size;
    /// The first generated token is one of these. Default: none.
    std::optional<std::vector<std::uint32_t>> forced_bos_token_id;
    /// The token at the maximum length is one of these. Default: none.
    std::optional<std::vector<std::uint32_t>> forced_eos_token_id;
    /// The start token of the decoder: one for all requests, or one per request of the batch. Default: the
    /// start token of `text_config` in the model's config.json.
    std::optional<std::vector<std::uint32_t>> decoder_start_token_id;
    /// Tokens that are never generated. Default: none.
    std::optional<std::vector<std::uint32_t>> suppress_tokens;
    /// Tokens that are not generated first, or not directly after a forced first token. Default: none.
    std::optional<std::vector<std::uint32_t>> begin_suppress_tokens;
    /// Sequences of tokens that are never generated. Default: none.
    std::optional<std::vector<std::vector<std::uint32_t>>> bad_words_ids;
    // End of the generated part.
};

namespace detail {

/// Converts generation options to fields of the C struct. The fields point to the options and to this object.
class generation_fields {
  public:
    generation_fields(const generation_options &options, florence2_run_options &fields) : native(fields) {
        // Generated by `cargo xtask options`: conversion. Do not edit.
        set(options.num_beams, native.num_beams, FLORENCE2_SET_NUM_BEAMS);
        set(options.num_return_sequences, native.num_return_sequences, FLORENCE2_SET_NUM_RETURN_SEQUENCES);
        set(options.max_new_tokens, native.max_new_tokens, FLORENCE2_SET_MAX_NEW_TOKENS);
        set(options.min_new_tokens, native.min_new_tokens, FLORENCE2_SET_MIN_NEW_TOKENS);
        set(options.do_sample, native.do_sample);
        set(options.top_k, native.top_k, FLORENCE2_SET_TOP_K);
        set(options.top_p, native.top_p, FLORENCE2_SET_TOP_P);
        set(options.temperature, native.temperature, FLORENCE2_SET_TEMPERATURE);
        set(options.repetition_penalty, native.repetition_penalty, FLORENCE2_SET_REPETITION_PENALTY);
        set(options.length_penalty, native.length_penalty, FLORENCE2_SET_LENGTH_PENALTY);
        set(options.no_repeat_ngram_size, native.no_repeat_ngram_size, FLORENCE2_SET_NO_REPEAT_NGRAM_SIZE);
        set(options.early_stopping, native.early_stopping);
        set(options.seed, native.seed, FLORENCE2_SET_SEED);
        set(options.eos_token_id, native.eos_token_ids, native.eos_token_ids_len, FLORENCE2_SET_EOS_TOKEN_IDS);
        set(options.max_length, native.max_length, FLORENCE2_SET_MAX_LENGTH);
        set(options.min_length, native.min_length, FLORENCE2_SET_MIN_LENGTH);
        set(options.encoder_no_repeat_ngram_size, native.encoder_no_repeat_ngram_size, FLORENCE2_SET_ENCODER_NO_REPEAT_NGRAM_SIZE);
        set(options.min_p, native.min_p, FLORENCE2_SET_MIN_P);
        set(options.top_h, native.top_h, FLORENCE2_SET_TOP_H);
        set(options.typical_p, native.typical_p, FLORENCE2_SET_TYPICAL_P);
        set(options.epsilon_cutoff, native.epsilon_cutoff, FLORENCE2_SET_EPSILON_CUTOFF);
        set(options.eta_cutoff, native.eta_cutoff, FLORENCE2_SET_ETA_CUTOFF);
        set(options.encoder_repetition_penalty, native.encoder_repetition_penalty, FLORENCE2_SET_ENCODER_REPETITION_PENALTY);
        set(options.remove_invalid_values, native.remove_invalid_values);
        set(options.renormalize_logits, native.renormalize_logits);
        set(options.exponential_decay_length_penalty, native.exponential_decay_start, native.exponential_decay_factor, FLORENCE2_SET_EXPONENTIAL_DECAY_LENGTH_PENALTY);
        set(options.max_time, native.max_time_s, FLORENCE2_SET_MAX_TIME);
        set(options.forced_bos_token_id, native.forced_bos_token_ids, native.forced_bos_token_ids_len, FLORENCE2_SET_FORCED_BOS_TOKEN_IDS);
        set(options.forced_eos_token_id, native.forced_eos_token_ids, native.forced_eos_token_ids_len, FLORENCE2_SET_FORCED_EOS_TOKEN_IDS);
        set(options.decoder_start_token_id, native.decoder_start_token_ids, native.decoder_start_token_ids_len, FLORENCE2_SET_DECODER_START_TOKEN_IDS);
        set(options.suppress_tokens, native.suppress_tokens, native.suppress_tokens_len, FLORENCE2_SET_SUPPRESS_TOKENS);
        set(options.begin_suppress_tokens, native.begin_suppress_tokens, native.begin_suppress_tokens_len, FLORENCE2_SET_BEGIN_SUPPRESS_TOKENS);
        set(options.bad_words_ids, native.bad_words_ids, native.bad_words_ids_len, FLORENCE2_SET_BAD_WORDS_IDS);
        set(options.sequence_bias, native.sequence_bias, native.sequence_bias_len, FLORENCE2_SET_SEQUENCE_BIAS);
        set("stop_strings", options.stop_strings, native.stop_strings, native.stop_strings_len, FLORENCE2_SET_STOP_STRINGS);
        // End of the generated part.
    }
    generation_fields(const generation_fields &) = delete;
    generation_fields &operator=(const generation_fields &) = delete;

  private:
    template <typename T, typename Field>
    void set(const std::optional<T> &value, Field &field, std::uint64_t bit) {
        if (value) {
            field = static_cast<Field>(*value);
            native.set |= bit;
        }
    }

    void set(const std::optional<bool> &value, std::int32_t &field) {
        if (value) {
            field = *value ? FLORENCE2_SWITCH_ON : FLORENCE2_SWITCH_OFF;
        }
    }

    void set(const std::optional<early_stopping> &value, std::int32_t &field) {
        if (value) {
            field = static_cast<std::int32_t>(*value);
        }
    }

    void set(const std::optional<exponential_decay> &value, std::uint32_t &start, double &factor,
             std::uint64_t bit) {
        if (value) {
            start = value->start;
            factor = value->factor;
            native.set |= bit;
        }
    }

    void set(const std::optional<std::vector<std::uint32_t>> &ids, const std::uint32_t *&data,
             std::size_t &size, std::uint64_t bit) {
        if (ids) {
            data = ids->data();
            size = ids->size();
            native.set |= bit;
        }
    }

    void set(const std::optional<std::vector<std::vector<std::uint32_t>>> &sequences,
             const florence2_token_sequence *&data, std::size_t &size, std::uint64_t bit) {
        if (sequences) {
            for (const std::vector<std::uint32_t> &ids : *sequences) {
                sequences_.push_back({ids.data(), ids.size()});
            }
            data = sequences_.data();
            size = sequences_.size();
            native.set |= bit;
        }
    }

    void set(const std::optional<std::vector<sequence_bias>> &biases, const florence2_sequence_bias *&data,
             std::size_t &size, std::uint64_t bit) {
        if (biases) {
            for (const sequence_bias &one : *biases) {
                biases_.push_back({one.token_ids.data(), one.token_ids.size(), one.bias, 0});
            }
            data = biases_.data();
            size = biases_.size();
            native.set |= bit;
        }
    }

    void set(const char *argument, const std::optional<std::vector<std::string>> &texts,
             const char *const *&data, std::size_t &size, std::uint64_t bit) {
        if (texts) {
            for (const std::string &text : *texts) {
                texts_.push_back(c_string(text, argument));
            }
            data = texts_.data();
            size = texts_.size();
            native.set |= bit;
        }
    }

    florence2_run_options &native;
    std::vector<florence2_token_sequence> sequences_;
    std::vector<florence2_sequence_bias> biases_;
    std::vector<const char *> texts_;
};

} // namespace detail

/// The conventions of results where Microsoft's code and transformers differ.
enum class coordinates {
    bin_centers = FLORENCE2_COORDINATES_BIN_CENTERS, ///< the bins' centres, with fractions
    hf_integers = FLORENCE2_COORDINATES_HF_INTEGERS, ///< transformers' integers
};

/// Options of a run. An option without a value selects that of the model's files or the default.
struct run_options {
    generation_options generation; ///< they override those of generation_config
    std::string generation_config; ///< a JSON object with keys of generation_config.json
    florence2::coordinates coordinates = florence2::coordinates::bin_centers;
    /// The number of bins on each side of a coordinate that count as the same one in the scores of regions
    /// and answers; 1000 bins are a side of the image. Default: 50.
    std::optional<std::uint32_t> location_tolerance;
    /// The time limit of the call, from its start. After it, the call fails with
    /// FLORENCE2_STATUS_DEADLINE_EXCEEDED. Default: no limit.
    std::optional<std::chrono::milliseconds> timeout;
    const florence2::cancel *cancel = nullptr; ///< ends the call when it is fired
    /// Called once per token, in order; false ends the run. With beams or several answers per request, the
    /// tokens of the best answer arrive after the search.
    std::function<bool(const florence2_token &)> on_token;
    /// Called once per step of the search; false ends the run.
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

    /// Loads a model from the files of such a folder in memory. The call reads them; the model keeps none.
    static model load_memory(const std::vector<file> &files, const load_options &options = {}) {
        const std::vector<florence2_file> native_files = files_of(files);
        return with_options(options, [&](const florence2_load_options *native) {
            florence2_model *made = nullptr;
            detail::call(florence2_model_load_memory, native_files.data(), native_files.size(), native,
                         &made);
            return made;
        });
    }

    /// Loads the embedded demo model, if the library was built with it.
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

    /// The model's device, dtype, threads, vocabulary size and generation options as a JSON object.
    std::string info_json() const { return florence2_model_info_json(get()); }

    /// The id of a token, as it is written in the tokenizer's file.
    std::uint32_t token_id(const std::string &token) const {
        std::uint32_t id = 0;
        detail::call(florence2_model_token_id, get(), detail::c_string(token, "token"), &id);
        return id;
    }

    /// Answers a request.
    result run(const request &one, const run_options &options = {}) const {
        const florence2_request native = native_request(one);
        result_handle made;
        observed(options, [&](const florence2_run_options *native_options) {
            florence2_result *raw = nullptr;
            detail::call(florence2_model_run, get(), &native, native_options, &raw);
            made.reset(raw);
        });
        return copy(std::move(made));
    }

    /// Answers requests in one batch. There is one outcome per request, in order, and each result equals that
    /// of the request alone. Throws the errors that concern all requests, such as those of options.
    std::vector<outcome> run_batch(const std::vector<request> &requests,
                                   const run_options &options = {}) const {
        std::vector<florence2_request> native;
        std::vector<std::optional<error>> rejected(requests.size());
        for (std::size_t index = 0; index < requests.size(); index++) {
            try {
                native.push_back(native_request(requests[index]));
            } catch (const error &reason) {
                // An empty request keeps the index and fails in the library.
                rejected[index] = reason;
                florence2_request_init(&native.emplace_back(), sizeof native.back());
            }
        }
        detail::handles<florence2_result, florence2_result_free> results(requests.size());
        detail::handles<florence2_error, florence2_error_free> errors(requests.size());
        observed(options, [&](const florence2_run_options *native_options) {
            detail::call(florence2_model_run_batch, get(),
                         static_cast<const florence2_request *>(native.data()), native.size(),
                         native_options, results.data(), errors.data());
        });
        std::vector<outcome> outcomes;
        for (std::size_t index = 0; index < requests.size(); index++) {
            result_handle made = results.take(index);
            const auto reason = errors.take(index);
            if (rejected[index]) {
                outcomes.emplace_back(*rejected[index]);
            } else if (made) {
                outcomes.emplace_back(copy(std::move(made)));
            } else {
                outcomes.emplace_back(detail::error_of(florence2_error_status(reason.get()), reason.get()));
            }
        }
        return outcomes;
    }

    /// Runs the vision tower on an image, once for any number of requests.
    image_features encode_image(const image &input, const run_options &options = {}) const {
        florence2_image_features *made = nullptr;
        observed(options, [&](const florence2_run_options *native) {
            detail::call(florence2_model_encode_image, get(), input.get(), native, &made);
        });
        return image_features(made);
    }

    /// Scores `target` as the answer to a request.
    target_score score(const request &one, const std::string &target,
                       const run_options &options = {}) const {
        const florence2_request native = native_request(one);
        detail::handle<florence2_score, florence2_score_free> made;
        observed(options, [&](const florence2_run_options *native_options) {
            florence2_score *raw = nullptr;
            detail::call(florence2_model_score, get(), &native, detail::c_string(target, "target"),
                         native_options, &raw);
            made.reset(raw);
        });
        target_score copied;
        copied.native_ = std::move(made);
        const florence2_score *scored = copied.native_.get();
        copied.loss = florence2_score_loss(scored);
        for (std::size_t index = 0; index < florence2_score_token_count(scored); index++) {
            const florence2_token *token = florence2_score_token(scored, index);
            copied.tokens.push_back({token->token_id, token->text, token->log_prob});
        }
        return copied;
    }

    /// The handle of the C API, borrowed.
    const florence2_model *get() const noexcept { return handle_.get(); }

  private:
    using result_handle = detail::handle<florence2_result, florence2_result_free>;

    explicit model(florence2_model *made) : handle_(made) {}

    template <typename Load> static model with_options(const load_options &options, Load load) {
        if (florence2_abi_version() != FLORENCE2_ABI_VERSION) {
            throw error(FLORENCE2_STATUS_NOT_IN_THIS_BUILD,
                        "libflorence2: found ABI " + std::to_string(florence2_abi_version()) +
                            ", expected " + std::to_string(FLORENCE2_ABI_VERSION));
        }
        std::vector<std::vector<florence2_file>> adapter_files;
        std::vector<florence2_adapter> adapters;
        for (const adapter &one : options.adapters) {
            adapter_files.push_back(files_of(one.files));
            florence2_adapter native{};
            native.folder = detail::c_string_or_null(one.folder, "adapters");
            native.files = adapter_files.back().data();
            native.files_len = adapter_files.back().size();
            native.scale = one.scale;
            adapters.push_back(native);
        }
        load_observer observing{options, {}};
        florence2_load_options native;
        florence2_load_options_init(&native, sizeof native);
        native.device = detail::c_string(options.device, "device");
        native.dtype = detail::c_string(options.dtype, "dtype");
        native.adapters = adapters.data();
        native.adapters_len = adapters.size();
        native.threads = options.threads;
        native.spin_limit = options.spin_limit;
        native.weights = detail::c_string_or_null(options.weights, "weights");
        native.processor = detail::c_string_or_null(options.processor, "processor");
        if (options.cancel != nullptr) {
            native.cancel = options.cancel->get();
        }
        if (options.on_progress) {
            native.user = &observing;
            native.on_progress = [](const florence2_load_progress *progress, void *user) -> std::int32_t {
                load_observer *observing = static_cast<load_observer *>(user);
                return observing->guard.guarded(
                    [&] { return observing->options.on_progress(*progress) ? 0 : 1; });
            };
        }
        florence2_model *made = nullptr;
        observing.guard.rethrowing([&] { made = load(&native); });
        return model(made);
    }

    /// The `user` of the callback of loading.
    struct load_observer {
        const load_options &options;
        detail::callback_guard guard;
    };

    static std::vector<florence2_file> files_of(const std::vector<file> &files) {
        std::vector<florence2_file> native;
        for (const file &one : files) {
            native.push_back({detail::c_string(one.name, "name"), one.data, one.size});
        }
        return native;
    }

    static florence2_request native_request(const request &one) {
        florence2_request native;
        florence2_request_init(&native, sizeof native);
        native.image = one.image_;
        native.image_features = one.features_;
        native.task = detail::c_string_or_null(one.task, "task");
        native.prompt = one.prompt ? detail::c_string(*one.prompt, "prompt") : nullptr;
        if (const auto *text = std::get_if<std::string>(&one.input)) {
            native.input = detail::c_string(*text, "input");
        } else if (const auto *box = std::get_if<box_px>(&one.input)) {
            set_box(native, *box, FLORENCE2_REGION_UNIT_PX);
        } else if (const auto *fractions = std::get_if<box_fractions>(&one.input)) {
            set_box(native, *fractions, FLORENCE2_REGION_UNIT_NORMALIZED);
        }
        return native;
    }

    template <typename Box>
    static void set_box(florence2_request &native, const Box &box, florence2_region_unit unit) {
        const std::array<double, 4> edges{box.x1, box.y1, box.x2, box.y2};
        std::copy(edges.begin(), edges.end(), native.region);
        native.region_unit = unit;
    }

    /// The `user` of the callbacks of a run.
    struct observer {
        const run_options &options;
        detail::callback_guard guard;
    };

    static std::int32_t native_tolerance(const std::optional<std::uint32_t> &bins) {
        if (!bins) {
            return 0;
        }
        constexpr std::uint32_t largest = std::numeric_limits<std::int32_t>::max();
        return *bins == 0 ? -1 : static_cast<std::int32_t>(std::min(*bins, largest));
    }

    template <typename Run> static void observed(const run_options &options, Run run) {
        observer observing{options, {}};
        florence2_run_options native;
        florence2_run_options_init(&native, sizeof native);
        native.user = &observing;
        const detail::generation_fields fields(options.generation, native);
        native.generation_config = detail::c_string_or_null(options.generation_config, "generation_config");
        native.coordinates = static_cast<std::int32_t>(options.coordinates);
        native.location_tolerance = native_tolerance(options.location_tolerance);
        if (options.timeout) {
            // The C API has no limit of 0.
            native.deadline_ms = std::max<std::int64_t>(options.timeout->count(), 1);
        }
        if (options.cancel != nullptr) {
            native.cancel = options.cancel->get();
        }
        if (options.on_token) {
            native.on_token = [](const florence2_token *token, void *user) -> std::int32_t {
                observer *observing = static_cast<observer *>(user);
                return observing->guard.guarded([&] { return observing->options.on_token(*token) ? 0 : 1; });
            };
        }
        if (options.on_progress) {
            native.on_progress = [](const florence2_progress *progress, void *user) -> std::int32_t {
                observer *observing = static_cast<observer *>(user);
                return observing->guard.guarded(
                    [&] { return observing->options.on_progress(*progress) ? 0 : 1; });
            };
        }
        observing.guard.rethrowing([&] { run(&native); });
    }

    /// Copies a result, which owns the handle from then on.
    static result copy(result_handle made) {
        return copy(std::shared_ptr<const florence2_result>(std::move(made)));
    }

    static result copy(std::shared_ptr<const florence2_result> owned) {
        const florence2_result *native = owned.get();
        result copied;
        copied.text = florence2_result_text(native);
        copied.raw_text = florence2_result_raw_text(native);
        copied.task = florence2_result_task(native);
        copied.score = detail::optional_number(florence2_result_score(native));
        copied.sequence_score = florence2_result_sequence_score(native);
        copied.finish_reason = florence2_result_finish_reason(native);
        copied.image_width_px = florence2_result_image_width_px(native);
        copied.image_height_px = florence2_result_image_height_px(native);
        const florence2_timings *durations = florence2_result_timings(native);
        copied.timings = {durations->preprocess_ms, durations->vision_ms, durations->generate_ms};
        for (std::size_t index = 0; index < florence2_result_region_count(native); index++) {
            copied.regions.push_back(copy(*florence2_result_region(native, index)));
        }
        const std::size_t tokens = florence2_result_token_count(native);
        const std::uint32_t *ids = florence2_result_token_ids(native);
        const float *log_probs = florence2_result_token_log_probs(native);
        copied.token_ids.assign(ids, ids + tokens);
        copied.token_log_probs.assign(log_probs, log_probs + tokens);
        for (std::size_t index = 0; index < florence2_result_alternative_count(native); index++) {
            // The alternative belongs to the result.
            copied.alternatives.push_back(copy(std::shared_ptr<const florence2_result>(
                owned, florence2_result_alternative(native, index))));
        }
        copied.native_ = std::move(owned);
        return copied;
    }

    static region copy(const florence2_region &native) {
        region copied{native.kind, native.label, {}, std::nullopt, native.instance};
        for (std::size_t at = 0; at < native.points_len; at++) {
            copied.points.push_back({native.points[at].x_px, native.points[at].y_px});
        }
        if (!std::isnan(native.score)) {
            copied.score = region_score{native.score, detail::optional_number(native.label_score),
                                        native.location_score};
        }
        return copied;
    }

    detail::handle<florence2_model, florence2_model_free> handle_;
};

} // namespace florence2

#endif // FLORENCE2_HPP

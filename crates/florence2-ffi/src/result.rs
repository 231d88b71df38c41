//! Results as C programs read them.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use florence2::{Answer, FinishReason, Region, Shape};

use crate::boundary;
use crate::handle::{self, Handle};
use crate::text::c_string;

/// The result of a request: the answer as text, as tokens and as regions.
///
/// - Ownership: a run creates it. The caller frees it with florence2_result_free. Everything that
///   is read from it is borrowed from it.
/// - Threads: it is immutable. Any number of threads may read it at the same time.
///
/// A result does not refer to the model, the image or the request.
pub struct florence2_result {
    answer: Answer,
    image_name: String,
    task: CString,
    text: CString,
    raw_text: CString,
    /// The labels to which `regions` points.
    _labels: Vec<CString>,
    /// The points to which `regions` points.
    _points: Vec<Vec<florence2_point>>,
    regions: Vec<florence2_region>,
    timings: florence2_timings,
    alternatives: Vec<florence2_result>,
    json: OnceLock<CString>,
}

impl Handle for florence2_result {
    const NAME: &'static str = "result";
}

impl Drop for florence2_result {
    fn drop(&mut self) {
        self.alternatives
            .iter()
            .for_each(handle::unregister_borrowed);
    }
}

/// The reason why an answer ended.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum florence2_finish_reason {
    /// There is no answer, because the result is NULL.
    None = 0,
    /// The model chose an end token, or completed a stop string.
    EndOfText = 1,
    /// The answer was cut off: it reached `max_new_tokens` or `max_length`, or `max_time_s` passed. An
    /// end token that `forced_eos_token_ids` appends at the maximum length does not change this reason.
    Length = 2,
}

/// The meaning of the points of a region.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum florence2_region_kind {
    /// Two points: opposite corners in the order in which the model generated them, usually the upper
    /// left corner and the lower right corner.
    Box = 0,
    /// Four points: the corners of a text line, in the order in which the model generated them.
    Quad = 1,
    /// One point per vertex of a closed ring.
    Polygon = 2,
}

/// A point in pixels of the image, from its upper left corner.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct florence2_point {
    /// The distance from the left edge.
    pub x_px: f64,
    /// The distance from the top edge.
    pub y_px: f64,
}

/// A region of the answer: a place in the image that the model found, such as a detected object,
/// a text line or a part of a mask. The input of a task is the field `region` of florence2_request.
/// A crop of a pixel buffer is described by the fields `region_x_px` and following of
/// florence2_pixels and florence2_yuv.
///
/// Later versions may append fields: copy its fields, not the struct.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct florence2_region {
    /// The label, in UTF-8; the empty string if the region has none.
    pub label: *const c_char,
    /// The points. `kind` is their meaning.
    pub points: *const florence2_point,
    /// The number of elements at `points`.
    pub points_len: usize,
    /// The number of the object to which the region belongs. The rings of one object share it.
    pub instance: usize,
    /// The meaning of the points.
    pub kind: florence2_region_kind,
    /// The confidence, 0 to 1: `label_score` times `location_score`, or `location_score` if the
    /// region has no label. NaN if it is not known.
    pub score: f32,
    /// The probability of the label, 0 to 1: the geometric mean over its tokens. NaN if the region
    /// has no label.
    pub label_score: f32,
    /// The probability, 0 to 1, that a coordinate lies within `location_tolerance` of the generated
    /// one, of the least certain coordinate. NaN if it is not known.
    pub location_score: f32,
}

/// A token of an answer or of a target.
///
/// Later versions may append fields: copy its fields, not the struct.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct florence2_token {
    /// The index of the token's request in the batch; 0 for other calls.
    pub request: usize,
    /// The text of the token, in UTF-8. In florence2_token_callback, a character that consists of
    /// several tokens is part of the text of the last of them, and the text of `<s>`, `</s>` and
    /// `<pad>` is empty. In florence2_score, each token is decoded by itself.
    pub text: *const c_char,
    /// The id of the token.
    pub token_id: u32,
    /// The natural logarithm of its probability, given the tokens before it; 0 for a forced token.
    pub log_prob: f32,
}

/// The durations of the stages of a run in milliseconds. Each result of a batch has the durations
/// of the whole batch. A result of image features has the durations of their
/// florence2_model_encode_image.
///
/// Later versions may append fields: copy its fields, not the struct.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct florence2_timings {
    /// The image is resized and normalised.
    pub preprocess_ms: f64,
    /// The vision tower and its projection run.
    pub vision_ms: f64,
    /// The prompts are tokenized, and the encoder and the decoder run.
    pub generate_ms: f64,
}

impl florence2_result {
    /// Converts an answer of the facade.
    pub(crate) fn new(mut answer: Answer, image_name: &str) -> Self {
        let alternatives = std::mem::take(&mut answer.alternatives);
        let labels: Vec<CString> = answer
            .regions
            .iter()
            .map(|region| c_string(&region.label))
            .collect();
        let points: Vec<_> = answer.regions.iter().map(points).collect();
        let regions = answer.regions.iter().zip(&labels).zip(&points);
        let regions = regions.map(|((region, label), points)| view(region, label, points));
        let timings = answer.timings;
        let alternatives: Vec<Self> = alternatives
            .into_iter()
            .map(|alternative| Self::new(alternative, image_name))
            .collect();
        alternatives.iter().for_each(handle::register_borrowed);
        Self {
            task: c_string(&answer.prompt.key()),
            text: c_string(&answer.text),
            raw_text: c_string(&answer.raw_text),
            regions: regions.collect(),
            _labels: labels,
            _points: points,
            timings: florence2_timings {
                preprocess_ms: timings.preprocess.as_secs_f64() * 1e3,
                vision_ms: timings.vision.as_secs_f64() * 1e3,
                generate_ms: timings.generate.as_secs_f64() * 1e3,
            },
            alternatives,
            image_name: image_name.to_owned(),
            json: OnceLock::new(),
            answer,
        }
    }

    /// Returns the answer of the facade including its alternatives.
    fn whole_answer(&self) -> Answer {
        let mut answer = self.answer.clone();
        answer.alternatives = self.alternatives.iter().map(Self::whole_answer).collect();
        answer
    }
}

/// Returns the points of a region in the order of the C struct.
fn points(region: &Region) -> Vec<florence2_point> {
    let points = region.shape.points().into_iter();
    points
        .map(|[x_px, y_px]| florence2_point { x_px, y_px })
        .collect()
}

/// Returns a region that points to its label and its points. They do not move while the result
/// exists.
fn view(region: &Region, label: &CString, points: &[florence2_point]) -> florence2_region {
    let score = region.score;
    florence2_region {
        label: label.as_ptr(),
        points: points.as_ptr(),
        points_len: points.len(),
        instance: region.instance,
        kind: match region.shape {
            Shape::Box(_) => florence2_region_kind::Box,
            Shape::Quad(_) => florence2_region_kind::Quad,
            Shape::Polygon(_) => florence2_region_kind::Polygon,
        },
        score: score.map_or(f32::NAN, |score| score.overall),
        label_score: score.and_then(|score| score.label).unwrap_or(f32::NAN),
        location_score: score.map_or(f32::NAN, |score| score.locations),
    }
}

/// Returns the answer as plain text: without `<s>`, `</s>` and surrounding white space, with
/// locations such as "<loc_123>". It is borrowed from the result; the empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_text(result: *const florence2_result) -> *const c_char {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(result, c"".as_ptr(), |result| result.text.as_ptr()) }
}

/// Returns the answer with all special tokens, such as `<s>` and `</s>`, borrowed from the result;
/// the empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_raw_text(
    result: *const florence2_result,
) -> *const c_char {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(result, c"".as_ptr(), |result| result.raw_text.as_ptr()) }
}

/// Returns the token of the task, such as "<OD>", borrowed from the result. For a prompt without a
/// task, it returns the text from a "<" at its start to the first ">", or the whole prompt. Returns
/// the empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_task(result: *const florence2_result) -> *const c_char {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(result, c"".as_ptr(), |result| result.task.as_ptr()) }
}

/// Returns the confidence of the answer, 0 to 1: the geometric mean of the probabilities of its tokens
/// without `<s>` and `</s>`. A location counts with the probability that it lies within
/// `location_tolerance` of the generated one. NaN if the answer has no such tokens, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_score(result: *const florence2_result) -> f32 {
    // SAFETY: rule 1 of lib.rs.
    unsafe {
        boundary::read(result, f32::NAN, |result| {
            result.answer.score.unwrap_or(f32::NAN)
        })
    }
}

/// Returns Hugging Face's `sequences_scores`: the sum of the log-probabilities of the generated
/// tokens, divided by their number to the power of `length_penalty`. NaN for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_sequence_score(result: *const florence2_result) -> f32 {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(result, f32::NAN, |result| result.answer.sequence_score) }
}

/// Returns the reason why the answer ended; FLORENCE2_FINISH_REASON_NONE for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_finish_reason(
    result: *const florence2_result,
) -> florence2_finish_reason {
    // SAFETY: rule 1 of lib.rs.
    unsafe {
        boundary::read(result, florence2_finish_reason::None, |result| match result
            .answer
            .finish_reason
        {
            FinishReason::EndOfText => florence2_finish_reason::EndOfText,
            // The model reached a limit.
            _ => florence2_finish_reason::Length,
        })
    }
}

/// Returns the width in pixels of the image that contains the regions; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_image_width_px(result: *const florence2_result) -> u32 {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(result, 0, |result| result.answer.image_size.width) }
}

/// Returns the height in pixels of the image that contains the regions; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_image_height_px(result: *const florence2_result) -> u32 {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(result, 0, |result| result.answer.image_size.height) }
}

/// Returns the number of regions; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_region_count(result: *const florence2_result) -> usize {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(result, 0, |result| result.regions.len()) }
}

/// Returns a region, in the order of the answer.
///
/// - `result`: the result.
/// - `index`: 0 to florence2_result_region_count() - 1.
///
/// Returns a pointer that is borrowed from the result; NULL if `result` is NULL or `index` is out
/// of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_region(
    result: *const florence2_result,
    index: usize,
) -> *const florence2_region {
    // SAFETY: rule 1 of lib.rs.
    unsafe {
        boundary::read(result, std::ptr::null(), |result| {
            pointer(result.regions.get(index))
        })
    }
}

/// Returns the number of tokens of the answer, including the decoder's start token; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_token_count(result: *const florence2_result) -> usize {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(result, 0, |result| result.answer.token_ids.len()) }
}

/// Returns the ids of the tokens, start token first: an array of florence2_result_token_count
/// elements, borrowed from the result; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_token_ids(result: *const florence2_result) -> *const u32 {
    // SAFETY: rule 1 of lib.rs.
    unsafe {
        boundary::read(result, std::ptr::null(), |result| {
            result.answer.token_ids.as_ptr()
        })
    }
}

/// Returns the natural logarithms of the tokens' probabilities: an array of
/// florence2_result_token_count elements, borrowed from the result; NULL for NULL. They are 0 for
/// the start token and for forced tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_token_log_probs(
    result: *const florence2_result,
) -> *const f32 {
    // SAFETY: rule 1 of lib.rs.
    unsafe {
        boundary::read(result, std::ptr::null(), |result| {
            result.answer.token_log_probs.as_ptr()
        })
    }
}

/// Returns the number of further answers, which is `num_return_sequences` - 1; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_alternative_count(
    result: *const florence2_result,
) -> usize {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(result, 0, |result| result.alternatives.len()) }
}

/// Returns one of the further answers, best first.
///
/// - `result`: the result.
/// - `index`: 0 to florence2_result_alternative_count() - 1.
///
/// Returns a result that is borrowed from `result`. It must not be freed. Returns NULL if `result`
/// is NULL or `index` is out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_alternative(
    result: *const florence2_result,
    index: usize,
) -> *const florence2_result {
    // SAFETY: rule 1 of lib.rs.
    unsafe {
        boundary::read(result, std::ptr::null(), |result| {
            pointer(result.alternatives.get(index))
        })
    }
}

/// Returns the durations of the run, borrowed from the result; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_timings(
    result: *const florence2_result,
) -> *const florence2_timings {
    // SAFETY: rule 1 of lib.rs.
    unsafe {
        boundary::read(result, std::ptr::null(), |result| {
            std::ptr::from_ref(&result.timings)
        })
    }
}

/// Returns the result as a JSON object, borrowed from the result; the empty string for NULL. The
/// first call creates it.
///
/// The keys are "schema" (the version of this structure, a number), "image" (the path of its file,
/// or ""), "width", "height", "task", "input", "text", "raw_text" (with special tokens),
/// "token_ids", "token_log_probs", "sequence_score", "finish_reason", "score", "result" (the answer
/// as Hugging Face's post_process_generation returns it), "regions", "timings_ms" and, with more
/// than one answer, "alternatives".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_json(result: *const florence2_result) -> *const c_char {
    // SAFETY: rule 1 of lib.rs.
    unsafe {
        boundary::read(result, c"".as_ptr(), |result| {
            let make = || {
                let json = result.whole_answer().to_json(&result.image_name);
                c_string(&json.to_string())
            };
            result.json.get_or_init(make).as_ptr()
        })
    }
}

/// Frees a result and everything that is borrowed from it. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_free(result: *mut florence2_result) {
    // SAFETY: rules 1 and 2 of lib.rs.
    unsafe { boundary::free(result) };
}

/// Returns the pointer to a value; null for `None`.
fn pointer<T>(value: Option<&T>) -> *const T {
    value.map_or(std::ptr::null(), std::ptr::from_ref)
}

//! Answers, as C reads them.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use florence2::{Answer, FinishReason, Region, RegionKind};

use crate::boundary;
use crate::handle::{self, Handle};
use crate::text::c_string;

/// An answer.
///
/// Made by a run, owned by the caller, to be freed with florence2_result_free; everything read from
/// it is borrowed until then. Immutable: any number of threads may read it at once. Every function
/// that reads it takes NULL, and then returns the value that its documentation names.
pub struct florence2_result {
    answer: Answer,
    image_name: String,
    task: CString,
    text: CString,
    raw_text: CString,
    /// What `regions` points to, besides the answer.
    _labels: Vec<CString>,
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

/// The reason for the end of an answer.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum florence2_finish_reason {
    /// There is no answer: the result was NULL.
    None = 0,
    /// The answer ended with an end token or a stop string.
    EndOfText = 1,
    /// The answer reached its maximal length, or `max_time_s` passed.
    Length = 2,
}

/// What a region's points are.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum florence2_region_kind {
    /// Two points: the corners (x1, y1) and (x2, y2).
    Box = 0,
    /// Four points: the corners of a text line.
    Quad = 1,
    /// One point for every vertex of a ring.
    Polygon = 2,
}

/// A point in pixels of the image, from its upper left corner.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct florence2_point {
    /// Pixels to the right.
    pub x_px: f64,
    /// Pixels down.
    pub y_px: f64,
}

/// A place in the image. Later versions may add fields at the end: copy the fields, not the struct.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct florence2_region {
    /// The label: UTF-8; the empty string if the task has no labels.
    pub label: *const c_char,
    /// Where it is.
    pub points: *const florence2_point,
    /// The number of points at `points`.
    pub points_len: usize,
    /// The object that this region belongs to: rings of one object share the number.
    pub instance: usize,
    /// What the points are.
    pub kind: florence2_region_kind,
    /// How sure the model was, 0 to 1: the exponential of the mean log-probability of the tokens
    /// that wrote the label and the location. NaN when nothing is known of them.
    pub score: f32,
    /// The same over the label's tokens. NaN when there is no label.
    pub label_score: f32,
    /// The same over the location's tokens. NaN when nothing is known of them.
    pub location_score: f32,
}

/// A token. Later versions may add fields at the end: copy the fields, not the struct.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct florence2_token {
    /// The request that it answers: its index in a batch, else 0.
    pub request: usize,
    /// What it writes: UTF-8. In a stream, a character that several tokens write comes with the last
    /// of them, and `<s>` and `</s>` write nothing.
    pub text: *const c_char,
    /// Its id.
    pub token_id: u32,
    /// Its natural log-probability, given those before it; 0 for a forced token.
    pub log_prob: f32,
}

/// Where the time of a run went, in milliseconds. What requests of a batch do together, each counts
/// in full. Later versions may add fields at the end: copy the fields, not the struct.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct florence2_timings {
    /// Resizing and normalising the image.
    pub preprocess_ms: f64,
    /// The vision tower.
    pub vision_ms: f64,
    /// Reading the prompt and writing the answer.
    pub generate_ms: f64,
}

impl florence2_result {
    pub(crate) fn new(mut answer: Answer, image_name: &str) -> Self {
        let alternatives = std::mem::take(&mut answer.alternatives);
        let labels: Vec<CString> = answer
            .result
            .regions
            .iter()
            .map(|region| c_string(&region.label))
            .collect();
        let regions = answer.result.regions.iter().zip(&labels);
        let timings = answer.timings;
        let alternatives: Vec<Self> = alternatives
            .into_iter()
            .map(|alternative| Self::new(alternative, image_name))
            .collect();
        alternatives.iter().for_each(handle::register_borrowed);
        Self {
            task: c_string(&answer.prompt.key()),
            text: c_string(&answer.result.text),
            raw_text: c_string(&answer.text),
            regions: regions.map(|(region, label)| view(region, label)).collect(),
            _labels: labels,
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

    /// The answer with its alternatives in it again.
    fn whole_answer(&self) -> Answer {
        Answer {
            alternatives: self.alternatives.iter().map(Self::whole_answer).collect(),
            ..self.answer.clone()
        }
    }
}

/// A region that points into its answer, whose vectors do not move while the result lives.
fn view(region: &Region, label: &CString) -> florence2_region {
    let score = region.score;
    florence2_region {
        label: label.as_ptr(),
        // Two f64 either way.
        points: region.points.as_ptr().cast(),
        points_len: region.points.len(),
        instance: region.instance,
        kind: match region.kind {
            RegionKind::Box => florence2_region_kind::Box,
            RegionKind::Quad => florence2_region_kind::Quad,
            RegionKind::Polygon => florence2_region_kind::Polygon,
        },
        score: score.map_or(f32::NAN, |score| score.overall),
        label_score: score.and_then(|score| score.label).unwrap_or(f32::NAN),
        location_score: score.map_or(f32::NAN, |score| score.locations),
    }
}

/// The answer as plain text: without `<s>`, `</s>` and surrounding space, locations kept as
/// "<loc_123>". UTF-8, borrowed from the result. The empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_text(result: *const florence2_result) -> *const c_char {
    // SAFETY: the header requires a live result or NULL.
    unsafe { boundary::read(result, c"".as_ptr(), |result| result.text.as_ptr()) }
}

/// The answer as the model wrote it, `<s>` and `</s>` included. UTF-8, borrowed from the result. The
/// empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_raw_text(
    result: *const florence2_result,
) -> *const c_char {
    // SAFETY: the header requires a live result or NULL.
    unsafe { boundary::read(result, c"".as_ptr(), |result| result.raw_text.as_ptr()) }
}

/// The task's token, such as "<OD>", or the free prompt. UTF-8, borrowed from the result. The empty
/// string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_task(result: *const florence2_result) -> *const c_char {
    // SAFETY: the header requires a live result or NULL.
    unsafe { boundary::read(result, c"".as_ptr(), |result| result.task.as_ptr()) }
}

/// The score of the whole answer, 0 to 1: the exponential of the mean log-probability of its tokens
/// without `<s>` and `</s>`. NaN for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_score(result: *const florence2_result) -> f32 {
    // SAFETY: the header requires a live result or NULL.
    unsafe {
        boundary::read(result, f32::NAN, |result| {
            result.answer.result.score.unwrap_or(f32::NAN)
        })
    }
}

/// Hugging Face's `sequences_scores`: the sum of the tokens' log-probabilities, divided by the length
/// to the power of `length_penalty`. NaN for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_sequence_score(result: *const florence2_result) -> f32 {
    // SAFETY: the header requires a live result or NULL.
    unsafe { boundary::read(result, f32::NAN, |result| result.answer.sequence_score) }
}

/// Why the answer ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_finish_reason(
    result: *const florence2_result,
) -> florence2_finish_reason {
    // SAFETY: the header requires a live result or NULL.
    unsafe {
        boundary::read(result, florence2_finish_reason::None, |result| match result
            .answer
            .finish_reason
        {
            FinishReason::EndOfText => florence2_finish_reason::EndOfText,
            FinishReason::Length => florence2_finish_reason::Length,
        })
    }
}

/// Pixels across of the image that the regions are in. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_image_width_px(result: *const florence2_result) -> u32 {
    // SAFETY: the header requires a live result or NULL.
    unsafe { boundary::read(result, 0, |result| result.answer.image_size.width) }
}

/// Pixels down of the image that the regions are in. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_image_height_px(result: *const florence2_result) -> u32 {
    // SAFETY: the header requires a live result or NULL.
    unsafe { boundary::read(result, 0, |result| result.answer.image_size.height) }
}

/// The number of regions of the answer. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_region_count(result: *const florence2_result) -> usize {
    // SAFETY: the header requires a live result or NULL.
    unsafe { boundary::read(result, 0, |result| result.regions.len()) }
}

/// One of the regions, in the order of the answer: borrowed from the result. NULL when there is no
/// such index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_region(
    result: *const florence2_result,
    index: usize,
) -> *const florence2_region {
    // SAFETY: the header requires a live result or NULL.
    unsafe {
        boundary::read(result, std::ptr::null(), |result| {
            pointer(result.regions.get(index))
        })
    }
}

/// The number of tokens of the answer, the decoder's start token included. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_token_count(result: *const florence2_result) -> usize {
    // SAFETY: the header requires a live result or NULL.
    unsafe { boundary::read(result, 0, |result| result.answer.token_ids.len()) }
}

/// The ids of the tokens, florence2_result_token_count of them, start token first: borrowed from the
/// result. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_token_ids(result: *const florence2_result) -> *const u32 {
    // SAFETY: the header requires a live result or NULL.
    unsafe {
        boundary::read(result, std::ptr::null(), |result| {
            result.answer.token_ids.as_ptr()
        })
    }
}

/// The natural log-probabilities of the tokens, florence2_result_token_count of them; 0 for the start
/// token and forced ones: borrowed from the result. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_token_log_probs(
    result: *const florence2_result,
) -> *const f32 {
    // SAFETY: the header requires a live result or NULL.
    unsafe {
        boundary::read(result, std::ptr::null(), |result| {
            result.answer.token_log_probs.as_ptr()
        })
    }
}

/// The number of further answers, if `num_return_sequences` is greater than 1. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_alternative_count(
    result: *const florence2_result,
) -> usize {
    // SAFETY: the header requires a live result or NULL.
    unsafe { boundary::read(result, 0, |result| result.alternatives.len()) }
}

/// One of the further answers, best first: borrowed from the result, never to be freed by itself, and
/// readable by the functions that read a result. NULL when there is no such index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_alternative(
    result: *const florence2_result,
    index: usize,
) -> *const florence2_result {
    // SAFETY: the header requires a live result or NULL.
    unsafe {
        boundary::read(result, std::ptr::null(), |result| {
            pointer(result.alternatives.get(index))
        })
    }
}

/// Where the time went: borrowed from the result. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_timings(
    result: *const florence2_result,
) -> *const florence2_timings {
    // SAFETY: the header requires a live result or NULL.
    unsafe {
        boundary::read(result, std::ptr::null(), |result| {
            std::ptr::from_ref(&result.timings)
        })
    }
}

/// Everything as a JSON object; its key "schema" is the version of its layout. UTF-8, borrowed from
/// the result, made at the first call. The empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_json(result: *const florence2_result) -> *const c_char {
    // SAFETY: the header requires a live result or NULL.
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

/// Frees a result and all that was borrowed from it. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_result_free(result: *mut florence2_result) {
    // SAFETY: the header requires a result that no other thread uses, or NULL.
    unsafe { boundary::free(result) };
}

fn pointer<T>(value: Option<&T>) -> *const T {
    value.map_or(std::ptr::null(), std::ptr::from_ref)
}

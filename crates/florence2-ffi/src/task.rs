//! The tasks that Florence-2 was trained for.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use florence2::{PostProcessingType, Task};

use crate::arguments;
use crate::boundary;
use crate::text::c_string;

/// The tokens of all tasks as C strings.
fn tokens() -> &'static [CString] {
    static TOKENS: OnceLock<Vec<CString>> = OnceLock::new();
    TOKENS.get_or_init(|| {
        Task::ALL
            .iter()
            .map(|task| c_string(task.token()))
            .collect()
    })
}

/// Returns the number of tasks.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_task_count() -> usize {
    boundary::value(0, || tokens().len())
}

/// Returns the token of a task, such as "<OD>", for the field `task` of florence2_request.
///
/// - `index`: 0 to florence2_task_count() - 1.
///
/// Returns a static string, or NULL if `index` is out of range.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_task_token(index: usize) -> *const c_char {
    boundary::value(std::ptr::null(), || {
        let token = tokens().get(index);
        token.map_or(std::ptr::null(), |token| token.as_ptr())
    })
}

/// The input that a task needs besides the image. The numbers are fixed.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum florence2_task_input {
    /// There is no such task.
    Unknown = 0,
    /// No input: `input` and `region` of florence2_request must not be set.
    None = 1,
    /// A text, such as a phrase: the field `input` of florence2_request.
    Text = 2,
    /// A box in the image: the field `region` of florence2_request, or the box as four location
    /// tokens in the field `input`.
    Region = 3,
}

/// The format of an answer, with the names of Hugging Face's
/// `tasks_answer_post_processing_type`. The numbers are fixed.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum florence2_post_processing_type {
    /// There is no such task.
    Unknown = 0,
    /// `pure_text`: text without regions.
    PureText = 1,
    /// `description_with_bboxes`: labelled boxes.
    DescriptionWithBboxes = 2,
    /// `bboxes`: boxes without labels.
    Bboxes = 3,
    /// `phrase_grounding`: boxes, labelled with phrases of the input.
    PhraseGrounding = 4,
    /// `ocr`: quads, labelled with the text of a line.
    Ocr = 5,
    /// `polygons`: polygons without labels.
    Polygons = 6,
    /// `description_with_bboxes_or_polygons`: labelled boxes or polygons.
    DescriptionWithBboxesOrPolygons = 7,
}

/// Returns the input that a task needs; FLORENCE2_TASK_INPUT_UNKNOWN for NULL, and if there is no
/// such task.
///
/// - `task`: the token or the name of the task, as in the field `task` of florence2_request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_task_input_of(task: *const c_char) -> florence2_task_input {
    // SAFETY: rule 3 of lib.rs.
    boundary::value(florence2_task_input::Unknown, || unsafe {
        task_of(task).map_or(florence2_task_input::Unknown, input_of)
    })
}

/// Returns the format of a task's answers; FLORENCE2_POST_PROCESSING_TYPE_UNKNOWN for NULL, and if
/// there is no such task. The answer to a prompt without a task has the format
/// FLORENCE2_POST_PROCESSING_TYPE_PURE_TEXT.
///
/// - `task`: the token or the name of the task, as in the field `task` of florence2_request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_task_post_processing_type(
    task: *const c_char,
) -> florence2_post_processing_type {
    // SAFETY: rule 3 of lib.rs.
    boundary::value(florence2_post_processing_type::Unknown, || unsafe {
        task_of(task).map_or(florence2_post_processing_type::Unknown, answer_of)
    })
}

/// Returns the task with a token or a name.
///
/// # Safety
/// `task` follows rule 3 of lib.rs.
unsafe fn task_of(task: *const c_char) -> Option<Task> {
    // SAFETY: guaranteed by the caller.
    let name = unsafe { arguments::optional_text("task", task) };
    name.ok().flatten()?.parse().ok()
}

/// Returns the input of a task.
fn input_of(task: Task) -> florence2_task_input {
    if task.needs_region() {
        return florence2_task_input::Region;
    }
    if task.needs_input() {
        return florence2_task_input::Text;
    }
    florence2_task_input::None
}

/// Returns the format of a task's answers.
fn answer_of(task: Task) -> florence2_post_processing_type {
    use PostProcessingType::{
        Bboxes, DescriptionWithBboxes, DescriptionWithBboxesOrPolygons, Ocr, PhraseGrounding,
        Polygons, PureText,
    };
    match task.post_processing_type() {
        PureText => florence2_post_processing_type::PureText,
        DescriptionWithBboxes => florence2_post_processing_type::DescriptionWithBboxes,
        Bboxes => florence2_post_processing_type::Bboxes,
        PhraseGrounding => florence2_post_processing_type::PhraseGrounding,
        Ocr => florence2_post_processing_type::Ocr,
        Polygons => florence2_post_processing_type::Polygons,
        DescriptionWithBboxesOrPolygons => {
            florence2_post_processing_type::DescriptionWithBboxesOrPolygons
        }
    }
}

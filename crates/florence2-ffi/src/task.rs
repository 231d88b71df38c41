//! The tasks that Florence-2 was trained for.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use florence2::Task;

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

/// Returns true if a task needs an input: the field `input` or `region` of florence2_request.
/// Returns false for other tasks, and if `index` is out of range.
///
/// - `index`: 0 to florence2_task_count() - 1.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_task_needs_input(index: usize) -> bool {
    boundary::value(false, || {
        Task::ALL.get(index).is_some_and(|task| task.needs_input())
    })
}

//! The tasks that the model was trained for.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use florence2::Task;

use crate::boundary;
use crate::text::c_string;

fn tokens() -> &'static [CString] {
    static TOKENS: OnceLock<Vec<CString>> = OnceLock::new();
    TOKENS.get_or_init(|| {
        Task::ALL
            .iter()
            .map(|task| c_string(task.token()))
            .collect()
    })
}

/// The number of tasks. Callable from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_task_count() -> usize {
    boundary::value(0, || tokens().len())
}

/// The token of a task, such as "<OD>", as the field `task` of florence2_request takes it: static.
/// NULL when there is no such index. Callable from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_task_token(index: usize) -> *const c_char {
    boundary::value(std::ptr::null(), || {
        let token = tokens().get(index);
        token.map_or(std::ptr::null(), |token| token.as_ptr())
    })
}

/// Whether a task needs an input, a text or a region. False when there is no such index.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_task_needs_input(index: usize) -> bool {
    boundary::value(false, || {
        Task::ALL.get(index).is_some_and(|task| task.needs_input())
    })
}

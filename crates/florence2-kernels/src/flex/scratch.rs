//! Buffers that every thread keeps from task to task: the system clears memory that it gives, page
//! by page, which takes longer than writing it.

use std::cell::Cell;

use super::attention;
use super::rows::Rows;

/// What a task works in. Nothing is known of what its buffers hold.
#[derive(Default)]
pub(super) struct Scratch {
    /// What the task's first product reads.
    pub(super) rows: Rows,
    /// What its last product reads.
    pub(super) inner_rows: Rows,
    /// What its first product writes.
    pub(super) inner: Vec<f32>,
    /// What its last product writes, or reads before it is in its format.
    pub(super) outer: Vec<f32>,
    pub(super) attention: attention::Scratch,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Frees this thread's buffers.
pub(super) fn trim() {
    drop(SCRATCH.take());
}

/// Runs a task with this thread's buffers, or with new ones inside another task.
pub(super) fn with_scratch<R>(task: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = task(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}

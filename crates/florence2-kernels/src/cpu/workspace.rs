//! The workspace buffers that every thread keeps from task to task. The system zeroes new memory
//! page by page, which takes longer than writing it.

use std::cell::Cell;

use crate::cpu::gemm::lhs::Rows;
use crate::cpu::ops::attention;

/// The workspace of a task. The contents of its buffers are unspecified.
#[derive(Default)]
pub(crate) struct Scratch {
    /// The input of the task's first product.
    pub(crate) rows: Rows,
    /// The input of the task's last product.
    pub(crate) inner_rows: Rows,
    /// The output of the task's first product.
    pub(crate) inner: Vec<f32>,
    /// The output of the task's last product, or its input before it is encoded.
    pub(crate) outer: Vec<f32>,
    pub(crate) attention: attention::Scratch,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Frees this thread's buffers.
pub(crate) fn trim() {
    drop(SCRATCH.take());
}

/// Runs a task with this thread's buffers, or with new ones inside another task.
pub(crate) fn with_scratch<R>(task: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = task(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}

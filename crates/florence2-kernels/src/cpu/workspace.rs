//! The workspace buffers that every thread keeps from task to task. The system zeroes new memory
//! page by page, which takes longer than writing it.

use std::cell::Cell;

use super::gemm::lhs::LhsBuffer;

/// The workspace of a task. The contents of its buffers are unspecified.
#[derive(Default)]
pub(crate) struct Workspace {
    /// The input of the task's first product.
    pub(crate) rows: LhsBuffer,
    /// The input of the task's last product.
    pub(crate) inner_rows: LhsBuffer,
    /// The output of the task's first product.
    pub(crate) inner: Vec<f32>,
    /// The output of the task's last product, or its input before it is encoded.
    pub(crate) outer: Vec<f32>,
    pub(crate) attention: AttentionBuffers,
}

/// The buffers of [`attention`](super::ops::attention), reused from head to head.
#[derive(Default)]
pub(crate) struct AttentionBuffers {
    pub(crate) query_rows: LhsBuffer,
    pub(crate) key_rows: LhsBuffer,
    pub(crate) queries: Vec<u32>,
    pub(crate) scores: Vec<f32>,
    pub(crate) weights: Vec<u32>,
    pub(crate) values: Vec<u32>,
}

thread_local! {
    static WORKSPACE: Cell<Option<Box<Workspace>>> = const { Cell::new(None) };
}

/// Frees this thread's buffers.
pub(crate) fn trim() {
    drop(WORKSPACE.take());
}

/// Runs a task with this thread's buffers, or with new ones inside another task.
pub(crate) fn with_workspace<R>(task: impl FnOnce(&mut Workspace) -> R) -> R {
    let mut workspace = WORKSPACE.take().unwrap_or_default();
    let result = task(&mut workspace);
    WORKSPACE.set(Some(workspace));
    result
}

//! The fused operations for burn-flex. Rows pass through a whole operation while they are in the
//! cache, one chunk per rayon task. Products read weights that were packed at load time. With an
//! unpacked weight, such as one in training, an operation returns `None`.

mod backend;
mod buffer_pool;
mod cache_line;
mod gemm;
mod ops;
mod packing;
mod parameters;
mod simd;
mod tensor;
mod threads;
mod training;
mod workspace;

pub(crate) use gemm::pack::PackedMatrix;
pub use simd::{cpu_level, cpu_levels, set_cpu_level};
pub use threads::with_spin_limit;

/// Frees the buffers that are kept between operations: those of the process and of this thread.
pub(crate) fn trim() {
    buffer_pool::trim();
    workspace::trim();
}

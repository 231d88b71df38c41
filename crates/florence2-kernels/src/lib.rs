//! The fast paths of Florence-2's operations.
//!
//! [`Backend`] is burn's backend with one method per layer of the model that a backend may fuse.
//! Every method is optional: florence2-core states each layer in burn's operations. burn-flex
//! implements them: its tensors pass through memory once per fused operation, and its weights are
//! packed once, at load time, in the order in which products read them ([`Weight`]).
//!
//! # Features
//!
//! No feature is enabled by default; a program enables at least one backend.
//!
//! - `flex`: burn-flex on the CPU, with fused operations.
//! - `ndarray`: burn-ndarray on the CPU, without fused operations.
//! - `cuda`, `rocm`, `wgpu`: burn's GPU backends. `metal` and `vulkan` are `wgpu` with kernels in
//!   the shader language of the graphics API instead of WGSL. `gpu` is the common part of all.
//! - `autotune`: the GPU backends measure several kernels at the first run and select the fastest.
//! - `mimalloc`: [`Allocator`], an allocator for programs that run models.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod activation;
#[cfg(feature = "mimalloc")]
mod allocator;
mod autodiff;
mod backend;
#[cfg(feature = "flex")]
mod cpu;
mod cpu_level;
mod dropout_mask;
mod dtype;
mod exp;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod layer_weights;
mod lora;
mod multiply_add;
mod packing;
mod top_k;
mod training_ops;
mod weight;

pub use activation::Activation;
#[cfg(feature = "mimalloc")]
pub use allocator::Allocator;
pub use backend::{Backend, SelectRows};
#[cfg(feature = "flex")]
pub use cpu::{cpu_level, cpu_levels, set_cpu_level, with_spin_limit};
pub use cpu_level::CpuLevelError;
pub use dropout_mask::DropoutMask;
pub use dtype::{Dtype, tensor_dtype};
pub use exp::exp;
pub use lora::LoraUpdate;
pub use packing::{Packed, Packing};
pub use top_k::top_k;
pub use training_ops::{AttentionSettings, DepthwiseGradients, LayerNormGradients, TrainingOps};
pub use weight::Weight;

/// Frees memory that is kept for later operations: the buffers of the process and of this thread,
/// and the memory freed by this thread that the [allocator](Allocator) retains.
pub fn trim() {
    #[cfg(feature = "flex")]
    cpu::trim();
    #[cfg(feature = "mimalloc")]
    allocator::trim();
}

//! The operations of Florence-2.
//!
//! [`Backend`] is burn's backend with one method per fused operation of the model, such as a norm,
//! a product and the operations after it. Every method has a portable default in burn's operations
//! ([`portable`]), which is differentiable. A backend with a faster implementation overrides it.
//! burn-flex does: its tensors pass through memory once per fused operation, and its weights are
//! packed once, at load time, in the order in which products read them ([`Weight`]).

mod activation;
#[cfg(feature = "mimalloc")]
mod allocator;
mod backend;
#[cfg(feature = "flex")]
mod cpu;
mod cpu_level;
mod exp;
#[cfg(feature = "gpu")]
pub mod gpu;
mod keys_values;
mod modules;
mod multiply_add;
pub mod portable;
mod top_k;
mod weight;

pub use activation::Activation;
#[cfg(feature = "mimalloc")]
pub use allocator::Allocator;
pub use backend::Backend;
#[cfg(feature = "flex")]
pub use cpu::{cpu_level, cpu_levels, set_cpu_level, with_spin_limit};
pub use cpu_level::CpuLevelError;
pub use exp::exp;
pub use keys_values::{KeysValues, PastKeysValues};
pub use modules::{OutInLinear as Linear, PatchConv, TokenEmbedding};
pub use top_k::top_k;
pub use weight::{Packed, Precision, Weight};

/// Frees memory that is kept for later operations: the buffers of the process and of this thread,
/// and the memory freed by this thread that the [allocator](Allocator) retains.
pub fn trim() {
    #[cfg(feature = "flex")]
    cpu::trim();
    #[cfg(feature = "mimalloc")]
    allocator::trim();
}

//! The operations that Florence-2 is made of.
//!
//! [`Backend`] is burn's backend with one method per operation that the model needs as a whole: a
//! norm, a product and what follows it, rather than each alone. Every method has a portable default
//! in burn's own operations ([`portable`]), which also differentiates; a backend that can do better
//! overrides it. burn-flex does: its tensors go through memory once per operation instead of once
//! per step of it, and its weights are packed once, as they are loaded, in the order in which the
//! products read them ([`Weight`]).

mod activation;
#[cfg(feature = "mimalloc")]
mod allocator;
mod backend;
mod cpu_level;
mod exp;
#[cfg(feature = "flex")]
mod flex;
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
pub use cpu_level::CpuLevelError;
pub use exp::exp;
#[cfg(feature = "flex")]
pub use flex::{cpu_level, cpu_levels, set_cpu_level, with_spin_limit};
pub use keys_values::{KeysValues, PastKeysValues};
pub use modules::{OutInLinear as Linear, PatchConv, TokenEmbedding};
pub use top_k::top_k;
pub use weight::{Packed, Precision, Weight};

/// Frees memory that is kept for later operations: the process's buffers, those of this thread, and
/// what the [allocator](Allocator) keeps of memory that this thread freed.
pub fn trim() {
    #[cfg(feature = "flex")]
    flex::trim();
    #[cfg(feature = "mimalloc")]
    allocator::trim();
}

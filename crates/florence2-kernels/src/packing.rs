//! [`Packing`]: how a backend stores weights.

use std::sync::{Arc, OnceLock};

use burn::tensor::{DType, Tensor, backend::Backend as BurnBackend};

use crate::dtype::Dtype;

/// A burn backend that may pack weights.
pub trait Packing: BurnBackend {
    /// Packs a weight `[out, ..]` into the layout that this backend's operations read fastest.
    /// Returns `None` if they read tensors.
    fn pack<const D: usize>(_weight: Tensor<Self, D>, _dtype: Dtype) -> Option<Packed> {
        None
    }

    /// Returns the values of a weight that this backend packed.
    fn unpack<const D: usize>(_packed: &Packed, _shape: [usize; D]) -> Tensor<Self, D> {
        // INVARIANT: only a backend that overrides `pack` creates packed weights, and it overrides
        // `unpack`.
        unreachable!("a packed weight of another backend")
    }

    /// Returns the packed form of the transposed weight, `[inputs, outputs]`, for the gradient of a
    /// linear layer's input. It is created at the first call.
    fn packed_transpose(_packed: &Packed) -> &Packed {
        // INVARIANT: as in `unpack`.
        unreachable!("a packed weight of another backend")
    }

    /// The dtypes in which this backend stores weights, provided that the device supports them.
    fn dtypes() -> &'static [Dtype] {
        &[Dtype::F32]
    }

    /// The data type of the tensor into which a weight of a dtype is loaded.
    fn parameter_dtype(_dtype: Dtype) -> DType {
        DType::F32
    }
}

/// A weight in a backend's packed form, shared by all clones.
#[derive(Debug, Clone)]
pub struct Packed {
    #[cfg_attr(not(feature = "flex"), allow(dead_code, reason = "no backend packs"))]
    pub(crate) matrix: PackedMatrix,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: Dtype,
    /// The packed form of the transposed weight, once a gradient requires it.
    #[cfg_attr(not(feature = "flex"), allow(dead_code, reason = "no backend packs"))]
    pub(crate) transpose: Arc<OnceLock<Packed>>,
}

#[cfg(feature = "flex")]
type PackedMatrix = Arc<crate::cpu::PackedMatrix>;
#[cfg(not(feature = "flex"))]
type PackedMatrix = Arc<std::convert::Infallible>;

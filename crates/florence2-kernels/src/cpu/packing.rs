//! The packing of weights for burn-flex.

use std::sync::Arc;

use burn::tensor::Tensor;
use burn_flex::Flex;

use crate::cpu::gemm::pack::PackedMatrix;
use crate::cpu::tensor::{slice, tensor, values};
use crate::{Dtype, Packed, Packing};

impl Packing for Flex {
    fn pack<const D: usize>(weight: Tensor<Self, D>, dtype: Dtype) -> Option<Packed> {
        let shape = weight.dims().to_vec();
        let weight = channels_last(weight);
        let [outputs, inputs] = flat(weight.dims());
        if outputs == 0 || inputs == 0 {
            return None;
        }
        let values = values(&weight)?;
        let matrix = PackedMatrix::pack(slice(&values), inputs, dtype.format());
        Some(Packed {
            matrix: Arc::new(matrix),
            shape,
            dtype,
            transpose: Arc::default(),
        })
    }

    fn unpack<const D: usize>(packed: &Packed, shape: [usize; D]) -> Tensor<Self, D> {
        let values = packed.matrix.unpack();
        if D != 4 {
            return tensor(values, shape);
        }
        let [channels, in_channels, rows, columns] = [0, 1, 2, 3].map(|axis| shape[axis]);
        let stored = tensor(values, [channels, rows, columns, in_channels]);
        stored.permute([0, 3, 1, 2]).reshape(shape)
    }

    fn packed_transpose(packed: &Packed) -> &Packed {
        packed.transpose.get_or_init(|| Packed {
            matrix: Arc::new(packed.matrix.transpose()),
            shape: vec![packed.matrix.inputs, packed.matrix.outputs],
            dtype: packed.dtype,
            transpose: Arc::default(),
        })
    }

    fn dtypes() -> &'static [Dtype] {
        &Dtype::ALL
    }
}

/// The number of outputs, and the number of inputs of each output.
fn flat<const D: usize>(shape: [usize; D]) -> [usize; 2] {
    [shape[0], shape[1..].iter().product()]
}

/// The weight of a convolution with its channels last, in the order of gathered patches; other
/// weights unchanged.
fn channels_last<const D: usize>(weight: Tensor<Flex, D>) -> Tensor<Flex, D> {
    if D != 4 {
        return weight;
    }
    let axes: [isize; D] = std::array::from_fn(|axis| [0, 2, 3, 1][axis]);
    weight.permute(axes)
}

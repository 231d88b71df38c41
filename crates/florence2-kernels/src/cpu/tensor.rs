//! The values of burn-flex's tensors as slices.

use burn::tensor::{DType, Tensor, TensorData, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};

/// The values of a tensor in the order of its shape; `None` if they are not f32.
pub(crate) fn values<const D: usize>(tensor: &Tensor<Flex, D>) -> Option<FlexTensor> {
    match tensor.clone().into_primitive() {
        TensorPrimitive::Float(values) if values.dtype() == DType::F32 => {
            Some(match values.as_slice::<f32>() {
                Some(_) => values,
                None => values.to_contiguous(),
            })
        }
        _ => None,
    }
}

/// The values that [`values`] returned.
pub(crate) fn slice(values: &FlexTensor) -> &[f32] {
    // INVARIANT: `values` returns contiguous f32 only.
    values.as_slice().expect("contiguous f32")
}

pub(crate) fn is_f32<const D: usize>(tensor: &Tensor<Flex, D>) -> bool {
    tensor.dtype() == DType::F32
}

/// The values of an f32 tensor in the order of its shape, to be modified: its own buffer if it is
/// not shared, else a copy.
pub(crate) fn into_values<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f32> {
    // INVARIANT: the tensor is f32.
    tensor.into_data().into_vec().expect("f32")
}

/// A tensor of values in the order of its shape.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<Flex, D> {
    let data = TensorData::new(values, shape);
    Tensor::from_primitive(TensorPrimitive::Float(FlexTensor::from_data(data)))
}

//! The product with a frozen weight.

use burn::tensor::{Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use crate::layer_weights::LinearWeights;
use crate::packing::Packed;
use crate::{Backend, Weight};

/// `x * weight^T` for a frozen, packed weight. Nothing but the weight is kept for the backward pass.
///
/// Shapes: `[.., tokens, in]` to `[.., tokens, out]`.
pub(super) fn frozen_product<B: Backend, const D: usize>(
    x: &Tensor<Autodiff<B>, D>,
    weight: &Packed,
) -> Option<Tensor<Autodiff<B>, D>> {
    let output = multiply::<B, D>(&x.clone().inner(), weight)?;
    let output = output.into_primitive().tensor();
    let x = x.clone().into_primitive().tensor();
    let operation = FrozenProduct::<D>.prepare::<NoCheckpointing>([x.node]);
    let output = match operation.compute_bound().stateful() {
        OpsKind::Tracked(operation) => operation.finish(weight.clone(), output),
        OpsKind::UnTracked(operation) => operation.finish(output),
    };
    Some(Tensor::from_primitive(TensorPrimitive::Float(output)))
}

/// The product of rows and a packed weight on the inner backend.
fn multiply<B: Backend, const D: usize>(x: &Tensor<B, D>, weight: &Packed) -> Option<Tensor<B, D>> {
    let weights = LinearWeights {
        weight: &Weight::Packed(weight.clone()),
        bias: None,
    };
    B::fused_linear(x, &weights)
}

/// The backward pass of [`frozen_product`] for rows of `D` dimensions: `gradient * weight`.
#[derive(Debug)]
struct FrozenProduct<const D: usize>;

impl<B: Backend, const D: usize> Backward<B, 1> for FrozenProduct<D> {
    type State = Packed;

    fn backward(self, ops: Ops<Packed, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [Some(x)] = ops.parents else {
            return;
        };
        let gradient: Tensor<B, D> = Tensor::from_primitive(TensorPrimitive::Float(gradient));
        let transpose = B::packed_transpose(&ops.state);
        // INVARIANT: the forward pass multiplied by this weight, and gradients have its data type.
        let gradient = multiply(&gradient, transpose).expect("a product of a packed weight");
        grads.register::<B>(x.id, gradient.into_primitive().tensor());
    }
}

//! GELU.

use burn::tensor::{Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use crate::Backend;

/// The exact GELU of every value. The input is kept for the backward pass.
pub(super) fn gelu<B: Backend, const D: usize>(
    x: &Tensor<Autodiff<B>, D>,
) -> Option<Tensor<Autodiff<B>, D>> {
    let input = x.clone().inner();
    let output = B::train_gelu(&input)?.into_primitive().tensor();
    let x = x.clone().into_primitive().tensor();
    let operation = Gelu::<D>.prepare::<NoCheckpointing>([x.node]);
    let output = match operation.compute_bound().stateful() {
        OpsKind::Tracked(operation) => operation.finish(input, output),
        OpsKind::UnTracked(operation) => operation.finish(output),
    };
    Some(Tensor::from_primitive(TensorPrimitive::Float(output)))
}

/// The backward pass of [`gelu`].
#[derive(Debug)]
struct Gelu<const D: usize>;

impl<B: Backend, const D: usize> Backward<B, 1> for Gelu<D> {
    type State = Tensor<B, D>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [Some(x)] = ops.parents else {
            return;
        };
        let gradient = Tensor::from_primitive(TensorPrimitive::Float(gradient));
        // INVARIANT: the forward pass ran on the same tensor.
        let gradient = B::train_gelu_backward(&ops.state, gradient).expect("the gradient of GELU");
        grads.register::<B>(x.id, gradient.into_primitive().tensor());
    }
}

//! Layer norm.

use burn::module::AutodiffModule;
use burn::nn::LayerNorm;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use crate::Backend;

/// The layer norm of the last dimension. The input is kept for the backward pass.
pub(super) fn layer_norm<B: Backend, const D: usize>(
    norm: &LayerNorm<Autodiff<B>>,
    x: &Tensor<Autodiff<B>, D>,
) -> Option<Tensor<Autodiff<B>, D>> {
    let beta = norm.beta.as_ref()?.val();
    let gamma = norm.gamma.val();
    let input = x.clone().inner();
    let output = B::train_layer_norm(&norm.valid(), &input)?
        .into_primitive()
        .tensor();
    let state = State {
        gamma: gamma.clone().inner(),
        input,
    };
    let x = x.clone().into_primitive().tensor();
    let [gamma, beta] = [gamma, beta].map(|parameter| parameter.into_primitive().tensor());
    let nodes = [x.node.clone(), gamma.node.clone(), beta.node.clone()];
    let operation = Norm::<D>.prepare::<NoCheckpointing>(nodes);
    let output = match operation.compute_bound().stateful() {
        OpsKind::Tracked(operation) => operation.finish(state, output),
        OpsKind::UnTracked(operation) => operation.finish(output),
    };
    Some(Tensor::from_primitive(TensorPrimitive::Float(output)))
}

#[derive(Debug, Clone)]
struct State<B: Backend, const D: usize> {
    gamma: Tensor<B, 1>,
    input: Tensor<B, D>,
}

/// The backward pass of [`layer_norm`].
#[derive(Debug)]
struct Norm<const D: usize>;

impl<B: Backend, const D: usize> Backward<B, 3> for Norm<D> {
    type State = State<B, D>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let gradient = Tensor::from_primitive(TensorPrimitive::Float(gradient));
        let State { gamma, input } = ops.state;
        // INVARIANT: the forward pass ran on the same tensors.
        let gradients = B::train_layer_norm_backward(&gamma, &input, &gradient)
            .expect("the gradient of a layer norm");
        let [x, gamma, beta] = ops.parents;
        if let Some(x) = x {
            grads.register::<B>(x.id, gradients.input.into_primitive().tensor());
        }
        let parameters = [(gamma, gradients.gamma), (beta, gradients.beta)];
        for (parameter, gradient) in parameters {
            if let Some(parameter) = parameter {
                grads.register::<B>(parameter.id, gradient.into_primitive().tensor());
            }
        }
    }
}

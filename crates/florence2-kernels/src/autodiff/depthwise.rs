//! The depthwise convolution.

use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use crate::Backend;

/// A depthwise 3x3 convolution of channels-last features. The input is kept for the backward pass.
pub(super) fn depthwise<B: Backend>(
    conv: &Conv2d<Autodiff<B>>,
    x: &Tensor<Autodiff<B>, 4>,
) -> Option<Tensor<Autodiff<B>, 4>> {
    let (weight, bias) = (conv.weight.val(), conv.bias.as_ref()?.val());
    let state = State {
        weight: weight.clone().inner(),
        input: x.clone().inner(),
    };
    let output = B::train_depthwise(&state.weight, &bias.clone().inner(), &state.input)?;
    let output = output.into_primitive().tensor();
    let nodes = [
        x.clone().into_primitive().tensor().node,
        weight.into_primitive().tensor().node,
        bias.into_primitive().tensor().node,
    ];
    let operation = Depthwise.prepare::<NoCheckpointing>(nodes);
    let output = match operation.compute_bound().stateful() {
        OpsKind::Tracked(operation) => operation.finish(state, output),
        OpsKind::UnTracked(operation) => operation.finish(output),
    };
    Some(Tensor::from_primitive(TensorPrimitive::Float(output)))
}

#[derive(Debug, Clone)]
struct State<B: Backend> {
    weight: Tensor<B, 4>,
    input: Tensor<B, 4>,
}

/// The backward pass of [`depthwise`].
#[derive(Debug)]
struct Depthwise;

impl<B: Backend> Backward<B, 3> for Depthwise {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let gradient = Tensor::from_primitive(TensorPrimitive::Float(gradient));
        let State { weight, input } = ops.state;
        // INVARIANT: the forward pass ran on the same tensors.
        let gradients = B::train_depthwise_backward(&weight, &input, &gradient)
            .expect("the gradient of a depthwise convolution");
        let [x, weight, bias] = ops.parents;
        for (parent, gradient) in [(x, gradients.input), (weight, gradients.weight)] {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient.into_primitive().tensor());
            }
        }
        if let Some(bias) = bias {
            grads.register::<B>(bias.id, gradients.bias.into_primitive().tensor());
        }
    }
}

//! Attention.

use burn::tensor::{Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use crate::Backend;
use crate::training_ops::AttentionSettings;

/// `softmax(q k^T * scale) v`. Queries, keys and values are kept for the backward pass, attention
/// weights are not.
pub(super) fn attention<B: Backend>(
    qkv: [&Tensor<Autodiff<B>, 4>; 3],
    settings: &AttentionSettings<Autodiff<B>>,
) -> Option<Tensor<Autodiff<B>, 4>> {
    let inputs = qkv.map(|tensor| tensor.clone().inner());
    let settings = AttentionSettings {
        mask: settings.mask.clone().map(Tensor::inner),
        scale: settings.scale,
        dropout: settings.dropout,
    };
    let output = B::train_attention(inputs.each_ref(), &settings)?;
    let nodes = qkv.map(|tensor| tensor.clone().into_primitive().tensor().node);
    let operation = Attention.prepare::<NoCheckpointing>(nodes);
    let output = output.into_primitive().tensor();
    let output = match operation.compute_bound().stateful() {
        OpsKind::Tracked(operation) => operation.finish(State { inputs, settings }, output),
        OpsKind::UnTracked(operation) => operation.finish(output),
    };
    Some(Tensor::from_primitive(TensorPrimitive::Float(output)))
}

#[derive(Debug, Clone)]
struct State<B: Backend> {
    /// Queries, keys and values.
    inputs: [Tensor<B, 4>; 3],
    settings: AttentionSettings<B>,
}

/// The backward pass of [`attention`].
#[derive(Debug)]
struct Attention;

impl<B: Backend> Backward<B, 3> for Attention {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let gradient = Tensor::from_primitive(TensorPrimitive::Float(gradient));
        let State { inputs, settings } = ops.state;
        // INVARIANT: the forward pass ran on the same tensors.
        let gradients = B::train_attention_backward(inputs.each_ref(), &settings, &gradient)
            .expect("the gradient of an attention");
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient.into_primitive().tensor());
            }
        }
    }
}

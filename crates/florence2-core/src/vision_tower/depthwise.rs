//! The depthwise convolution of a vision block, which encodes positions.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::Tensor;
use florence2_kernels::Backend;

/// Creates a depthwise 3x3 convolution that preserves the size, with lazily initialised parameters.
pub(super) fn depthwise<B: Backend>(channels: usize, device: &B::Device) -> Conv2d<B> {
    Conv2dConfig::new([channels, channels], [3, 3])
        .with_groups(channels)
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init(device)
}

/// Applies a convolution to channels-last features.
///
/// Shapes: `[batch, height, width, channels]` in and out.
pub(super) fn convolve<B: Backend>(conv: &Conv2d<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    if let Some(y) = B::fused_depthwise(conv, &x) {
        return y;
    }
    channels_last(conv.forward(channels_first(x)))
}

/// `[batch, channels, height, width]` to `[batch, height, width, channels]`.
pub(super) fn channels_last<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    x.permute([0, 2, 3, 1])
}

/// `[batch, height, width, channels]` to `[batch, channels, height, width]`.
pub(super) fn channels_first<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    x.permute([0, 3, 1, 2])
}

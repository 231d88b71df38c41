//! The parameters of the model's layers, borrowed from the modules of florence2-core: the arguments
//! of `Backend`'s fused operations. Field names are Hugging Face's.

use burn::module::Param;
use burn::nn::LayerNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

use crate::activation::Activation;
use crate::packing::Packing;
use crate::weight::Weight;

/// A linear layer: `x * weight^T + bias`.
#[derive(Debug)]
pub struct LinearWeights<'a, B: Packing> {
    /// `[out, in]`.
    pub weight: &'a Weight<B, 2>,
    /// `[out]`; `None` for zeros.
    pub bias: Option<&'a Param<Tensor<B, 1>>>,
}

/// HF `Florence2VisionConvEmbed`: a strided convolution with a layer norm before or after it.
#[derive(Debug)]
pub struct ConvEmbedWeights<'a, B: Packing> {
    /// `[channels, in_channels, size, size]`.
    pub conv: &'a Weight<B, 4>,
    /// `[channels]`; `None` for zeros.
    pub bias: Option<&'a Param<Tensor<B, 1>>>,
    /// The distance between patches, in positions.
    pub stride: usize,
    /// The width of the zero padding around the image.
    pub padding: usize,
    /// Layer norm over channels.
    pub norm: &'a LayerNorm<B>,
    /// True if the norm comes before the convolution.
    pub prenorm: bool,
}

/// HF `Florence2VisionSpatialBlock`.
#[derive(Debug)]
pub struct SpatialBlockWeights<'a, B: Packing> {
    /// The depthwise convolution before the attention.
    pub conv1: &'a Conv2d<B>,
    /// The layer norm before the attention.
    pub norm1: &'a LayerNorm<B>,
    /// Queries, keys and values of all heads, `[3 * dim, dim]`.
    pub qkv: LinearWeights<'a, B>,
    /// The output projection, `[dim, dim]`.
    pub proj: LinearWeights<'a, B>,
    /// The number of attention heads.
    pub num_heads: usize,
    /// The side of a window, in positions.
    pub window_size: usize,
    /// The second half of the block.
    pub feed_forward: VisionFeedForwardWeights<'a, B>,
}

/// HF `Florence2VisionChannelBlock`.
#[derive(Debug)]
pub struct ChannelBlockWeights<'a, B: Packing> {
    /// The depthwise convolution before the attention.
    pub conv1: &'a Conv2d<B>,
    /// The layer norm before the attention.
    pub norm1: &'a LayerNorm<B>,
    /// Queries, keys and values of all groups, `[3 * dim, dim]`.
    pub qkv: LinearWeights<'a, B>,
    /// The output projection, `[dim, dim]`, f32 in every dtype.
    pub proj: LinearWeights<'a, B>,
    /// The number of groups of channels.
    pub num_groups: usize,
    /// The second half of the block.
    pub feed_forward: VisionFeedForwardWeights<'a, B>,
}

/// The second half of a vision block: a depthwise convolution, a layer norm and an MLP.
#[derive(Debug)]
pub struct VisionFeedForwardWeights<'a, B: Packing> {
    /// The depthwise convolution before the MLP.
    pub conv2: &'a Conv2d<B>,
    /// The layer norm before the MLP.
    pub norm2: &'a LayerNorm<B>,
    /// HF `Florence2VisionMLP`.
    pub ffn: MlpWeights<'a, B>,
}

/// Two linear layers with an activation between them.
#[derive(Debug)]
pub struct MlpWeights<'a, B: Packing> {
    /// The first layer.
    pub fc1: LinearWeights<'a, B>,
    /// The second layer.
    pub fc2: LinearWeights<'a, B>,
    /// The function between the layers.
    pub activation: Activation,
}

/// HF `BartAttention`.
#[derive(Debug)]
pub struct AttentionWeights<'a, B: Packing> {
    /// Keys, `[d_model, d_model]`.
    pub k_proj: LinearWeights<'a, B>,
    /// Values, `[d_model, d_model]`.
    pub v_proj: LinearWeights<'a, B>,
    /// Queries, `[d_model, d_model]`.
    pub q_proj: LinearWeights<'a, B>,
    /// The output projection, `[d_model, d_model]`.
    pub out_proj: LinearWeights<'a, B>,
    /// The number of attention heads.
    pub num_heads: usize,
}

/// HF `BartEncoderLayer`.
#[derive(Debug)]
pub struct EncoderLayerWeights<'a, B: Packing> {
    /// The self-attention.
    pub self_attn: AttentionWeights<'a, B>,
    /// The layer norm after the self-attention.
    pub self_attn_layer_norm: &'a LayerNorm<B>,
    /// The feed-forward block.
    pub feed_forward: MlpWeights<'a, B>,
    /// The layer norm after the feed-forward block.
    pub final_layer_norm: &'a LayerNorm<B>,
}

/// HF `BartDecoderLayer`.
#[derive(Debug)]
pub struct DecoderLayerWeights<'a, B: Packing> {
    /// The self-attention.
    pub self_attn: AttentionWeights<'a, B>,
    /// The layer norm after the self-attention.
    pub self_attn_layer_norm: &'a LayerNorm<B>,
    /// The cross-attention.
    pub encoder_attn: AttentionWeights<'a, B>,
    /// The layer norm after the cross-attention.
    pub encoder_attn_layer_norm: &'a LayerNorm<B>,
    /// The feed-forward block.
    pub feed_forward: MlpWeights<'a, B>,
    /// The layer norm after the feed-forward block.
    pub final_layer_norm: &'a LayerNorm<B>,
}

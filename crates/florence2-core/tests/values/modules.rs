//! Modules with random parameters. With packed weights, their `forward` runs the backend's fused
//! operation; with unpacked weights, it computes in burn's operations.

use burn::module::Param;
use burn::nn::LayerNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn_flex::{Flex, FlexDevice};
use florence2_core::language_model::{Attention, Decoder, DecoderLayer, Encoder, EncoderLayer};
use florence2_core::layers::{Linear, PatchConv};
use florence2_core::vision_tower::{ChannelBlock, ConvEmbed, Mlp, SpatialBlock};
use florence2_core::{Florence2TextConfig, Florence2VisionConfig};
use florence2_kernels::{Backend, Dtype, Weight};

use super::random;

/// The parameters of a module.
pub(crate) trait Layer: Clone {
    fn linears(&mut self) -> Vec<&mut Linear<Flex>> {
        Vec::new()
    }

    fn norms(&mut self) -> Vec<&mut LayerNorm<Flex>> {
        Vec::new()
    }

    /// Depthwise convolutions.
    fn convolutions(&mut self) -> Vec<&mut Conv2d<Flex>> {
        Vec::new()
    }

    fn patch_convolutions(&mut self) -> Vec<&mut PatchConv<Flex>> {
        Vec::new()
    }
}

/// A block of the vision tower: attention, then feed-forward.
pub(crate) trait Block: Layer {
    fn forward(&self, x: Tensor<Flex, 4>) -> Tensor<Flex, 4>;

    /// Returns whether the backend fuses the block.
    fn is_fused(&self, x: Tensor<Flex, 4>) -> bool;

    /// The block with parameters that make its second half the identity.
    fn attention_half(&self) -> Self;

    /// The block with parameters that make its first half the identity.
    fn feed_forward_half(&self) -> Self;

    /// The block, and its halves.
    fn parts(&self) -> [(&'static str, Self); 3] {
        [
            ("attention", self.attention_half()),
            ("feed-forward", self.feed_forward_half()),
            ("whole", self.clone()),
        ]
    }
}

impl Layer for Linear<Flex> {
    fn linears(&mut self) -> Vec<&mut Linear<Flex>> {
        vec![self]
    }
}

impl Layer for ConvEmbed<Flex> {
    fn norms(&mut self) -> Vec<&mut LayerNorm<Flex>> {
        vec![&mut self.norm]
    }

    fn patch_convolutions(&mut self) -> Vec<&mut PatchConv<Flex>> {
        vec![&mut self.conv]
    }
}

macro_rules! vision_block {
    ($block:ident, $attention:ident, $fused:ident) => {
        impl Layer for $block<Flex> {
            fn linears(&mut self) -> Vec<&mut Linear<Flex>> {
                let Mlp { fc1, fc2, .. } = &mut self.ffn;
                vec![
                    &mut self.$attention.qkv,
                    &mut self.$attention.proj,
                    fc1,
                    fc2,
                ]
            }

            fn norms(&mut self) -> Vec<&mut LayerNorm<Flex>> {
                vec![&mut self.norm1, &mut self.norm2]
            }

            fn convolutions(&mut self) -> Vec<&mut Conv2d<Flex>> {
                vec![&mut self.conv1, &mut self.conv2]
            }
        }

        impl Block for $block<Flex> {
            fn forward(&self, x: Tensor<Flex, 4>) -> Tensor<Flex, 4> {
                $block::forward(self, x)
            }

            fn is_fused(&self, x: Tensor<Flex, 4>) -> bool {
                Flex::$fused(x, &self.weights()).is_break()
            }

            fn attention_half(&self) -> Self {
                let mut half = self.clone();
                set_zero_convolution(&mut half.conv2);
                set_zero(&mut half.ffn.fc2);
                half
            }

            fn feed_forward_half(&self) -> Self {
                let mut half = self.clone();
                set_zero_convolution(&mut half.conv1);
                set_zero(&mut half.$attention.proj);
                half
            }
        }
    };
}

vision_block!(SpatialBlock, window_attn, fused_spatial_block);
vision_block!(ChannelBlock, channel_attn, fused_channel_block);

impl Layer for Attention<Flex> {
    fn linears(&mut self) -> Vec<&mut Linear<Flex>> {
        vec![
            &mut self.k_proj,
            &mut self.v_proj,
            &mut self.q_proj,
            &mut self.out_proj,
        ]
    }
}

impl Layer for EncoderLayer<Flex> {
    fn linears(&mut self) -> Vec<&mut Linear<Flex>> {
        let mut linears = self.self_attn.linears();
        linears.extend([&mut self.fc1, &mut self.fc2]);
        linears
    }

    fn norms(&mut self) -> Vec<&mut LayerNorm<Flex>> {
        vec![&mut self.self_attn_layer_norm, &mut self.final_layer_norm]
    }
}

impl Layer for DecoderLayer<Flex> {
    fn linears(&mut self) -> Vec<&mut Linear<Flex>> {
        let mut linears = self.self_attn.linears();
        linears.extend(self.encoder_attn.linears());
        linears.extend([&mut self.fc1, &mut self.fc2]);
        linears
    }

    fn norms(&mut self) -> Vec<&mut LayerNorm<Flex>> {
        vec![
            &mut self.self_attn_layer_norm,
            &mut self.encoder_attn_layer_norm,
            &mut self.final_layer_norm,
        ]
    }
}

impl Layer for Decoder<Flex> {
    fn linears(&mut self) -> Vec<&mut Linear<Flex>> {
        self.layers.iter_mut().flat_map(Layer::linears).collect()
    }

    fn norms(&mut self) -> Vec<&mut LayerNorm<Flex>> {
        let mut norms = vec![&mut self.layernorm_embedding];
        norms.extend(self.layers.iter_mut().flat_map(Layer::norms));
        norms
    }
}

/// Replaces all parameters by random ones, and packs the weights.
pub(crate) fn randomised<L: Layer>(mut layer: L) -> L {
    for linear in layer.linears() {
        let [outputs, inputs] = linear.weight.dims();
        let dtype = linear.weight.dtype();
        *linear = random_linear(inputs, outputs, linear.bias.is_some(), dtype);
    }
    for norm in layer.norms() {
        let [channels] = norm.gamma.lazy_shape().dims();
        norm.gamma = Param::from_tensor(random([channels]) + 1.0);
        norm.beta = Some(Param::from_tensor(random([channels])));
    }
    for conv in layer.convolutions() {
        let shape: [usize; 4] = conv.weight.lazy_shape().dims();
        // The variance is torch's.
        let inputs: usize = shape[1..].iter().product();
        conv.weight = Param::from_tensor(random(shape) / (3.0 * inputs as f32).sqrt());
        conv.bias = Some(Param::from_tensor(random([shape[0]])));
    }
    for conv in layer.patch_convolutions() {
        let shape = conv.weight.dims();
        let weight = random(shape) / (shape[1] as f32).sqrt();
        conv.weight = Weight::from_tensor(weight, conv.weight.dtype());
        assert!(conv.weight.as_packed().is_some());
        conv.bias = Some(Param::from_tensor(random([shape[0]])));
    }
    layer
}

/// A linear layer with packed weights.
pub(crate) fn random_linear(
    inputs: usize,
    outputs: usize,
    bias: bool,
    dtype: Dtype,
) -> Linear<Flex> {
    // The variance is that of torch's linear layers.
    let weight = random([outputs, inputs]) / (3.0 * inputs as f32).sqrt();
    let linear = Linear {
        weight: Weight::from_tensor(weight, dtype),
        bias: bias.then(|| Param::from_tensor(random([outputs]))),
    };
    assert!(linear.weight.as_packed().is_some());
    linear
}

/// The module with unpacked weights of the same values, which runs no fused operation.
pub(crate) fn unpacked<L: Layer>(layer: &L) -> L {
    let mut layer = layer.clone();
    for linear in layer.linears() {
        linear.weight = unpacked_weight(&linear.weight);
    }
    for conv in layer.patch_convolutions() {
        conv.weight = unpacked_weight(&conv.weight);
    }
    layer
}

pub(crate) fn unpacked_weight<const D: usize>(weight: &Weight<Flex, D>) -> Weight<Flex, D> {
    Weight::Parameter(Param::from_tensor(weight.val()), weight.dtype())
}

/// Sets a layer to zero. Its result is then zero for any finite input.
pub(crate) fn set_zero(linear: &mut Linear<Flex>) {
    let zeros = Tensor::zeros(linear.weight.dims(), &FlexDevice);
    linear.weight = Weight::from_tensor(zeros, Dtype::F32);
    linear.bias = None;
}

fn set_zero_convolution(conv: &mut Conv2d<Flex>) {
    let shape: [usize; 4] = conv.weight.lazy_shape().dims();
    conv.weight = Param::from_tensor(Tensor::zeros(shape, &FlexDevice));
    conv.bias = Some(Param::from_tensor(Tensor::zeros([shape[0]], &FlexDevice)));
}

/// A configuration of one stage, with as many groups as heads.
pub(crate) fn stage(
    channels: usize,
    heads: usize,
    window: usize,
    qkv_bias: bool,
    activation: &str,
) -> Florence2VisionConfig {
    let mut config = Florence2VisionConfig::default();
    config.embed_dim = vec![channels];
    config.num_heads = vec![heads];
    config.num_groups = vec![heads];
    config.window_size = window;
    config.qkv_bias = qkv_bias;
    activation.clone_into(&mut config.activation_function);
    config
}

pub(crate) fn spatial_block(config: &Florence2VisionConfig, dtype: Dtype) -> SpatialBlock<Flex> {
    randomised(SpatialBlock::new(config, 0, 0.0, dtype, &FlexDevice))
}

pub(crate) fn channel_block(config: &Florence2VisionConfig, dtype: Dtype) -> ChannelBlock<Flex> {
    randomised(ChannelBlock::new(config, 0, 0.0, dtype, &FlexDevice))
}

/// A patch embedding from `in_channels` to `channels`.
pub(crate) fn conv_embed(
    [in_channels, channels]: [usize; 2],
    [size, stride, padding]: [usize; 3],
    prenorm: bool,
    dtype: Dtype,
) -> ConvEmbed<Flex> {
    let mut config = Florence2VisionConfig::default();
    config.in_channels = in_channels;
    config.embed_dim = vec![channels];
    config.patch_size = vec![size];
    config.patch_stride = vec![stride];
    config.patch_padding = vec![padding];
    config.patch_prenorm = vec![prenorm];
    randomised(ConvEmbed::new(&config, 0, dtype, &FlexDevice))
}

/// A configuration of one encoder layer and one decoder layer.
pub(crate) fn text_config(
    d_model: usize,
    heads: usize,
    hidden: usize,
    activation: &str,
) -> Florence2TextConfig {
    let mut config = Florence2TextConfig::default();
    config.vocab_size = 4;
    config.d_model = d_model;
    config.encoder_layers = 1;
    config.decoder_layers = 1;
    config.encoder_attention_heads = heads;
    config.decoder_attention_heads = heads;
    config.encoder_ffn_dim = hidden;
    config.decoder_ffn_dim = hidden;
    activation.clone_into(&mut config.activation_function);
    config.max_position_embeddings = 100;
    config
}

pub(crate) fn encoder_layer(config: &Florence2TextConfig, dtype: Dtype) -> EncoderLayer<Flex> {
    let mut encoder = Encoder::new(config, dtype, &FlexDevice);
    randomised(encoder.layers.swap_remove(0))
}

pub(crate) fn decoder_layer(config: &Florence2TextConfig, dtype: Dtype) -> DecoderLayer<Flex> {
    let mut decoder = Decoder::new(config, dtype, &FlexDevice);
    randomised(decoder.layers.swap_remove(0))
}

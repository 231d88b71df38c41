//! Every fused operation against the portable one, at sizes that divide evenly and at sizes that
//! do not: tails of vectors, windows over the edge, one row, few rows, many.

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Bool, Distribution, Tensor};
use burn_flex::{Flex, FlexDevice};
use florence2_kernels::{Backend, portable};

/// The largest difference allowed, as a share of the largest value.
const TOLERANCE: f32 = 1e-5;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<Flex, D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &FlexDevice)
}

fn norm(channels: usize) -> LayerNorm<Flex> {
    let mut norm = LayerNormConfig::new(channels).init(&FlexDevice);
    norm.gamma = Param::from_tensor(random([channels]) + 1.0);
    norm.beta = Some(Param::from_tensor(random([channels])));
    norm
}

fn linear(inputs: usize, outputs: usize, bias: bool) -> Linear<Flex> {
    let mut linear = LinearConfig::new(inputs, outputs)
        .with_bias(bias)
        .init(&FlexDevice);
    linear.bias = bias.then(|| Param::from_tensor(random([outputs])));
    linear
}

fn convolution(config: Conv2dConfig, channels: usize) -> Conv2d<Flex> {
    let mut conv = config.init(&FlexDevice);
    conv.bias = Some(Param::from_tensor(random([channels])));
    conv
}

#[track_caller]
fn assert_close<const D: usize>(what: &str, found: Tensor<Flex, D>, expected: Tensor<Flex, D>) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let largest = expected.clone().abs().max().into_scalar();
    let difference = (found - expected).abs().max().into_scalar();
    assert!(
        difference <= TOLERANCE * largest,
        "{what}: {difference} of {largest}"
    );
}

/// Batch, height, width, channels.
const IMAGES: [[usize; 4]; 6] = [
    [1, 12, 12, 32],
    [2, 7, 5, 24],
    [1, 1, 1, 16],
    [1, 1, 40, 16],
    [3, 13, 25, 48],
    [1, 40, 33, 64],
];

#[test]
fn depthwise_convolution() {
    for shape in IMAGES {
        let channels = shape[3];
        let config = Conv2dConfig::new([channels, channels], [3, 3])
            .with_groups(channels)
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        let (input, conv) = (random(shape), convolution(config, channels));
        let expected = portable::add_depthwise(input.clone(), &conv);
        assert_close(
            &format!("{shape:?}"),
            Flex::add_depthwise(input, &conv),
            expected,
        );
    }
}

#[test]
fn patch_embedding() {
    for (shape, size, stride, padding) in [
        ([1, 32, 32, 3], 7, 4, 3),
        ([2, 21, 13, 3], 7, 4, 3),
        ([1, 12, 12, 32], 3, 2, 1),
        ([2, 9, 5, 20], 3, 2, 1),
        ([1, 4, 4, 5], 2, 2, 0),
    ] {
        // A norm over very few channels may divide by almost nothing, and magnify any rounding.
        let prenorms: &[bool] = if shape[3] < 16 {
            &[false]
        } else {
            &[false, true]
        };
        for &prenorm in prenorms {
            let config = Conv2dConfig::new([shape[3], 24], [size, size])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(
                    padding, padding, padding, padding,
                ));
            let (input, conv) = (random(shape), convolution(config, 24));
            let norm = norm(if prenorm { shape[3] } else { 24 });
            let expected = portable::patch_embedding(input.clone(), &conv, &norm, prenorm);
            let found = Flex::patch_embedding(input, &conv, &norm, prenorm);
            assert_close(&format!("{shape:?} {prenorm}"), found, expected);
        }
    }
}

#[test]
fn window_attention() {
    for shape in IMAGES {
        for (heads, window, bias) in [(2, 12, true), (4, 5, false), (1, 3, true)] {
            let channels = shape[3];
            let (input, norm) = (random(shape), norm(channels));
            let qkv = linear(channels, 3 * channels, bias);
            let proj = linear(channels, channels, true);
            let expected =
                portable::add_window_attention(input.clone(), &norm, &qkv, &proj, heads, window);
            let found = Flex::add_window_attention(input, &norm, &qkv, &proj, heads, window);
            assert_close(&format!("{shape:?} {heads} {window}"), found, expected);
        }
    }
}

#[test]
fn channel_attention() {
    for shape in IMAGES {
        for (groups, bias) in [(1, true), (2, false), (4, true)] {
            let channels = shape[3];
            let (input, norm) = (random(shape), norm(channels));
            let qkv = linear(channels, 3 * channels, bias);
            let proj = linear(channels, channels, true);
            let expected =
                portable::add_channel_attention(input.clone(), &norm, &qkv, &proj, groups);
            let found = Flex::add_channel_attention(input, &norm, &qkv, &proj, groups);
            assert_close(&format!("{shape:?} {groups}"), found, expected);
        }
    }
}

#[test]
fn feed_forward() {
    for shape in IMAGES {
        let channels = shape[3];
        let (input, norm) = (random(shape) * 3.0, norm(channels));
        let fc1 = linear(channels, 4 * channels, true);
        let fc2 = linear(4 * channels, channels, true);
        let expected = portable::add_feed_forward(input.clone(), &norm, &fc1, &fc2);
        let found = Flex::add_feed_forward(input.clone(), &norm, &fc1, &fc2);
        assert_close(&format!("{shape:?}"), found, expected);
        let [batch, height, width, _] = shape;
        let input = input.reshape([batch, height * width, channels]);
        let expected = portable::feed_forward_then_norm(input.clone(), &fc1, &fc2, &norm);
        let found = Flex::feed_forward_then_norm(input, &fc1, &fc2, &norm);
        assert_close(&format!("{shape:?} then norm"), found, expected);
    }
}

#[test]
fn linear_layers() {
    for (rows, inputs, outputs) in [
        (1, 7, 5),
        (3, 64, 1000),
        (8, 130, 257),
        (9, 33, 65),
        (700, 48, 40),
    ] {
        for bias in [false, true] {
            let (input, linear) = (random([1, rows, inputs]), linear(inputs, outputs, bias));
            let expected = portable::apply_linear(input.clone(), &linear);
            let found = Flex::apply_linear(input, &linear);
            assert_close(&format!("{rows} {inputs} {outputs}"), found, expected);
        }
    }
}

#[test]
fn tied_logits() {
    for (rows, dim, vocabulary) in [(1, 64, 1500), (3, 70, 513), (5, 768, 100), (12, 32, 64)] {
        let (input, table) = (random([1, rows, dim]), random([vocabulary, dim]));
        let expected = portable::tied_logits(input.clone(), table.clone());
        let found = Flex::tied_logits(input, table);
        assert_close(&format!("{rows} {dim} {vocabulary}"), found, expected);
    }
}

#[test]
fn attention() {
    for (batch, heads, queries, keys, head_dim) in [
        (1, 4, 1, 1, 8),
        (2, 3, 3, 590, 64),
        (1, 2, 300, 300, 20),
        (3, 1, 130, 7, 5),
    ] {
        let q = random([batch, queries, heads * head_dim]);
        let keys_values = random([batch, keys, heads * head_dim]);
        let k = Flex::split_heads(keys_values, heads);
        let v = random([batch, heads, keys, head_dim]);
        let what = format!("{batch} {heads} {queries} {keys} {head_dim}");
        let expected = portable::multi_head_attention(q.clone(), k.clone(), v.clone(), None);
        let found = Flex::multi_head_attention(q.clone(), k.clone(), v.clone(), None);
        assert_close(&what, found, expected);
        let masked: Tensor<Flex, 4, Bool> =
            Tensor::<Flex, 4>::random([1, 1, 1, keys], Distribution::Default, &FlexDevice)
                .greater_elem(0.9);
        let mut expected =
            portable::multi_head_attention(q.clone(), k.clone(), v.clone(), Some(masked.clone()));
        let found = Flex::multi_head_attention(q, k, v, Some(masked));
        // Where every key is masked, both are NaN.
        expected = expected.clone().mask_fill(expected.clone().is_nan(), 0.0);
        let found = found.clone().mask_fill(found.is_nan(), 0.0);
        assert_close(&what, found, expected);
    }
}

/// What is not finite stays so: a caller learns of it.
#[test]
fn nan_is_not_lost() {
    let input = Tensor::<Flex, 4>::full([1, 4, 4, 8], f32::NAN, &FlexDevice);
    let (norm, fc1, fc2) = (norm(8), linear(8, 32, true), linear(32, 8, true));
    let found = Flex::add_feed_forward(input.clone(), &norm, &fc1, &fc2);
    assert!(found.is_nan().all().into_scalar());
    let (qkv, proj) = (linear(8, 24, true), linear(8, 8, true));
    let found = Flex::add_window_attention(input.clone(), &norm, &qkv, &proj, 2, 3);
    assert!(found.is_nan().all().into_scalar());
    let found = Flex::add_channel_attention(input, &norm, &qkv, &proj, 2);
    assert!(found.is_nan().all().into_scalar());
}

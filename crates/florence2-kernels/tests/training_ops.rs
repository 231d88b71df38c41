//! The operations of training and their gradients, compared with burn's own operations under autodiff, at
//! shapes that are no multiples of vectors, panels and chunks.

#![allow(clippy::unwrap_used)]

use burn::nn::conv::Conv2dConfig;
use burn::nn::{LayerNormConfig, PaddingConfig2d};
use burn::tensor::{Bool, Distribution, Tensor, TensorData, activation};
use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use florence2_kernels::{AttentionSettings, Backend, DropoutMask};

type Train = Autodiff<Flex>;

/// The largest difference, relative to the largest value.
const TOLERANCE: f32 = 2e-5;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<Train, D> {
    let distribution = Distribution::Normal(0.0, 1.0);
    Tensor::random(shape, distribution, &FlexDevice).require_grad()
}

fn assert_close<const D: usize>(what: &str, found: Tensor<Flex, D>, expected: Tensor<Flex, D>) {
    let largest: f32 = expected.clone().abs().max().into_scalar();
    let difference: f32 = (found - expected).abs().max().into_scalar();
    assert!(
        difference <= TOLERANCE * largest.max(1e-3),
        "{what}: a difference of {difference}, the largest value is {largest}"
    );
}

/// Compares two results and the gradients of inputs for a random gradient of the result.
fn compare<const D: usize, const I: usize>(
    what: &str,
    inputs: &[&Tensor<Train, I>],
    [found, expected]: [Tensor<Train, D>; 2],
) {
    assert_close(what, found.clone().inner(), expected.clone().inner());
    let gradient = Tensor::<Train, D>::from_inner(random(found.dims()).inner());
    let [found, expected] =
        [found, expected].map(|result| (result * gradient.clone()).sum().backward());
    for (index, input) in inputs.iter().enumerate() {
        let what = format!("{what}: the gradient of input {index}");
        let (found, expected) = (input.grad(&found), input.grad(&expected));
        assert_close(&what, found.unwrap(), expected.unwrap());
    }
}

fn plain_attention(
    [q, k, v]: [&Tensor<Train, 4>; 3],
    settings: &AttentionSettings<Train>,
) -> Tensor<Train, 4> {
    let scores = q.clone().matmul(k.clone().swap_dims(2, 3)) * settings.scale;
    let shape = scores.shape();
    let scores = match &settings.mask {
        Some(mask) => scores.mask_fill(mask.clone().expand(shape.clone()), f32::MIN),
        None => scores,
    };
    let weights = activation::softmax(scores, 3);
    let weights = match settings.dropout {
        Some(mask) => {
            let factors = TensorData::new(mask.factors(shape.num_elements()), shape);
            weights * Tensor::from_data(factors, &FlexDevice)
        }
        None => weights,
    };
    weights.matmul(v.clone())
}

#[test]
fn attention_equals_the_plain_operations() {
    let dropout = DropoutMask {
        probability: 0.3,
        seed: 5,
    };
    for [batch, heads, queries, keys, head_dim] in [
        [1, 1, 1, 1, 1],
        [2, 3, 70, 45, 20],
        [1, 2, 130, 65, 64],
        [2, 1, 5, 200, 33],
    ] {
        let q = random([batch, heads, queries, head_dim]);
        let k = random([batch, heads, keys, head_dim]);
        let v = random([batch, heads, keys, head_dim]);
        // The first key is never masked.
        let masked = |shape: [usize; 4]| {
            let keys = 0..shape.iter().product();
            let is_masked =
                keys.map(|index: usize| !index.is_multiple_of(shape[3]) && index % 3 == 1);
            let data = TensorData::new(is_masked.collect::<Vec<bool>>(), shape);
            Tensor::<Train, 4, Bool>::from_data(data, &FlexDevice)
        };
        let masks = [
            None,
            Some(masked([batch, 1, 1, keys])),
            Some(masked([1, 1, queries, keys])),
        ];
        for (mask, dropout) in masks.into_iter().zip([None, Some(dropout), Some(dropout)]) {
            let settings = AttentionSettings {
                mask,
                scale: 0.2,
                dropout,
            };
            let qkv = [&q, &k, &v];
            let found = Train::fused_attention(qkv, &settings).unwrap();
            let what = format!("{batch} {heads} {queries} {keys} {head_dim}");
            compare(&what, &qkv, [found, plain_attention(qkv, &settings)]);
        }
    }
}

#[test]
fn a_query_whose_keys_are_all_masked_has_numbers() {
    let q = random([1, 1, 2, 4]);
    let [k, v] = [(); 2].map(|()| random([1, 1, 3, 4]));
    let mask = vec![true, true, true, false, true, false];
    let mask = TensorData::new(mask, [1, 1, 2, 3]);
    let settings = AttentionSettings {
        mask: Some(Tensor::from_data(mask, &FlexDevice)),
        scale: 1.0,
        dropout: None,
    };
    let qkv = [&q, &k, &v];
    let found = Train::fused_attention(qkv, &settings).unwrap();
    compare("masked", &qkv, [found, plain_attention(qkv, &settings)]);
}

#[test]
fn layer_norm_equals_the_plain_operation() {
    for [rows, channels] in [[1, 1], [3, 7], [400, 96], [5, 768]] {
        let mut norm = LayerNormConfig::new(channels).init::<Train>(&FlexDevice);
        norm.gamma = norm.gamma.map(|_| random([channels]));
        norm.beta = norm.beta.map(|beta| beta.map(|_| random([channels])));
        let x = random([1, rows, channels]);
        let found = Train::fused_layer_norm(&norm, &x).unwrap();
        let what = format!("{rows} {channels}");
        compare(&what, &[&x], [found, norm.forward(x.clone())]);
        let beta = norm.beta.as_ref().unwrap().val();
        let gamma = norm.gamma.val();
        let found = Train::fused_layer_norm(&norm, &x).unwrap();
        compare(&what, &[&gamma, &beta], [found, norm.forward(x)]);
    }
}

#[test]
fn depthwise_convolution_equals_the_plain_operation() {
    for shape in [[1, 1, 1, 1], [2, 5, 7, 40], [1, 30, 9, 64], [3, 1, 4, 3]] {
        let channels = shape[3];
        let config = Conv2dConfig::new([channels, channels], [3, 3]).with_groups(channels);
        let config = config.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        let conv = config.init::<Train>(&FlexDevice);
        let plain = |x: &Tensor<Train, 4>| {
            let y = conv.forward(x.clone().permute([0, 3, 1, 2]));
            y.permute([0, 2, 3, 1])
        };
        let x = random(shape);
        let found = || Train::fused_depthwise(&conv, &x).unwrap();
        let what = format!("{shape:?}");
        compare(&what, &[&x, &conv.weight.val()], [found(), plain(&x)]);
        let bias = conv.bias.as_ref().unwrap().val();
        compare(&what, &[&bias], [found(), plain(&x)]);
    }
}

#[test]
fn gelu_equals_the_plain_operation() {
    for count in [1, 17, 40_000] {
        let x = random([1, count]) * 3.0;
        let x = Tensor::from_inner(x.inner()).require_grad();
        let found = Train::fused_gelu(&x).unwrap();
        compare(
            &format!("{count}"),
            &[&x],
            [found, activation::gelu(x.clone())],
        );
    }
}

//! Compares every fused operation with the portable one, at sizes that divide evenly and at sizes
//! that do not: tails of vectors, windows over the edge, one row, few rows, many rows.

mod values;

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, PaddingConfig2d};
use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use florence2_kernels::{
    Activation, Backend, KeysValues, Linear, PastKeysValues, PatchConv, Precision, Weight, portable,
};
use half::f16;

/// The largest allowed difference, relative to the largest value.
const TOLERANCE: f32 = 1e-5;

use values::{random, uniform};

fn norm(channels: usize) -> LayerNorm<Flex> {
    let mut norm = LayerNormConfig::new(channels).init(&FlexDevice);
    norm.gamma = Param::from_tensor(random([channels]) + 1.0);
    norm.beta = Some(Param::from_tensor(random([channels])));
    norm
}

fn linear(inputs: usize, outputs: usize, bias: bool) -> Linear<Flex> {
    linear_of(inputs, outputs, bias, Precision::F32)
}

fn linear_of(inputs: usize, outputs: usize, bias: bool, precision: Precision) -> Linear<Flex> {
    // torch's initialisation of linear layers.
    let weight = random([outputs, inputs]) / (3.0 * inputs as f32).sqrt();
    let linear = Linear {
        weight: Weight::from_tensor(weight, precision),
        bias: bias.then(|| Param::from_tensor(random([outputs]))),
    };
    assert!(linear.weight.as_packed().is_some());
    linear
}

/// The layer with weights that f16 represents exactly, which are stored as f16.
fn of_f16(linear: Linear<Flex>) -> Linear<Flex> {
    Linear {
        weight: Weight::from_tensor(rounded_to_f16(linear.weight.val()), Precision::F32),
        ..linear
    }
}

fn rounded_to_f16<const D: usize>(values: Tensor<Flex, D>) -> Tensor<Flex, D> {
    let values = values.into_data().convert::<f16>().convert::<f32>();
    Tensor::from_data(values, &FlexDevice)
}

/// A depthwise convolution.
fn convolution(channels: usize) -> Conv2d<Flex> {
    let config = Conv2dConfig::new([channels, channels], [3, 3])
        .with_groups(channels)
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
    let mut conv = config.init(&FlexDevice);
    conv.bias = Some(Param::from_tensor(random([channels])));
    conv
}

#[track_caller]
fn assert_close<const D: usize>(what: &str, found: Tensor<Flex, D>, expected: Tensor<Flex, D>) {
    assert_within(what, TOLERANCE, found, expected);
}

#[track_caller]
fn assert_within<const D: usize>(
    what: &str,
    tolerance: f32,
    found: Tensor<Flex, D>,
    expected: Tensor<Flex, D>,
) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let largest = expected.clone().abs().max().into_scalar();
    let difference = (found - expected).abs().max().into_scalar();
    assert!(
        difference <= tolerance * largest,
        "{what}: {difference} of {largest}"
    );
}

/// `[batch, height, width, channels]`.
const IMAGES: [[usize; 4]; 6] = [
    [1, 12, 12, 32],
    [2, 7, 5, 24],
    [1, 1, 1, 16],
    [1, 1, 40, 16],
    [3, 13, 25, 48],
    [1, 40, 33, 64],
];

#[test]
fn patch_embedding() {
    for (shape, size, stride, padding) in [
        ([1, 32, 32, 3], 7, 4, 3),
        ([2, 21, 13, 3], 7, 4, 3),
        ([1, 12, 12, 32], 3, 2, 1),
        ([2, 9, 5, 20], 3, 2, 1),
        ([1, 4, 4, 5], 2, 2, 0),
    ] {
        // A norm over very few channels may divide by a very small number, and amplify any
        // rounding.
        let prenorms: &[bool] = if shape[3] < 16 {
            &[false]
        } else {
            &[false, true]
        };
        for &prenorm in prenorms {
            let weight = random([24, shape[3], size, size]) / (shape[3] as f32).sqrt();
            let conv = PatchConv {
                weight: Weight::from_tensor(weight, Precision::F32),
                bias: Some(Param::from_tensor(random([24]))),
                stride,
                padding,
            };
            let input = random(shape);
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
            let (input, conv, norm) = (random(shape), convolution(channels), norm(channels));
            let mut qkv = linear(channels, 3 * channels, bias);
            let mut proj = linear(channels, channels, true);
            if heads == 4 {
                (qkv, proj) = (of_f16(qkv), of_f16(proj));
            }
            let expected = portable::add_window_attention(
                input.clone(),
                &conv,
                &norm,
                &qkv,
                &proj,
                heads,
                window,
            );
            let found = Flex::add_window_attention(input, &conv, &norm, &qkv, &proj, heads, window);
            assert_close(&format!("{shape:?} {heads} {window}"), found, expected);
        }
    }
}

#[test]
fn channel_attention() {
    for shape in IMAGES {
        for (groups, bias) in [(1, true), (2, false), (4, true)] {
            let channels = shape[3];
            let (input, conv, norm) = (random(shape), convolution(channels), norm(channels));
            let mut qkv = linear(channels, 3 * channels, bias);
            let mut proj = linear(channels, channels, true);
            if groups == 4 {
                (qkv, proj) = (of_f16(qkv), of_f16(proj));
            }
            let expected =
                portable::add_channel_attention(input.clone(), &conv, &norm, &qkv, &proj, groups);
            let found = Flex::add_channel_attention(input, &conv, &norm, &qkv, &proj, groups);
            assert_close(&format!("{shape:?} {groups}"), found, expected);
        }
    }
}

#[test]
fn feed_forward() {
    let names = ["gelu", "gelu_new", "quick_gelu", "relu", "silu", "swish"];
    for (shape, name) in IMAGES.into_iter().zip(names) {
        let activation = Activation::named(name).unwrap();
        let channels = shape[3];
        let (input, conv, norm) = (random(shape) * 3.0, convolution(channels), norm(channels));
        let fc1 = linear(channels, 4 * channels, true);
        let fc2 = linear(4 * channels, channels, true);
        for activation in [Activation::Gelu, activation] {
            let input = input.clone();
            let expected =
                portable::add_feed_forward(input.clone(), &conv, &norm, &fc1, &fc2, activation);
            let found = Flex::add_feed_forward(input.clone(), &conv, &norm, &fc1, &fc2, activation);
            assert_close(&format!("{shape:?} {activation:?}"), found, expected);
            let [batch, height, width, _] = shape;
            let input = input.reshape([batch, height * width, channels]);
            let expected =
                portable::feed_forward_then_norm(input.clone(), &fc1, &fc2, activation, &norm);
            let found = Flex::feed_forward_then_norm(input, &fc1, &fc2, activation, &norm);
            assert_close(
                &format!("{shape:?} {activation:?} then norm"),
                found,
                expected,
            );
        }
    }
}

/// Compares burn's operations for each activation with transformers.
#[test]
fn activations() {
    for line in include_str!("../../../tests/fixtures/activations.txt").lines() {
        let [name, x, expected] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("found `{line}`, expected a name and two numbers");
        };
        let (x, expected): (f32, f32) = (x.parse().unwrap(), expected.parse().unwrap());
        let x = Tensor::<Flex, 1>::from_floats([x], &FlexDevice);
        let found = Activation::named(name).unwrap().forward(x).into_scalar();
        assert!(
            (found - expected).abs() <= 1e-6 * expected.abs().max(1.0),
            "{line}: found {found}"
        );
    }
    assert!(Activation::named("prelu").is_none());
    assert!(Activation::choice().contains("gelu_pytorch_tanh"));
}

#[test]
fn linear_layers() {
    for (rows, inputs, outputs) in [
        (1, 7, 5),
        (3, 64, 1000),
        (8, 130, 257),
        (9, 33, 65),
        (20, 1024, 40),
        (700, 48, 40),
    ] {
        for bias in [false, true] {
            let (input, linear) = (random([1, rows, inputs]), linear(inputs, outputs, bias));
            let expected = portable::apply_linears(input.clone(), [&linear])[0].clone();
            let found = Flex::apply_linear(input, &linear);
            assert_close(&format!("{rows} {inputs} {outputs}"), found, expected);
            let (input, residual) = (random([1, rows, inputs]), random([1, rows, outputs]));
            let norm = norm(outputs);
            let expected =
                portable::linear_then_norm(input.clone(), residual.clone(), &linear, &norm);
            let found = Flex::linear_then_norm(input, residual, &linear, &norm);
            assert_close(
                &format!("{rows} {inputs} {outputs} normed"),
                found,
                expected,
            );
        }
    }
}

#[test]
fn tied_logits() {
    for (rows, dim, vocabulary) in [(1, 64, 1500), (3, 70, 513), (5, 768, 100), (12, 32, 64)] {
        let input = random([1, rows, dim]);
        let table = Weight::from_tensor(random([vocabulary, dim]), Precision::F32);
        let expected = portable::tied_logits(input.clone(), &table);
        let found = Flex::tied_logits(input, &table);
        assert_close(&format!("{rows} {dim} {vocabulary}"), found, expected);
        let ids = Tensor::<Flex, 2, Int>::from_ints([[0, vocabulary as i32 - 1]], &FlexDevice);
        let expected = portable::embed(&table, ids.clone());
        assert_close("embedding", Flex::embed(&table, ids), expected);
    }
}

/// Products of weights that f16 represents exactly equal those of f32 weights, bit for bit.
#[test]
fn products_of_f16() {
    for (rows, inputs, outputs) in [
        (1, 7, 5),
        (3, 64, 1000),
        (15, 1031, 33),
        (100, 2050, 16),
        (300, 333, 65),
    ] {
        let input = random([1, rows, inputs]);
        // The smallest and the largest numbers of f16, and zeros of both signs.
        let special = [5.960_464_5e-8, -6.1e-5, 65504.0, 0.0, -0.0];
        let special = Tensor::from_data(TensorData::new(special.to_vec(), [5, 1]), &FlexDevice);
        let weight = random([outputs, inputs]).slice_assign([0..5, 0..1], special);
        let weight = rounded_to_f16(weight);
        // One more output, which f16 does not represent exactly.
        let wide = Tensor::cat(
            vec![weight.clone(), Tensor::full([1, inputs], 0.1, &FlexDevice)],
            0,
        );
        let product = |weight| {
            let weight = Weight::from_tensor(weight, Precision::F32);
            let linear = Linear { weight, bias: None };
            let product = Flex::apply_linear(input.clone(), &linear);
            product.narrow(2, 0, outputs).into_data()
        };
        assert_eq!(
            product(weight.clone()),
            product(wide),
            "{rows} {inputs} {outputs}"
        );
        let packed = Weight::<Flex, 2>::from_tensor(weight.clone(), Precision::F32);
        assert_eq!(packed.val().into_data(), weight.into_data());
    }
}

/// The product of a sequence does not depend on the number of other sequences, bit for bit: for the
/// single tokens of some beams, as in a decoding step, and for a prompt.
#[test]
fn a_sequence_is_multiplied_as_it_is_alone() {
    for precision in Precision::ALL {
        for [sequences, tokens] in [[100, 1], [3, 70], [2, 300]] {
            let (inputs, outputs) = (1031, 70);
            let input = random([sequences, tokens, inputs]);
            let mut layers = vec![of_f16(linear_of(inputs, outputs, true, Precision::F32))];
            for bias in [true, false] {
                layers.push(linear_of(inputs, outputs, bias, precision));
            }
            for linear in &layers {
                let together = Flex::apply_linear(input.clone(), linear);
                for few in 1..=sequences.min(5) {
                    for first in [0, (sequences - few) / 2, sequences - few] {
                        let alone = input.clone().narrow(0, first, few);
                        assert_eq!(
                            Flex::apply_linear(alone, linear).into_data(),
                            together.clone().narrow(0, first, few).into_data(),
                            "{precision} {sequences} {tokens}: {few} from {first}"
                        );
                    }
                }
            }
        }
    }
}

/// The errors of f32 products are those of rounded sums, for any method: relative to the sum of
/// magnitudes, and compared with sums in f64. Positive numbers reveal errors of a constant sign.
#[test]
fn products_in_f32_err_as_rounding_does() {
    const ROUNDING: f64 = 1.0 / (1 << 24) as f64;
    for (inputs, positive) in [(64, true), (512, true), (512, false), (2050, true)] {
        let values = |rows| match positive {
            true => random([rows, inputs]).abs() + 1.0,
            false => random([rows, inputs]),
        };
        for weight in [values(40), rounded_to_f16(values(40))] {
            let input = values(100);
            let linear = Linear {
                weight: Weight::from_tensor(weight.clone(), Precision::F32),
                bias: None,
            };
            let found = Flex::apply_linear(input.clone().unsqueeze(), &linear);
            let errors = errors(&numbers(input), &numbers(weight), &numbers(found), inputs);
            let mean = errors.iter().sum::<f64>() / errors.len() as f64;
            let worst = errors
                .iter()
                .fold(0.0, |worst: f64, error| worst.max(error.abs()));
            let what = format!("{inputs} {positive}: {mean} in the mean, {worst} at worst");
            assert!(mean.abs() <= 2.0 * ROUNDING, "{what}");
            assert!(worst <= 2.0 * (inputs as f64).sqrt() * ROUNDING, "{what}");
        }
    }
}

/// With one number far above the others, in rows and in columns, the error of a product is no
/// larger than that of a sequential f32 sum may be: as many roundings of the row's length times the
/// column's as there are numbers.
#[test]
fn products_in_f32_err_as_sums_may() {
    const ROUNDING: f64 = 1.0 / (1 << 24) as f64;
    let [rows, inputs, outputs] = [100, 512, 40];
    let with_one = |count, at: usize, factor: f32| {
        let values = random([count, inputs]);
        let one = values.clone().slice([0..count, at..at + 1]) * factor;
        values.slice_assign([0..count, at..at + 1], one)
    };
    for factor in [1.0, 50.0, 1000.0] {
        let (input, weight) = (with_one(rows, 7, factor), with_one(outputs, 300, factor));
        let linear = Linear {
            weight: Weight::from_tensor(weight.clone(), Precision::F32),
            bias: None,
        };
        let found = numbers(Flex::apply_linear(input.clone().unsqueeze(), &linear));
        let (input, weight) = (numbers(input), numbers(weight));
        for (row, found) in input.chunks(inputs).zip(found.chunks(outputs)) {
            for (column, found) in weight.chunks(inputs).zip(found) {
                let error = (found - dot(row, column)).abs();
                let lengths = (dot(row, row) * dot(column, column)).sqrt();
                let roundings = error / lengths / ROUNDING;
                assert!(roundings <= inputs as f64, "{factor}: {roundings}");
            }
        }
    }
}

fn dot(row: &[f64], column: &[f64]) -> f64 {
    row.iter().zip(column).map(|(x, w)| x * w).sum()
}

fn numbers<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The error of each product of a row and a column, relative to the sum of magnitudes.
fn errors(rows: &[f64], columns: &[f64], products: &[f64], inputs: usize) -> Vec<f64> {
    let rows = rows.chunks(inputs);
    let pairs = rows.flat_map(|row| columns.chunks(inputs).map(move |column| (row, column)));
    pairs
        .zip(products)
        .map(|((row, column), product)| {
            let magnitude: f64 = row.iter().zip(column).map(|(x, w)| (x * w).abs()).sum();
            (product - dot(row, column)) / magnitude
        })
        .collect()
}

/// The precision f16 rounds weights to f16, and their products equal those in f32, bit for bit.
#[test]
fn f16_rounds_and_multiplies_in_f32() {
    for (rows, inputs, outputs) in [(1, 7, 5), (15, 1031, 33), (300, 333, 65)] {
        let input = random([1, rows, inputs]);
        let weight = random([outputs, inputs]);
        let rounded = rounded_to_f16(weight.clone());
        assert_ne!(rounded.to_data(), weight.to_data());
        let product = |weight, precision| {
            let weight = Weight::from_tensor(weight, precision);
            let linear = Linear { weight, bias: None };
            Flex::apply_linear(input.clone(), &linear).into_data()
        };
        assert_eq!(
            product(weight, Precision::F16),
            product(rounded, Precision::F32),
            "{rows} {inputs} {outputs}"
        );
    }
}

/// Unpacked values equal the packed ones: f32 exactly, the others within their rounding.
#[test]
fn packed_weights_keep_their_values() {
    for shape in [[1, 1], [33, 70], [64, 1030], [100, 2050]] {
        for (precision, tolerance) in [
            (Precision::F32, 0.0),
            (Precision::F16, 1.0 / 2048.0),
            (Precision::Bf16, 1.0 / 256.0),
            (Precision::Int8, 0.5 / 127.0),
        ] {
            let values = random(shape);
            let weight = Weight::from_tensor(values.clone(), precision);
            assert_eq!(weight.dims(), shape);
            let largest = values.clone().abs().max_dim(1);
            let error = (weight.val() - values)
                .abs()
                .div(largest)
                .max()
                .into_scalar();
            assert!(error <= tolerance * 1.001, "{shape:?} {precision}: {error}");
        }
    }
    let values = random([5, 3, 2, 7]);
    let weight = Weight::from_tensor(values.clone(), Precision::F32);
    assert_close("a convolution's", weight.val(), values);
}

/// The errors of bf16 and int8 products are no larger than their formats require: the rounding of
/// both factors, which accumulates as noise does.
#[test]
fn narrow_products() {
    for (rows, inputs, outputs) in [
        (1, 7, 5),
        (3, 64, 1000),
        (15, 1030, 33),
        (33, 20, 40),
        (100, 2050, 70),
        (300, 333, 65),
    ] {
        for (precision, tolerance) in [(Precision::Bf16, 0.006), (Precision::Int8, 0.02)] {
            let input = random([1, rows, inputs]);
            let linear = linear_of(inputs, outputs, true, precision);
            let wide = Linear {
                weight: Weight::Parameter(Param::from_tensor(linear.weight.val()), Precision::F32),
                bias: linear.bias.clone(),
            };
            let expected = portable::apply_linears(input.clone(), [&wide])[0].clone();
            let found = Flex::apply_linear(input, &linear);
            let error = (found - expected.clone()).powf_scalar(2.0).mean().sqrt();
            let error = error.into_scalar() / expected.powf_scalar(2.0).mean().sqrt().into_scalar();
            assert!(
                error <= tolerance,
                "{rows} {inputs} {outputs} {precision}: {error}"
            );
        }
    }
}

/// Whole layers: with heads that are whole panels or not, of odd sizes, and windows of an odd
/// number of positions.
#[test]
fn narrow_layers() {
    let shapes = [(64, 2, 12), (64, 4, 5), (24, 4, 3), (30, 2, 5)];
    let precisions = [Precision::Bf16, Precision::Int8];
    for ((channels, heads, window), precision) in shapes
        .into_iter()
        .flat_map(|shape| precisions.map(|precision| (shape, precision)))
    {
        let shape = [1, 13, 25, channels];
        let (input, conv, norm) = (random(shape), convolution(channels), norm(channels));
        let (fc1, fc2) = (
            linear_of(channels, 4 * channels, true, precision),
            linear_of(4 * channels, channels, true, precision),
        );
        let qkv = linear_of(channels, 3 * channels, true, precision);
        let proj = linear(channels, channels, true);
        let close = |what: &str, found: Tensor<Flex, 4>, expected: Tensor<Flex, 4>| {
            let largest = expected.clone().abs().max().into_scalar();
            let difference = (found - expected).abs().max().into_scalar();
            assert!(
                difference <= 0.03 * largest,
                "{what} {channels} {heads} {precision}: {difference} of {largest}"
            );
        };
        close(
            "feed forward",
            Flex::add_feed_forward(input.clone(), &conv, &norm, &fc1, &fc2, Activation::Gelu),
            portable::add_feed_forward(input.clone(), &conv, &norm, &fc1, &fc2, Activation::Gelu),
        );
        close(
            "window attention",
            Flex::add_window_attention(input.clone(), &conv, &norm, &qkv, &proj, heads, window),
            portable::add_window_attention(input.clone(), &conv, &norm, &qkv, &proj, heads, window),
        );
        close(
            "channel attention",
            Flex::add_channel_attention(input.clone(), &conv, &norm, &qkv, &proj, heads),
            portable::add_channel_attention(input, &conv, &norm, &qkv, &proj, heads),
        );
    }
}

#[test]
fn attention() {
    for (batch, groups, heads, queries, keys, head_dim) in [
        (1, 1, 4, 1, 1, 8),
        (2, 3, 3, 1, 590, 64),
        (1, 1, 2, 300, 300, 20),
        (3, 1, 1, 130, 7, 5),
        (1, 3, 2, 2, 1100, 33),
    ] {
        let dim = heads * head_dim;
        let q = random([groups * batch, queries, dim]);
        let (k, v) = (random([batch, keys, dim]), random([batch, keys, dim]));
        let what = format!("{batch} {groups} {heads} {queries} {keys} {head_dim}");
        let chances = uniform([1, 1, 1, keys]);
        // Masks no keys, some of them, and all of them.
        for least in [1.0, 0.9, -1.0] {
            let masked: Tensor<Flex, 4, Bool> = chances.clone().greater_elem(least);
            let masked = (least < 1.0).then_some(masked);
            let (expected, _) = attended::<portable::KeysValues<Flex>>(
                [&q, &k, &v],
                heads,
                masked.clone(),
                Precision::F32,
            );
            for (precision, tolerance) in [(Precision::F32, TOLERANCE), (Precision::Bf16, 0.02)] {
                let (found, one) = attended::<<Flex as Backend>::KeysValues>(
                    [&q, &k, &v],
                    heads,
                    masked.clone(),
                    precision,
                );
                let what = format!("{what} {precision} masked above {least}");
                assert_within(&what, tolerance, found.clone(), expected.clone());
                // A single remaining entry has the same result as in the batch.
                let rows = found.dims()[0] / batch;
                assert_eq!(one, found.narrow(0, (batch - 1) * rows, rows).into_data());
            }
        }
    }
}

/// The results of all queries, and those of the last entry's queries after the others are removed.
fn attended<K: KeysValues<Flex>>(
    [q, k, v]: [&Tensor<Flex, 3>; 3],
    heads: usize,
    masked: Option<Tensor<Flex, 4, Bool>>,
    precision: Precision,
) -> (Tensor<Flex, 3>, TensorData) {
    let batch = k.dims()[0];
    let mut keys_values = K::new(k.clone(), v.clone(), heads, masked, precision);
    let all = keys_values.attend(q.clone());
    let rows = q.dims()[0] / batch;
    keys_values.select(&[batch - 1]);
    let last = q.clone().narrow(0, (batch - 1) * rows, rows);
    (all, keys_values.attend(last).into_data())
}

/// Sequences that grow by one token or several, and whose rows are exchanged and removed.
#[test]
fn attention_to_the_past() {
    for (heads, head_dim) in [(2, 8), (3, 20), (12, 64)] {
        let mut past = <Flex as Backend>::PastKeysValues::default();
        let mut expected = portable::PastKeysValues::<Flex>::default();
        let mut rows = 3;
        for (step, tokens) in [3, 1, 1, 50, 1, 1].into_iter().enumerate() {
            let [q, k, v] = [0; 3].map(|_| random([rows, tokens, heads * head_dim]));
            let what = format!("{heads} {head_dim} step {step}");
            assert_close(
                &what,
                past.attend(q.clone(), k.clone(), v.clone(), heads),
                expected.attend(q, k, v, heads),
            );
            let kept: &[usize] = match step {
                0 => &[2, 0, 0],
                3 => &[1, 2],
                _ => continue,
            };
            past.select(kept);
            expected.select(kept);
            rows = kept.len();
        }
    }
}

/// The result is the same for any number of threads that share the heads, evenly or not.
#[test]
fn attention_to_the_past_does_not_depend_on_threads() {
    let [q, k, v] = [0; 3].map(|_| random([3, 40, 12 * 64]));
    let attended = |threads: usize| {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let attend = || {
            let mut past = <Flex as Backend>::PastKeysValues::default();
            past.attend(q.clone(), k.clone(), v.clone(), 12).into_data()
        };
        threads.build().unwrap().install(attend)
    };
    let alone = attended(1);
    for threads in [2, 3, 7, 16] {
        assert!(attended(threads) == alone, "{threads} threads");
    }
}

/// The same entries as by sorting the whole row, equal ones by index.
#[test]
fn the_likeliest() {
    for (rows, entries, count) in [(1, 1, 1), (3, 51289, 16), (2, 8192, 3), (1, 8200, 8200)] {
        // Few different values, so that some are equal.
        let logits = (random([rows, entries]) * 50.0).round();
        let found = Flex::likeliest(logits.clone(), count).unwrap();
        let log_probs = burn::tensor::activation::log_softmax(logits, 1);
        for row in 0..rows {
            let read = |tensor: Tensor<Flex, 2>| -> Vec<f32> {
                let row = tensor.narrow(0, row, 1);
                row.into_data().into_vec().unwrap()
            };
            let (found, log_probs) = (read(found.clone()), read(log_probs.clone()));
            let mut order: Vec<usize> = (0..entries).collect();
            order.sort_by(|a, b| log_probs[*b].total_cmp(&log_probs[*a]));
            for (index, place) in order.into_iter().take(count).enumerate() {
                assert!((found[index] - log_probs[place]).abs() < 1e-4);
                assert_eq!(
                    found[count + index],
                    place as f32,
                    "{rows} {entries} {index}"
                );
            }
        }
    }
    for logits in [[f32::NAN, 0.0], [f32::NEG_INFINITY; 2]] {
        let logits = Tensor::from_data([logits], &FlexDevice);
        let found: Vec<f32> = Flex::likeliest(logits, 1)
            .unwrap()
            .into_data()
            .into_vec()
            .unwrap();
        assert!(!found[0].is_finite(), "found {}", found[0]);
    }
}

/// Results that are not finite stay so in every precision, so that a caller can detect them.
#[test]
fn nan_is_not_lost() {
    for precision in Precision::ALL {
        let input = Tensor::<Flex, 4>::full([1, 4, 4, 8], f32::NAN, &FlexDevice);
        let (conv, norm) = (convolution(8), norm(8));
        let fc1 = linear_of(8, 32, true, precision);
        let fc2 = linear_of(32, 8, true, precision);
        let found =
            Flex::add_feed_forward(input.clone(), &conv, &norm, &fc1, &fc2, Activation::Gelu);
        assert!(found.is_nan().all().into_scalar(), "{precision}");
        let (qkv, proj) = (linear_of(8, 24, true, precision), linear(8, 8, true));
        let found = Flex::add_window_attention(input.clone(), &conv, &norm, &qkv, &proj, 2, 3);
        assert!(found.is_nan().all().into_scalar(), "{precision}");
        let found = Flex::add_channel_attention(input, &conv, &norm, &qkv, &proj, 2);
        assert!(found.is_nan().all().into_scalar(), "{precision}");
    }
}

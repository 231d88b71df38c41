//! Compares every fused operation with the same module in burn's operations, at sizes that divide
//! evenly and at sizes that do not: tails of vectors, windows over the edge, one row, few rows, many
//! rows.

#![allow(clippy::unwrap_used)]

mod values;

use burn::module::Param;
use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use florence2_core::language_model::{
    Attention, CrossAttention, Decoder, DecoderLayer, KeysValues, KvCache, SelfAttentionCache,
};
use florence2_core::layers::{Linear, TokenEmbedding, activate};
use florence2_kernels::{Activation, Backend, Dtype, SelectRows, Weight};
use half::f16;

/// The largest allowed difference, relative to the largest value.
const TOLERANCE: f32 = 1e-5;

use values::modules::{
    Block, channel_block, conv_embed, decoder_layer, encoder_layer, random_linear, randomised,
    set_zero, spatial_block, stage, text_config, unpacked, unpacked_weight,
};
use values::{random, uniform};

fn linear(inputs: usize, outputs: usize, bias: bool) -> Linear<Flex> {
    random_linear(inputs, outputs, bias, Dtype::F32)
}

/// The layer with weights that f16 represents exactly, which are stored as f16.
fn of_f16(linear: &Linear<Flex>) -> Linear<Flex> {
    Linear {
        weight: Weight::from_tensor(rounded_to_f16(linear.weight.val()), Dtype::F32),
        bias: linear.bias.clone(),
    }
}

fn rounded_to_f16<const D: usize>(values: Tensor<Flex, D>) -> Tensor<Flex, D> {
    let values = values.into_data().convert::<f16>().convert::<f32>();
    Tensor::from_data(values, &FlexDevice)
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
            let geometry = [size, stride, padding];
            let layer = conv_embed([shape[3], 24], geometry, prenorm, Dtype::F32);
            let input = random(shape);
            assert!(Flex::fused_conv_embed(&input, &layer.weights()).is_some());
            let expected = unpacked(&layer).forward(input.clone());
            let found = layer.forward(input);
            assert_close(&format!("{shape:?} {prenorm}"), found, expected);
        }
    }
}

#[test]
fn window_attention() {
    for shape in IMAGES {
        for (heads, window, bias) in [(2, 12, true), (4, 5, false), (1, 3, true)] {
            let mut config = stage(shape[3], heads, window, bias, "gelu");
            config.mlp_ratio = 1.0;
            let mut block = spatial_block(&config, Dtype::F32);
            if heads == 4 {
                let attention = &mut block.window_attn;
                attention.qkv = of_f16(&attention.qkv);
                attention.proj = of_f16(&attention.proj);
            }
            let what = format!("{shape:?} {heads} {window}");
            let input = random(shape);
            assert_fused_is_plain(&what, &block.attention_half(), &input);
            assert_fused_is_plain(&format!("{what} whole"), &block, &input);
        }
    }
}

#[test]
fn channel_attention() {
    for shape in IMAGES {
        for (groups, bias) in [(1, true), (2, false), (4, true)] {
            let mut config = stage(shape[3], groups, 12, bias, "gelu");
            config.mlp_ratio = 1.0;
            let mut block = channel_block(&config, Dtype::F32);
            if groups == 4 {
                let attention = &mut block.channel_attn;
                attention.qkv = of_f16(&attention.qkv);
                attention.proj = of_f16(&attention.proj);
            }
            let what = format!("{shape:?} {groups}");
            let input = random(shape);
            assert_fused_is_plain(&what, &block.attention_half(), &input);
            assert_fused_is_plain(&format!("{what} whole"), &block, &input);
        }
    }
}

/// Compares a block with packed weights with the same block in burn's operations.
#[track_caller]
fn assert_fused_is_plain(what: &str, block: &impl Block, input: &Tensor<Flex, 4>) {
    let plain = unpacked(block);
    assert!(block.is_fused(input.clone()) && !plain.is_fused(input.clone()));
    assert_close(
        what,
        block.forward(input.clone()),
        plain.forward(input.clone()),
    );
}

#[test]
fn feed_forward() {
    let names = ["gelu", "gelu_new", "quick_gelu", "relu", "silu", "swish"];
    for (shape, name) in IMAGES.into_iter().zip(names) {
        let [batch, height, width, channels] = shape;
        for name in ["gelu", name] {
            let what = format!("{shape:?} {name}");
            let input = random(shape) * 3.0;
            let config = stage(channels, 4, 5, true, name);
            let block = spatial_block(&config, Dtype::F32);
            assert_fused_is_plain(&what, &block.feed_forward_half(), &input);
            assert_fused_is_plain(&format!("{what} spatial block"), &block, &input);
            let block = channel_block(&config, Dtype::F32);
            assert_fused_is_plain(&format!("{what} channel block"), &block, &input);

            let config = text_config(channels, 4, 4 * channels, name);
            let mut encoder = encoder_layer(&config, Dtype::F32);
            set_zero(&mut encoder.self_attn.out_proj);
            let input = input.reshape([batch, height * width, channels]);
            let expected = unpacked(&encoder).forward(input.clone(), None);
            let found = encoder.forward(input, None);
            assert_close(&format!("{what} then norm"), found, expected);
        }
    }
}

/// Whole layers of the language model. The lines of an image are the sequences of a batch.
#[test]
fn encoder_and_decoder_layers() {
    let names = ["gelu", "gelu_new", "quick_gelu", "relu", "silu", "swish"];
    for (shape, name) in IMAGES.into_iter().zip(names) {
        let [batch, height, width, channels] = shape;
        for name in ["gelu", name] {
            let what = format!("{shape:?} {name}");
            let config = text_config(channels, 4, 4 * channels, name);
            let input = random([batch * height, width, channels]) * 3.0;
            let encoder = encoder_layer(&config, Dtype::F32);
            assert!(Flex::fused_encoder_layer(&input, None, &encoder.weights()).is_some());
            let expected = unpacked(&encoder).forward(input.clone(), None);
            let found = encoder.forward(input.clone(), None);
            assert_close(&format!("{what} encoder layer"), found, expected);

            let decoder = decoder_layer(&config, Dtype::F32);
            let encoded = random([batch * height, 9, channels]);
            let forward = |layer: &DecoderLayer<Flex>| {
                let cross_attention = layer.cross_attention(&encoded, None);
                let is_fused = matches!(cross_attention, CrossAttention::Fused(_));
                let mut self_attention = SelfAttentionCache::default();
                let output = layer.forward(input.clone(), &mut self_attention, &cross_attention);
                (output, is_fused)
            };
            let (expected, is_fused) = forward(&unpacked(&decoder));
            assert!(!is_fused);
            let (found, is_fused) = forward(&decoder);
            assert!(is_fused);
            assert_close(&format!("{what} decoder layer"), found, expected);
        }
    }
}

/// Encoder layers with padded entries.
#[test]
fn encoder_layers_with_a_mask() {
    let (batch, tokens) = (3, 70);
    let layer = encoder_layer(&text_config(60, 3, 240, "gelu"), Dtype::F32);
    let input = random([batch, tokens, 60]);
    for least in [0.9, 0.1] {
        let mask = uniform([batch, 1, 1, tokens]).greater_elem(least);
        let expected = unpacked(&layer).forward(input.clone(), Some(&mask));
        let found = layer.forward(input.clone(), Some(&mask));
        assert_close(&format!("masked above {least}"), found, expected);
    }
}

/// A decoder whose sequences grow by one token or several, and whose rows and entries are exchanged
/// and removed.
#[test]
fn decoder_steps() {
    let (batch, beams, dim) = (2, 2, 60);
    let config = text_config(dim, 3, 240, "gelu");
    let mut decoder: Decoder<Flex> = Decoder::new(&config, Dtype::F32, &FlexDevice);
    let positions = decoder.embed_positions.weight.lazy_shape().dims();
    decoder.embed_positions.weight = Param::from_tensor(random(positions));
    let fused = randomised(decoder);
    let plain = unpacked(&fused);
    let encoded = random([batch, 21, dim]);
    let mask = uniform([batch, 1, 1, 21]).greater_elem(0.8);
    let [mut fused_cross, mut plain_cross] =
        [&fused, &plain].map(|decoder| decoder.cross_attention_cache(&encoded, Some(&mask)));
    let [mut fused_cache, mut plain_cache] = [0; 2].map(|_| KvCache::default());
    let mut rows = batch * beams;
    for (step, tokens) in [3, 1, 1, 50, 1, 1].into_iter().enumerate() {
        let x = random([rows, tokens, dim]);
        assert_close(
            &format!("step {step}"),
            fused.forward(x.clone(), &fused_cross, &mut fused_cache),
            plain.forward(x, &plain_cross, &mut plain_cache),
        );
        let kept: &[usize] = match step {
            0 => &[1, 0, 3, 3],
            3 => &[3, 2],
            _ => continue,
        };
        for cache in [&mut fused_cache, &mut plain_cache] {
            cache.select(kept);
        }
        rows = kept.len();
        if rows == beams {
            for cross in [&mut fused_cross, &mut plain_cross] {
                cross.select(&[1]);
            }
        }
    }
}

/// Compares burn's operations for each activation with transformers.
#[test]
fn activations() {
    let goldens = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../florence2-kernels/src/cpu/ops/activations.txt"
    );
    for line in std::fs::read_to_string(goldens).unwrap().lines() {
        let [name, x, expected] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("found `{line}`, expected a name and two numbers");
        };
        let (x, expected): (f32, f32) = (x.parse().unwrap(), expected.parse().unwrap());
        let x = Tensor::<Flex, 1>::from_floats([x], &FlexDevice);
        let found = activate(Activation::named(name).unwrap(), x).into_scalar();
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
            let expected = unpacked(&linear).forward(input.clone());
            let found = linear.forward(input);
            assert_close(&format!("{rows} {inputs} {outputs}"), found, expected);
        }
        // A product between a residual and a norm: an encoder layer without its feed-forward block.
        for d_model in [inputs, outputs] {
            let config = text_config(d_model, 1, 8, "gelu");
            let mut layer = encoder_layer(&config, Dtype::F32);
            set_zero(&mut layer.fc2);
            for bias in [true, false] {
                if !bias {
                    layer.self_attn.out_proj.bias = None;
                }
                let input = random([1, rows, d_model]);
                let expected = unpacked(&layer).forward(input.clone(), None);
                let found = layer.forward(input, None);
                assert_close(&format!("{rows} {d_model} {bias} normed"), found, expected);
            }
        }
    }
}

#[test]
fn tied_logits() {
    for (rows, dim, vocabulary) in [(1, 64, 1500), (3, 70, 513), (5, 768, 100), (12, 32, 64)] {
        let input = random([1, rows, dim]);
        let weight = Weight::from_tensor(random([vocabulary, dim]), Dtype::F32);
        let plain = TokenEmbedding {
            weight: unpacked_weight(&weight),
        };
        let fused = TokenEmbedding { weight };
        let expected = plain.logits(input.clone());
        let found = fused.logits(input);
        assert_close(&format!("{rows} {dim} {vocabulary}"), found, expected);
        let ids = Tensor::<Flex, 2, Int>::from_ints([[0, vocabulary as i32 - 1]], &FlexDevice);
        let expected = plain.forward(ids.clone());
        assert_close("embedding", fused.forward(ids), expected);
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
            let weight = Weight::from_tensor(weight, Dtype::F32);
            let linear = Linear { weight, bias: None };
            let product = linear.forward(input.clone());
            product.narrow(2, 0, outputs).into_data()
        };
        assert_eq!(
            product(weight.clone()),
            product(wide),
            "{rows} {inputs} {outputs}"
        );
        let packed = Weight::<Flex, 2>::from_tensor(weight.clone(), Dtype::F32);
        assert_eq!(packed.val().into_data(), weight.into_data());
    }
}

/// The product of a sequence does not depend on the number of other sequences, bit for bit: for the
/// single tokens of some beams, as in a decoding step, and for a prompt.
#[test]
fn a_sequence_is_multiplied_as_it_is_alone() {
    for dtype in Dtype::ALL {
        for [sequences, tokens] in [[100, 1], [3, 70], [2, 300]] {
            let (inputs, outputs) = (1031, 70);
            let input = random([sequences, tokens, inputs]);
            let mut layers = vec![of_f16(&linear(inputs, outputs, true))];
            for bias in [true, false] {
                layers.push(random_linear(inputs, outputs, bias, dtype));
            }
            for linear in &layers {
                let together = linear.forward(input.clone());
                for few in 1..=sequences.min(5) {
                    for first in [0, (sequences - few) / 2, sequences - few] {
                        let alone = input.clone().narrow(0, first, few);
                        assert_eq!(
                            linear.forward(alone).into_data(),
                            together.clone().narrow(0, first, few).into_data(),
                            "{dtype} {sequences} {tokens}: {few} from {first}"
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
                weight: Weight::from_tensor(weight.clone(), Dtype::F32),
                bias: None,
            };
            let found = linear.forward(input.clone().unsqueeze::<3>());
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
            weight: Weight::from_tensor(weight.clone(), Dtype::F32),
            bias: None,
        };
        let found = numbers(linear.forward(input.clone().unsqueeze::<3>()));
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

/// The dtype f16 rounds weights to f16, and their products equal those in f32, bit for bit.
#[test]
fn f16_rounds_and_multiplies_in_f32() {
    for (rows, inputs, outputs) in [(1, 7, 5), (15, 1031, 33), (300, 333, 65)] {
        let input = random([1, rows, inputs]);
        let weight = random([outputs, inputs]);
        let rounded = rounded_to_f16(weight.clone());
        assert_ne!(rounded.to_data(), weight.to_data());
        let product = |weight, dtype| {
            let weight = Weight::from_tensor(weight, dtype);
            let linear = Linear { weight, bias: None };
            linear.forward(input.clone()).into_data()
        };
        assert_eq!(
            product(weight, Dtype::F16),
            product(rounded, Dtype::F32),
            "{rows} {inputs} {outputs}"
        );
    }
}

/// Unpacked values equal the packed ones: f32 exactly, the others within their rounding.
#[test]
fn packed_weights_keep_their_values() {
    for shape in [[1, 1], [33, 70], [64, 1030], [100, 2050]] {
        for (dtype, tolerance) in [
            (Dtype::F32, 0.0),
            (Dtype::F16, 1.0 / 2048.0),
            (Dtype::Bf16, 1.0 / 256.0),
            (Dtype::Int8, 0.5 / 127.0),
        ] {
            let values = random(shape);
            let weight = Weight::from_tensor(values.clone(), dtype);
            assert_eq!(weight.dims(), shape);
            let largest = values.clone().abs().max_dim(1);
            let error = (weight.val() - values)
                .abs()
                .div(largest)
                .max()
                .into_scalar();
            assert!(error <= tolerance * 1.001, "{shape:?} {dtype}: {error}");
        }
    }
    let values = random([5, 3, 2, 7]);
    let weight = Weight::from_tensor(values.clone(), Dtype::F32);
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
        for (dtype, tolerance) in [(Dtype::Bf16, 0.006), (Dtype::Int8, 0.02)] {
            let input = random([1, rows, inputs]);
            let linear = random_linear(inputs, outputs, true, dtype);
            let expected = unpacked(&linear).forward(input.clone());
            let found = linear.forward(input);
            let error = (found - expected.clone()).powf_scalar(2.0).mean().sqrt();
            let error = error.into_scalar() / expected.powf_scalar(2.0).mean().sqrt().into_scalar();
            assert!(
                error <= tolerance,
                "{rows} {inputs} {outputs} {dtype}: {error}"
            );
        }
    }
}

/// Whole layers: with heads that are whole panels or not, of odd sizes, and windows of an odd
/// number of positions.
#[test]
fn narrow_layers() {
    let shapes = [(64, 2, 12), (64, 4, 5), (24, 4, 3), (30, 2, 5)];
    let dtypes = [Dtype::Bf16, Dtype::Int8];
    for ((channels, heads, window), dtype) in shapes
        .into_iter()
        .flat_map(|shape| dtypes.map(|dtype| (shape, dtype)))
    {
        let input = random([1, 13, 25, channels]);
        let config = stage(channels, heads, window, true, "gelu");
        let mut spatial = spatial_block(&config, dtype);
        spatial.window_attn.proj = linear(channels, channels, true);
        let what = format!("{channels} {heads} {dtype}");
        assert_narrow_is_close(&format!("spatial block {what}"), &spatial, &input);
        let channel = channel_block(&config, dtype);
        assert_narrow_is_close(&format!("channel block {what}"), &channel, &input);
    }
}

/// Compares a block, and each half of it, with the block in burn's operations.
#[track_caller]
fn assert_narrow_is_close(what: &str, block: &impl Block, input: &Tensor<Flex, 4>) {
    for (part, block) in block.parts() {
        let expected = unpacked(&block).forward(input.clone());
        let found = block.forward(input.clone());
        assert_within(&format!("{what} {part}"), 0.03, found, expected);
    }
}

/// An attention in burn's operations that does not project its result.
fn plain_attention(dim: usize, heads: usize) -> Attention<Flex> {
    let mut attention = Attention::new(dim, heads, 0.0, Dtype::F32, &FlexDevice);
    attention.out_proj = plain_linear(Tensor::eye(dim, &FlexDevice));
    attention
}

/// A linear layer in burn's operations without a bias.
fn plain_linear(weight: Tensor<Flex, 2>) -> Linear<Flex> {
    Linear {
        weight: Weight::Parameter(Param::from_tensor(weight), Dtype::F32),
        bias: None,
    }
}

fn floats<const D: usize>(tensor: &Tensor<Flex, D>) -> Vec<f32> {
    tensor.to_data().into_vec().unwrap()
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<Flex, D> {
    Tensor::from_data(TensorData::new(values, shape), &FlexDevice)
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
            let mut plain = plain_attention(dim, heads);
            plain.q_proj = plain_linear(Tensor::eye(dim, &FlexDevice));
            let [keys, values] = [&k, &v].map(|tensor| {
                let heads = tensor.clone().reshape([batch, keys, heads, head_dim]);
                heads.swap_dims(1, 2)
            });
            let keys_values = KeysValues {
                keys,
                values,
                key_padding_mask: masked.clone(),
            };
            let expected = plain.forward_cross(q.clone(), &keys_values);
            for (dtype, tolerance) in [(Dtype::F32, TOLERANCE), (Dtype::Bf16, 0.02)] {
                let (found, one) = attended([&q, &k, &v], heads, masked.as_ref(), dtype);
                let what = format!("{what} {dtype} masked above {least}");
                assert_within(&what, tolerance, found.clone(), expected.clone());
                // A single remaining entry has the same result as in the batch.
                let rows = found.dims()[0] / batch;
                assert_eq!(one, found.narrow(0, (batch - 1) * rows, rows).into_data());
            }
        }
    }
}

/// The results of all queries, and those of the last entry's queries after the others are removed.
fn attended(
    [q, k, v]: [&Tensor<Flex, 3>; 3],
    heads: usize,
    masked: Option<&Tensor<Flex, 4, Bool>>,
    dtype: Dtype,
) -> (Tensor<Flex, 3>, TensorData) {
    let batch = k.dims()[0];
    let mut cache = <Flex as Backend>::CrossAttentionCache::new(
        [&floats(k), &floats(v)],
        k.dims(),
        heads,
        masked,
        dtype,
    );
    let attend = |cache: &<Flex as Backend>::CrossAttentionCache, q: &Tensor<Flex, 3>| {
        tensor(cache.attention(&floats(q)), q.dims())
    };
    let all = attend(&cache, q);
    let rows = q.dims()[0] / batch;
    cache.select(&[batch - 1]);
    let last = q.clone().narrow(0, (batch - 1) * rows, rows);
    (all, attend(&cache, &last).into_data())
}

/// Sequences that grow by one token or several, and whose rows are exchanged and removed.
#[test]
fn attention_to_the_past() {
    const VALUES: usize = 8;
    for (heads, head_dim) in [(2, 8), (3, 20), (12, 64)] {
        let dim = heads * head_dim;
        let mut past = <Flex as Backend>::SelfAttentionCache::default();
        // Queries, keys and values are projections of a few values.
        let project = || plain_linear(random([dim, VALUES]) / (VALUES as f32).sqrt());
        let mut plain = plain_attention(dim, heads);
        plain.q_proj = project();
        plain.k_proj = project();
        plain.v_proj = project();
        let mut plain_past = SelfAttentionCache::default();
        let mut rows = 3;
        // All tokens of the rows.
        let mut all: Vec<Tensor<Flex, 3>> = Vec::new();
        for (step, tokens) in [3, 1, 1, 50, 1, 1].into_iter().enumerate() {
            let shape = [rows, tokens, dim];
            let what = format!("{heads} {head_dim} step {step}");
            let x = random([rows, tokens, VALUES]);
            let [q, k, v] = [&plain.q_proj, &plain.k_proj, &plain.v_proj]
                .map(|projection| floats(&projection.forward(x.clone())));
            past.append(&k, &v, shape);
            let found = tensor(past.attention(&q, shape, heads), shape);
            all.push(x.clone());
            assert_close(&what, found, plain.forward_causal(x, &mut plain_past));
            let kept: &[usize] = match step {
                0 => &[2, 0, 0],
                3 => &[1, 2],
                _ => continue,
            };
            past.select(kept);
            // The plain cache is computed again from the kept rows.
            let kept_rows = kept.iter().map(|row| *row as i32).collect::<Vec<_>>();
            let kept_rows = Tensor::<Flex, 1, Int>::from_ints(kept_rows.as_slice(), &FlexDevice);
            let kept_tokens = Tensor::cat(all, 1).select(0, kept_rows);
            plain_past = SelfAttentionCache::default();
            plain.forward_causal(kept_tokens.clone(), &mut plain_past);
            all = vec![kept_tokens];
            rows = kept.len();
        }
    }
}

/// The result is the same for any number of threads that share the heads, evenly or not.
#[test]
fn attention_to_the_past_does_not_depend_on_threads() {
    let shape = [3, 40, 12 * 64];
    let [q, k, v] = [0; 3].map(|_| floats(&random(shape)));
    let attended = |threads: usize| {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let attend = || {
            let mut past = <Flex as Backend>::SelfAttentionCache::default();
            past.append(&k, &v, shape);
            past.attention(&q, shape, 12)
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
fn top_k_log_softmax() {
    for (rows, entries, count) in [(1, 1, 1), (3, 51289, 16), (2, 8192, 3), (1, 8200, 8200)] {
        // Few different values, so that some are equal.
        let logits = (random([rows, entries]) * 50.0).round();
        let found = Flex::top_k_log_softmax(logits.clone(), count).unwrap();
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
        let found: Vec<f32> = Flex::top_k_log_softmax(logits, 1)
            .unwrap()
            .into_data()
            .into_vec()
            .unwrap();
        assert!(!found[0].is_finite(), "found {}", found[0]);
    }
}

/// A value that is not finite reaches all results that depend on it, in every dtype, so that a
/// caller can detect it. The convolutions carry it over two positions, so only the attention carries
/// it to the end of the window.
#[test]
fn nan_is_not_lost() {
    let is_nan = |output: &Tensor<Flex, 4>, at: usize| {
        let position = output.clone().slice([0..1, at..at + 1, at..at + 1, 0..8]);
        position.is_nan().all().into_scalar()
    };
    for dtype in Dtype::ALL {
        let nan = Tensor::full([1, 1, 1, 8], f32::NAN, &FlexDevice);
        let input = random([1, 10, 10, 8]).slice_assign([0..1, 0..1, 0..1, 0..8], nan);
        let config = stage(8, 2, 5, true, "gelu");
        let block = spatial_block(&config, dtype);
        for (part, block) in [("half", block.attention_half()), ("whole", block)] {
            let found = block.forward(input.clone());
            assert!(is_nan(&found, 4), "{dtype} window attention {part}");
            assert!(!is_nan(&found, 9), "{dtype} another window {part}");
        }
        let block = channel_block(&config, dtype);
        for (part, block) in [("half", block.attention_half()), ("whole", block)] {
            let found = block.forward(input.clone());
            assert!(is_nan(&found, 9), "{dtype} channel attention {part}");
        }
        let mut encoder = encoder_layer(&text_config(8, 2, 32, "gelu"), dtype);
        set_zero(&mut encoder.fc2);
        let found = encoder.forward(input.reshape([1, 100, 8]), None);
        assert!(found.is_nan().all().into_scalar(), "{dtype} encoder layer");
    }
}

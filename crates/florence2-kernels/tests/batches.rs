//! An operation returns the same result for an entry of a batch as for the entry alone, bit for
//! bit: for any number of entries and threads, in every precision. The layers have several blocks
//! of inputs. The batch sizes lie on both sides of every number of rows at which an operation
//! changes its implementation.

#![allow(clippy::unwrap_used)]

mod values;

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, PaddingConfig2d};
use burn::tensor::{Bool, Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use florence2_kernels::{
    Activation, Backend, KeysValues, Linear, PastKeysValues, PatchConv, Precision, Weight,
};
use values::random;

const THREADS: [usize; 3] = [1, 2, 16];

/// Batches of single tokens, as in a step of the decoder: below, at and above the numbers of rows
/// up to which threads share the weights (64, and 16 for each thread), and above the rows of a task
/// (160).
const TOKENS: [usize; 12] = [1, 2, 3, 15, 16, 17, 31, 33, 64, 65, 255, 257];

/// Inputs of a layer: more than an f32 block of 512, and not a whole number of vectors.
const DIM: usize = 580;
/// Inputs of a layer: more than an int8 or bf16 block of 1024.
const HIDDEN: usize = 1060;

fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(work)
}

fn bits(values: TensorData) -> Vec<u32> {
    values.iter::<f32>().map(f32::to_bits).collect()
}

/// Compares the results of `operation` for batches of the first entries with those for each entry
/// alone.
///
/// `operation` receives the first entry and the number of entries, and returns equally many values
/// for each.
fn assert_entries_are_as_alone(
    what: &str,
    counts: &[usize],
    operation: impl Fn(usize, usize) -> TensorData + Sync,
) {
    let all = counts.iter().max().unwrap();
    let alone: Vec<Vec<u32>> = with_threads(1, || {
        (0..*all).map(|entry| bits(operation(entry, 1))).collect()
    });
    for threads in THREADS {
        with_threads(threads, || {
            for count in counts {
                let found = bits(operation(0, *count));
                let entries = found.chunks(found.len() / count).zip(&alone);
                for (entry, (found, alone)) in entries.enumerate() {
                    assert!(
                        found == alone,
                        "{what}: entry {entry} of {count} with {threads} threads differs"
                    );
                }
            }
        });
    }
}

fn linear(inputs: usize, outputs: usize, precision: Precision) -> Linear<Flex> {
    let weight = random([outputs, inputs]) / (3.0 * inputs as f32).sqrt();
    Linear {
        weight: Weight::from_tensor(weight, precision),
        bias: Some(Param::from_tensor(random([outputs]))),
    }
}

fn norm(channels: usize) -> LayerNorm<Flex> {
    let mut norm = LayerNormConfig::new(channels).init(&FlexDevice);
    norm.gamma = Param::from_tensor(random([channels]) + 1.0);
    norm.beta = Some(Param::from_tensor(random([channels])));
    norm
}

fn convolution(channels: usize) -> Conv2d<Flex> {
    let config = Conv2dConfig::new([channels, channels], [3, 3])
        .with_groups(channels)
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
    let mut conv = config.init(&FlexDevice);
    conv.weight = Param::from_tensor(random([channels, 1, 3, 3]));
    conv.bias = Some(Param::from_tensor(random([channels])));
    conv
}

/// Layers with single tokens, and with sequences on both sides of 64 tokens.
#[test]
fn layers_of_the_language_model() {
    for precision in Precision::ALL {
        let (fc1, fc2) = (
            linear(DIM, HIDDEN, precision),
            linear(HIDDEN, DIM, precision),
        );
        let (q, k) = (linear(DIM, DIM, precision), linear(DIM, 70, precision));
        let norm = norm(DIM);
        for (tokens, counts) in [(1, &TOKENS[..]), (5, &[1, 2, 7, 13, 52]), (70, &[1, 2, 5])] {
            let entries = *counts.iter().max().unwrap();
            let input = random([entries, tokens, DIM]);
            let hidden = random([entries, tokens, HIDDEN]);
            let what = |operation| format!("{operation} of {tokens} tokens in {precision}");
            assert_entries_are_as_alone(&what("a feed-forward part"), counts, |first, count| {
                let input = input.clone().narrow(0, first, count);
                Flex::feed_forward_then_norm(input, &fc1, &fc2, Activation::Gelu, &norm).into_data()
            });
            assert_entries_are_as_alone(&what("a layer and a norm"), counts, |first, count| {
                let [input, hidden] =
                    [&input, &hidden].map(|tensor| tensor.clone().narrow(0, first, count));
                Flex::linear_then_norm(hidden, input, &fc2, &norm).into_data()
            });
            assert_entries_are_as_alone(&what("layers"), counts, |first, count| {
                let input = input.clone().narrow(0, first, count);
                let outputs = Flex::apply_linears(input, [&q, &k]);
                Tensor::cat(outputs.to_vec(), 2).into_data()
            });
            assert_entries_are_as_alone(&what("logits"), counts, |first, count| {
                let input = input.clone().narrow(0, first, count);
                Flex::tied_logits(input, &fc1.weight).into_data()
            });
        }
    }
}

#[test]
fn norms_and_the_likeliest() {
    let (input, norm) = (random([257, 1, DIM]), norm(DIM));
    assert_entries_are_as_alone("a norm", &TOKENS, |first, count| {
        Flex::apply_norm(input.clone().narrow(0, first, count), &norm).into_data()
    });
    let logits = random([7, 20_000]);
    assert_entries_are_as_alone("the likeliest", &[1, 2, 7], |first, count| {
        let logits = logits.clone().narrow(0, first, count);
        Flex::likeliest(logits, 16).unwrap().into_data()
    });
}

/// Images whose layers have hidden blocks of several blocks of inputs, and whose windows and tasks
/// are uneven.
#[test]
fn layers_of_the_vision_tower() {
    let (shape, hidden) = ([3, 13, 17, 144], 576);
    let [_, height, width, channels] = shape;
    for precision in Precision::ALL {
        let (conv, norm) = (convolution(channels), norm(channels));
        let (fc1, fc2) = (
            linear(channels, hidden, precision),
            linear(hidden, channels, precision),
        );
        let qkv = linear(channels, 3 * channels, precision);
        let (proj, weighed) = (
            linear(channels, channels, precision),
            linear(channels, channels, Precision::F32),
        );
        let patches = PatchConv {
            weight: Weight::from_tensor(random([40, channels, 3, 3]), precision),
            bias: None,
            stride: 2,
            padding: 1,
        };
        let images = random(shape);
        let some = |first, count| images.clone().narrow(0, first, count);
        let what = |operation| format!("{operation} in {precision}, {height}x{width}");
        let counts = [1, 2, 3];
        assert_entries_are_as_alone(&what("a feed-forward part"), &counts, |first, count| {
            Flex::add_feed_forward(
                some(first, count),
                &conv,
                &norm,
                &fc1,
                &fc2,
                Activation::Gelu,
            )
            .into_data()
        });
        assert_entries_are_as_alone(&what("window attention"), &counts, |first, count| {
            let images = some(first, count);
            Flex::add_window_attention(images, &conv, &norm, &qkv, &proj, 4, 5).into_data()
        });
        assert_entries_are_as_alone(&what("channel attention"), &counts, |first, count| {
            let images = some(first, count);
            Flex::add_channel_attention(images, &conv, &norm, &qkv, &weighed, 4).into_data()
        });
        assert_entries_are_as_alone(&what("a patch embedding"), &counts, |first, count| {
            Flex::patch_embedding(some(first, count), &patches, &norm, true).into_data()
        });
    }
}

/// Entries of several lengths, padded to the longest one, with a few queries.
#[test]
fn attention_to_padded_entries() {
    let (heads, dim) = (3, 3 * 40);
    let lengths = [603, 590, 37, 602];
    let longest = 603;
    let (keys, values) = (random([4, longest, dim]), random([4, longest, dim]));
    let queries = random([4 * 3, 1, dim]);
    // Masked tokens among unmasked ones stay masked.
    let is_masked =
        |entry: usize, token: usize| token >= lengths[entry] || entry == 3 && token == 5;
    for precision in [Precision::F32, Precision::Bf16] {
        let attend = |first: usize, count: usize, tokens: usize| {
            let masks: Vec<bool> = (first..first + count)
                .flat_map(|entry| (0..tokens).map(move |token| is_masked(entry, token)))
                .collect();
            let masks = TensorData::new(masks, [count, 1, 1, tokens]);
            let masks = Tensor::<Flex, 4, Bool>::from_data(masks, &FlexDevice);
            let [keys, values] = [&keys, &values]
                .map(|all| all.clone().narrow(0, first, count).narrow(1, 0, tokens));
            let keys_values =
                <Flex as Backend>::KeysValues::new(keys, values, heads, Some(masks), precision);
            let queries = queries.clone().narrow(0, 3 * first, 3 * count);
            keys_values.attend(queries).into_data()
        };
        assert_entries_are_as_alone(&format!("{precision}"), &[1, 2, 3, 4], |first, count| {
            let tokens = match count {
                1 => lengths[first],
                _ => longest,
            };
            attend(first, count, tokens)
        });
    }
}

/// The decoder's attention to previous tokens: rows of one length, in steps.
#[test]
fn attention_to_the_past() {
    let (heads, dim) = (12, 12 * 48);
    let tokens = random([37, 21, dim]);
    assert_entries_are_as_alone("the past", &[1, 2, 3, 36, 37], |first, count| {
        let mut past = <Flex as Backend>::PastKeysValues::default();
        let mut attend = |from, steps| {
            let part = tokens
                .clone()
                .narrow(0, first, count)
                .narrow(1, from, steps);
            past.attend(part.clone(), part.clone(), part, heads)
        };
        Tensor::cat(vec![attend(0, 20), attend(20, 1)], 1).into_data()
    });
}

//! An operation returns the same result for an entry of a batch as for the entry alone, bit for
//! bit: for any number of entries and threads, in every dtype. The layers have several blocks
//! of inputs. The batch sizes lie on both sides of every number of rows at which an operation
//! changes its implementation.

#![allow(clippy::unwrap_used)]

mod values;

use burn::tensor::{Bool, Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use florence2_core::language_model::SelfAttentionCache;
use florence2_core::layers::TokenEmbedding;
use florence2_kernels::{Backend, Dtype};
use values::modules::{
    channel_block, conv_embed, decoder_layer, encoder_layer, random_linear, spatial_block, stage,
    text_config,
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

fn floats(tensor: Tensor<Flex, 3>) -> Vec<f32> {
    tensor.into_data().into_vec().unwrap()
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

/// Layers with single tokens, and with sequences on both sides of 64 tokens.
#[test]
fn layers_of_the_language_model() {
    for dtype in Dtype::ALL {
        // The encoder layer's attention output is a product of several blocks before a norm.
        let encoder = encoder_layer(&text_config(HIDDEN, 4, DIM, "gelu"), dtype);
        let decoder = decoder_layer(&text_config(DIM, 5, HIDDEN, "gelu"), dtype);
        let (q, k) = (
            random_linear(DIM, DIM, true, dtype),
            random_linear(DIM, 70, true, dtype),
        );
        let embedding = TokenEmbedding {
            weight: random_linear(DIM, HIDDEN, false, dtype).weight,
        };
        for (tokens, counts) in [(1, &TOKENS[..]), (5, &[1, 2, 7, 13, 52]), (70, &[1, 2, 5])] {
            let entries = *counts.iter().max().unwrap();
            let input = random([entries, tokens, DIM]);
            let hidden = random([entries, tokens, HIDDEN]);
            let encoded = random([entries, 2, DIM]);
            let what = |operation| format!("{operation} of {tokens} tokens in {dtype}");
            assert_entries_are_as_alone(&what("an encoder layer"), counts, |first, count| {
                let hidden = hidden.clone().narrow(0, first, count);
                encoder.forward(hidden, None).into_data()
            });
            assert_entries_are_as_alone(&what("a decoder layer"), counts, |first, count| {
                let [input, encoded] =
                    [&input, &encoded].map(|tensor| tensor.clone().narrow(0, first, count));
                let cross_attention = decoder.cross_attention(&encoded, None);
                let mut self_attention = SelfAttentionCache::default();
                let output = decoder.forward(input, &mut self_attention, &cross_attention);
                output.into_data()
            });
            assert_entries_are_as_alone(&what("linear layers"), counts, |first, count| {
                let input = input.clone().narrow(0, first, count);
                let outputs = [&q, &k].map(|linear| linear.forward(input.clone()));
                Tensor::cat(outputs.to_vec(), 2).into_data()
            });
            assert_entries_are_as_alone(&what("logits"), counts, |first, count| {
                let input = input.clone().narrow(0, first, count);
                embedding.logits(input).into_data()
            });
        }
    }
}

#[test]
fn top_k_log_softmax() {
    let logits = random([7, 20_000]);
    assert_entries_are_as_alone("top_k_log_softmax", &[1, 2, 7], |first, count| {
        let logits = logits.clone().narrow(0, first, count);
        Flex::top_k_log_softmax(logits, 16).unwrap().into_data()
    });
}

/// Images whose layers have hidden blocks of several blocks of inputs, and whose windows and tasks
/// are uneven.
#[test]
fn layers_of_the_vision_tower() {
    let shape = [3, 13, 17, 144];
    let [_, height, width, channels] = shape;
    let config = stage(channels, 4, 5, true, "gelu");
    for dtype in Dtype::ALL {
        let spatial = spatial_block(&config, dtype);
        let channel = channel_block(&config, dtype);
        let mut patches = conv_embed([channels, 40], [3, 2, 1], true, dtype);
        patches.conv.bias = None;
        let images = random(shape);
        let some = |first, count| images.clone().narrow(0, first, count);
        let what = |operation| format!("{operation} in {dtype}, {height}x{width}");
        let counts = [1, 2, 3];
        assert_entries_are_as_alone(&what("a spatial block"), &counts, |first, count| {
            spatial.forward(some(first, count)).into_data()
        });
        assert_entries_are_as_alone(&what("a channel block"), &counts, |first, count| {
            channel.forward(some(first, count)).into_data()
        });
        assert_entries_are_as_alone(&what("a patch embedding"), &counts, |first, count| {
            patches.forward(some(first, count)).into_data()
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
    for dtype in [Dtype::F32, Dtype::Bf16] {
        let attend = |first: usize, count: usize, tokens: usize| {
            let masks: Vec<bool> = (first..first + count)
                .flat_map(|entry| (0..tokens).map(move |token| is_masked(entry, token)))
                .collect();
            let masks = TensorData::new(masks, [count, 1, 1, tokens]);
            let masks = Tensor::<Flex, 4, Bool>::from_data(masks, &FlexDevice);
            let [keys, values] = [&keys, &values]
                .map(|all| all.clone().narrow(0, first, count).narrow(1, 0, tokens));
            let cache = <Flex as Backend>::CrossAttentionCache::new(
                [&floats(keys), &floats(values)],
                [count, tokens, dim],
                heads,
                Some(&masks),
                dtype,
            );
            let queries = queries.clone().narrow(0, 3 * first, 3 * count);
            let attention = cache.attention(&floats(queries));
            TensorData::new(attention, [3 * count, 1, dim])
        };
        assert_entries_are_as_alone(&format!("{dtype}"), &[1, 2, 3, 4], |first, count| {
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
        let mut past = <Flex as Backend>::SelfAttentionCache::default();
        let mut attend = |from, steps| {
            let part = tokens
                .clone()
                .narrow(0, first, count)
                .narrow(1, from, steps);
            let (part, shape) = (floats(part), [count, steps, dim]);
            past.append(&part, &part, shape);
            let attention = past.attention(&part, shape, heads);
            Tensor::<Flex, 3>::from_data(TensorData::new(attention, shape), &FlexDevice)
        };
        Tensor::cat(vec![attend(0, 20), attend(20, 1)], 1).into_data()
    });
}

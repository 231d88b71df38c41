//! The answers to a batch equal those to each request alone, with bit-identical log-probabilities,
//! for any number of threads and in every dtype. The model's layers have several blocks of
//! inputs, and the requests have beams and prompts of several lengths.

#![allow(clippy::unwrap_used, missing_docs)]

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use florence2_core::generate::{GenerateOptions, GenerationConfig, GenerationObserver};
use florence2_core::{Florence2Config, Florence2ForConditionalGeneration};
use florence2_kernels::Dtype;
use serde_json::json;

type Model = Florence2ForConditionalGeneration<Flex>;

/// With their beams, more rows than threads share the weights for (16 for each of two threads).
const BATCH: usize = 12;
const BEAMS: usize = 3;
const SIDE: usize = 40;
const VOCABULARY: usize = 400;
const D_MODEL: usize = 576;

/// SplitMix64, as values of variance 1.
struct Values(u64);

impl Values {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        ((unit - 0.5) * 12.0_f64.sqrt()) as f32
    }

    fn tensor<const D: usize>(&mut self, shape: [usize; D], scale: f32) -> Tensor<Flex, D> {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| scale * self.next()).collect();
        Tensor::from_data(TensorData::new(values, shape), &FlexDevice)
    }
}

impl ModuleMapper<Flex> for Values {
    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<Flex, D>>,
    ) -> Param<Tensor<Flex, D>> {
        if D == 1 {
            // Norms have ones, and biases have zeros.
            return Param::initialized(param.id, param.val());
        }
        let shape: [usize; D] = param.lazy_shape().dims();
        let inputs: usize = shape[1..].iter().product();
        let values = self.tensor(shape, 2.0 / (inputs as f32).sqrt());
        Param::initialized(param.id, values)
    }
}

fn model(dtype: Dtype) -> Model {
    let json = json!({
        "model_type": "florence2",
        "vision_config": {
            "depths": [1, 1], "patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1],
            "patch_prenorm": [false, true], "embed_dim": [32, 144], "num_heads": [2, 4],
            "num_groups": [2, 4], "window_size": 4, "projection_dim": D_MODEL,
            "max_position_embeddings": 10,
        },
        "text_config": {
            "d_model": D_MODEL, "vocab_size": VOCABULARY, "max_position_embeddings": 64,
            "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 9,
            "decoder_attention_heads": 9, "encoder_ffn_dim": 1100, "decoder_ffn_dim": 1100,
        },
    });
    let config = Florence2Config::from_json(json.to_string().as_bytes(), "config.json").unwrap();
    let model = Model::new(config, dtype, &FlexDevice).unwrap();
    model.map(&mut Values(7))
}

/// The prompt of a request; each has another length.
fn prompt(request: usize) -> Vec<i64> {
    let tokens = 2 + 5 * request % BATCH;
    (0..tokens)
        .map(|token| ((7 * request + 31 * token) % VOCABULARY) as i64)
        .collect()
}

/// The tokens, and the bits of their log-probabilities and of the score, of every sequence of a
/// request.
type Answer = Vec<(Vec<u32>, Vec<u32>, u32)>;

/// The answers to some requests in one batch.
fn answers(model: &Model, pixels: &Tensor<Flex, 4>, first: usize, count: usize) -> Vec<Answer> {
    let prompts: Vec<Vec<i64>> = (first..first + count).map(prompt).collect();
    let longest = prompts.iter().map(Vec::len).max().unwrap();
    let padded = |value: fn(Option<&i64>) -> i64| {
        let rows = prompts.iter();
        let values: Vec<i64> = rows
            .flat_map(|prompt| (0..longest).map(|token| value(prompt.get(token))))
            .collect();
        Tensor::<Flex, 2, Int>::from_data(TensorData::new(values, [count, longest]), &FlexDevice)
    };
    let ids = padded(|id| id.copied().unwrap_or(1));
    let mask = (count > 1).then(|| padded(|id| id.is_some().into()));
    let images = pixels.clone().narrow(0, first, count);
    let mut config = GenerationConfig::default();
    config.num_beams = BEAMS;
    config.num_return_sequences = BEAMS;
    config.max_new_tokens = Some(6);
    config.eos_token_id = Some(vec![2]);
    let mut options = GenerateOptions::default();
    options.attention_mask = mask;
    options.vocab_size = Some(VOCABULARY);
    let mut observer = GenerationObserver::default();
    let answers = model.generate(images, ids, &config, &options, &mut observer);
    let answers = answers.unwrap();
    let bits = |values: &[f32]| values.iter().copied().map(f32::to_bits).collect();
    answers
        .into_iter()
        .map(|sequences| {
            let sequences = sequences.into_iter();
            sequences
                .map(|sequence| {
                    let log_probs = bits(&sequence.log_probs);
                    (sequence.token_ids, log_probs, sequence.score.to_bits())
                })
                .collect()
        })
        .collect()
}

#[test]
fn a_batch_gets_the_answers_of_its_requests_alone() {
    for dtype in Dtype::ALL {
        let model = model(dtype);
        let pixels = Values(11).tensor([BATCH, 3, SIDE, SIDE], 1.0);
        let with_threads = |threads: usize, first, count| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            pool.install(|| answers(&model, &pixels, first, count))
        };
        let alone: Vec<Answer> = (0..BATCH)
            .flat_map(|request| with_threads(1, request, 1))
            .collect();
        for (threads, count) in [(1, BATCH), (2, BATCH), (16, BATCH), (16, 1), (2, 5)] {
            let together = with_threads(threads, 0, count);
            for (request, (together, alone)) in together.iter().zip(&alone).enumerate() {
                assert_eq!(
                    together, alone,
                    "request {request} of {count} with {threads} threads in {dtype}"
                );
            }
        }
    }
}

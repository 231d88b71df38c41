//! The time and memory of a training step of Florence-2-base on the CPU, with random weights. Run by
//! `run.sh`, which documents its use.
//!
//! `train --method lora|full|frozen-vision [--cached] [--steps N] [--side PIXELS] [--batch N]`
//!
//! Prints one line of JSON: the milliseconds of each step and the peak memory.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use burn::tensor::{Distribution, Tensor};
use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use florence2_core::weights::LoraConfig;
use florence2_core::{Florence2Config, Florence2ForConditionalGeneration, weights};
use florence2_kernels::Dtype;
use florence2_train::{AdamWSettings, Batch, Images, TrainStep};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: florence2_kernels::Allocator = florence2_kernels::Allocator;

/// The configuration of the published base checkpoint.
const CONFIG: &str = include_str!("../gpu/base.json");
/// The number of tokens of a prompt such as `Locate the objects with category name in the image.`.
const PROMPT_TOKENS: usize = 13;
/// The number of tokens of an answer with five objects.
const ANSWER_TOKENS: usize = 32;
const SEED: u64 = 1;
/// All linear layers of the language model.
const TARGETS: &str = r"model\.language_model\..*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)";

type Train = Autodiff<Flex>;

struct Options {
    method: String,
    is_cached: bool,
    steps: usize,
    side: usize,
    batch: usize,
}

fn main() {
    let options = options();
    let mut config = Florence2Config::from_json(CONFIG.as_bytes(), "base.json").unwrap();
    config.text_config.dropout = 0.0;
    config.vision_config.drop_path_rate = 0.0;
    let settings = AdamWSettings {
        adam_beta1: 0.9,
        adam_beta2: 0.999,
        adam_epsilon: 1e-8,
        weight_decay: 0.0,
    };
    let mut step = TrainStep::new(model(config, &options.method), &settings, 1.0).unwrap();
    let pixels = || {
        let shape = [options.batch, 3, options.side, options.side];
        Tensor::<Flex, 4>::random(shape, Distribution::Default, &FlexDevice)
    };
    let cached = options
        .is_cached
        .then(|| step.encode_frozen(pixels()).unwrap())
        .flatten();
    let mut milliseconds = Vec::new();
    for _ in 0..options.steps {
        let images = match &cached {
            Some(features) => Images::Frozen(features.clone()),
            None => Images::Pixels(pixels()),
        };
        let rows = |tokens: usize| vec![(3..3 + tokens as i64).collect(); options.batch];
        let (prompts, labels): (Vec<Vec<i64>>, Vec<Vec<i64>>) =
            (rows(PROMPT_TOKENS), rows(ANSWER_TOKENS));
        let batch = Batch::new(images, &prompts, &labels, 1, &FlexDevice);
        let started = Instant::now();
        let tokens = batch.label_tokens;
        step.accumulate(batch, tokens, SEED).unwrap();
        let report = step.update(1e-4).unwrap();
        assert!(report.loss.is_finite());
        milliseconds.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let line = json!({
        "method": options.method,
        "cached": options.is_cached,
        "milliseconds": milliseconds,
        "peak_mib": peak_mib(),
    });
    println!("{line}");
}

fn options() -> Options {
    let mut options = Options {
        method: "lora".to_owned(),
        is_cached: false,
        steps: 5,
        side: 768,
        batch: 1,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("an option's value");
        match argument.as_str() {
            "--method" => options.method = value(),
            "--cached" => options.is_cached = true,
            "--steps" => options.steps = value().parse().expect("--steps: a number"),
            "--side" => options.side = value().parse().expect("--side: a number"),
            "--batch" => options.batch = value().parse().expect("--batch: a number"),
            // cargo's own argument.
            "--bench" => {}
            other => panic!("found `{other}`, expected an option"),
        }
    }
    options
}

fn model(config: Florence2Config, method: &str) -> Florence2ForConditionalGeneration<Train> {
    if method == "lora" {
        // As the published checkpoints, which are f16.
        let base = weights::initialise::<Flex>(config, SEED, Dtype::F16, &FlexDevice).unwrap();
        let lora = json!({ "r": 8, "lora_alpha": 16, "target_modules": TARGETS });
        let lora: LoraConfig = serde_json::from_value(lora).unwrap();
        return florence2_train::adapt(base, &lora, SEED).unwrap();
    }
    let model = weights::initialise::<Train>(config, SEED, Dtype::F32, &FlexDevice).unwrap();
    florence2_train::select(model, |key| {
        method == "full" || !key.starts_with("model.vision_tower.")
    })
}

/// The peak resident memory of this process; 0 if the system does not state it.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

//! Fifty optimiser steps, compared with torch, transformers and PEFT: `tests/fixtures/training.py`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use florence2_core::weights::{self, Checkpoint, LoraConfig, TensorValues};
use florence2_core::{Florence2Config, Florence2ForConditionalGeneration};
use florence2_kernels::Dtype;
use florence2_train::{
    AdamWSettings, Batch, Images, TrainStep, TrainingArguments, adapt, decays, load_values, select,
    values,
};
use serde_json::Value;

/// The largest difference of losses and gradient norms, relative to the golden, and of updates, relative
/// to the norm of the golden's update.
const TOLERANCE: f64 = 1e-3;
/// The largest difference of gradient norms as a multiple of that which torch has in f32, if it is more
/// than [`TOLERANCE`]. Training amplifies rounding errors: in `tiny-a-mean` by 1e4 in 40 steps.
const MULTIPLE_OF_TORCH: f64 = 10.0;
/// The number of micro-batches of the data, which are used in turns.
const MICRO_BATCHES: usize = 5;
/// The number of images of a micro-batch.
const BATCH: usize = 2;
/// The prefix of PEFT's names.
const PEFT: &str = "base_model.model.";

type Model = Florence2ForConditionalGeneration<Autodiff<Flex>>;

fn fixtures() -> PathBuf {
    let repository = std::env::var_os("FLORENCE2_REPOSITORY").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        PathBuf::from,
    );
    repository.join("tests/fixtures")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// One case of the script.
struct Case {
    golden: Value,
    tensors: Option<Checkpoint>,
    data: Value,
}

impl Case {
    fn open(name: &str) -> Self {
        let folder = fixtures().join("training");
        let golden = json(&folder.join(format!("{name}.json")));
        let tensors = folder.join(format!("{name}.safetensors"));
        let tensors = tensors
            .exists()
            .then(|| Checkpoint::open_file(&tensors).unwrap());
        let data = json(&folder.join("data.json"))[golden["model"].as_str().unwrap()].clone();
        Self {
            golden,
            tensors,
            data,
        }
    }

    fn arguments(&self) -> TrainingArguments {
        serde_json::from_value(self.golden["arguments"].clone()).unwrap()
    }

    fn folder(&self) -> PathBuf {
        match self.golden["model"].as_str().unwrap() {
            "demo" => fixtures().join("../../assets/demo-model"),
            model => fixtures().join("training").join(model),
        }
    }

    fn model(&self) -> Model {
        let folder = self.folder();
        let config = std::fs::read(folder.join("config.json")).unwrap();
        let config = Florence2Config::from_json(&config, "config.json").unwrap();
        let checkpoint = Checkpoint::open(&folder).unwrap();
        if self.golden["lora"].is_object() {
            let (base, _) =
                weights::load::<Flex>(&config, &checkpoint, &[], Dtype::F32, &FlexDevice).unwrap();
            return self.adapted(base);
        }
        let (model, _) =
            weights::load::<Autodiff<Flex>>(&config, &checkpoint, &[], Dtype::F32, &FlexDevice)
                .unwrap();
        let frozen = self.golden["frozen"].as_str().unwrap_or("none");
        select(model, |key| !key.starts_with(frozen))
    }

    fn adapted(&self, base: Florence2ForConditionalGeneration<Flex>) -> Model {
        let config: LoraConfig = serde_json::from_value(self.golden["lora"].clone()).unwrap();
        let model = adapt(base, &config, 1).unwrap();
        let mut start = values(&model);
        for (key, parameter) in &mut start {
            if key.contains("lora_A") {
                *parameter = self.tensor(&format!("initial.{PEFT}{key}")).unwrap();
            }
        }
        load_values(model, start).unwrap()
    }

    fn tensor(&self, name: &str) -> Option<TensorValues> {
        let stored = self.tensors.as_ref()?.tensors.get(name)?;
        Some(TensorValues {
            shape: stored.shape.clone(),
            values: stored.to_f32().unwrap(),
        })
    }

    fn micro_batch(&self, index: usize) -> Batch<Flex> {
        let rows = &self.data["micro_batches"][index];
        let ids =
            |key: &str| -> Vec<Vec<i64>> { serde_json::from_value(rows[key].clone()).unwrap() };
        let pixels = self.pixels(index);
        let sum: f64 = pixels.iter().map(|pixel| f64::from(*pixel)).sum();
        assert!((sum - rows["pixel_sum"].as_f64().unwrap()).abs() < 1e-6);
        let [height, width] = self.image();
        let pixels = TensorData::new(pixels, [BATCH, 3, height, width]);
        let images = Images::Pixels(Tensor::from_data(pixels, &FlexDevice));
        Batch::new(images, &ids("prompts"), &ids("labels"), 1, &FlexDevice)
    }

    fn image(&self) -> [usize; 2] {
        serde_json::from_value(self.data["image"].clone()).unwrap()
    }

    /// The script's images: squares of one colour from a hash of their index.
    fn pixels(&self, micro_batch: usize) -> Vec<f32> {
        let [height, width] = self.image();
        let cell = self.data["cell"].as_u64().unwrap() as usize;
        let (rows, columns) = (height.div_ceil(cell), width.div_ceil(cell));
        let count = BATCH * 3 * rows * columns;
        let colour = |index: usize| {
            let mut hash = (index + micro_batch * count + 1) as u32;
            hash = (hash ^ (hash >> 16)).wrapping_mul(0x85EB_CA6B);
            hash = (hash ^ (hash >> 13)).wrapping_mul(0xC2B2_AE35);
            hash ^= hash >> 16;
            f64::from(hash >> 8) / f64::from(1 << 22) - 2.0
        };
        let mut pixels = Vec::with_capacity(BATCH * 3 * height * width);
        for plane in 0..BATCH * 3 {
            for y in 0..height {
                for x in 0..width {
                    let index = (plane * rows + y / cell) * columns + x / cell;
                    pixels.push(colour(index) as f32);
                }
            }
        }
        pixels
    }
}

/// Trains a case, and compares each step and the final weights.
fn compare(name: &str) {
    let case = Case::open(name);
    let arguments = case.arguments();
    let schedule = arguments.schedule(arguments.total_steps(1)).unwrap();
    let settings = AdamWSettings {
        adam_beta1: arguments.adam_beta1,
        adam_beta2: arguments.adam_beta2,
        adam_epsilon: arguments.adam_epsilon,
        weight_decay: arguments.weight_decay,
    };
    let model = case.model();
    let initial = values(&model);
    let mut training = TrainStep::new(model, &settings, arguments.max_grad_norm).unwrap();
    let golden = |key: &str, step: usize| case.golden[key][step].as_f64().unwrap();
    let accumulation = arguments.gradient_accumulation_steps;
    let torch = &case.golden["trainer_f32_differences"]["grad_norm"];
    let norm_tolerance = TOLERANCE.max(MULTIPLE_OF_TORCH * torch.as_f64().unwrap());
    let is_mean_of_means = case.golden["loss_rule"] == "mean of means";
    for step in 0..case.golden["loss"].as_array().unwrap().len() {
        let batches: Vec<_> = (step * accumulation..(step + 1) * accumulation)
            .map(|index| case.micro_batch(index % MICRO_BATCHES))
            .collect();
        let tokens = batches.iter().map(|batch| batch.label_tokens).sum();
        for batch in batches {
            let divisor = if is_mean_of_means {
                batch.label_tokens * accumulation
            } else {
                tokens
            };
            training.accumulate(batch, divisor, 1).unwrap();
        }
        let rate = schedule.learning_rate(step as u64);
        assert!((rate - golden("learning_rate", step)).abs() < 1e-12);
        let report = training.update(rate).unwrap();
        let loss = if is_mean_of_means {
            "mean_loss"
        } else {
            "loss"
        };
        assert_relative(
            name,
            step,
            "loss",
            report.loss,
            golden(loss, step),
            TOLERANCE,
        );
        let (found, expected) = (report.grad_norm, golden("grad_norm", step));
        assert_relative(name, step, "grad_norm", found, expected, norm_tolerance);
    }
    compare_updates(name, &case, &initial, &values(training.model()));
}

fn assert_relative(name: &str, step: usize, what: &str, found: f64, expected: f64, tolerance: f64) {
    let difference = (found - expected).abs() / expected.abs();
    assert!(
        difference <= tolerance,
        "{name}, step {step}: {what}: found {found}, expected {expected}"
    );
}

fn compare_updates(
    name: &str,
    case: &Case,
    initial: &BTreeMap<String, TensorValues>,
    last: &BTreeMap<String, TensorValues>,
) {
    let goldens = case.golden["parameters"].as_object().unwrap();
    let expected = goldens.keys().map(|key| key.trim_start_matches(PEFT));
    let mut expected: Vec<&str> = expected.collect();
    expected.sort_unstable();
    let found: Vec<&str> = last.keys().map(String::as_str).collect();
    assert_eq!(found, expected, "{name}: the trained parameters");
    let mut worst = (0.0, String::new());
    for (golden_key, golden) in goldens {
        let key = golden_key.trim_start_matches(PEFT);
        let decay = golden["weight_decay"].as_bool().unwrap();
        assert_eq!(decays(key), decay, "{key}");
        let zero: Option<[usize; 2]> =
            serde_json::from_value(golden["zero_gradient"].clone()).unwrap();
        let mut update = difference(&last[key].values, &initial[key].values);
        clear(&mut update, zero, last[key].shape[0]);
        let norm = golden["update_norm"].as_f64().unwrap();
        let error = match case.tensor(golden_key) {
            Some(stored) => {
                assert_eq!(stored.shape, last[key].shape, "{key}");
                let mut error = difference(&last[key].values, &stored.values);
                clear(&mut error, zero, last[key].shape[0]);
                norm_of(&error)
            }
            None => largest_dot_error(case, golden, &update).max((norm_of(&update) - norm).abs()),
        };
        if norm == 0.0 {
            assert_eq!(error, 0.0, "{name}: {key}");
        } else if error / norm > worst.0 {
            worst = (error / norm, key.to_owned());
        }
    }
    let (difference, key) = worst;
    println!("{name}: largest difference of an update: {difference:.1e} ({key})");
    assert!(
        difference <= TOLERANCE,
        "{name}: {key} differs by {difference:.1e}"
    );
}

fn difference(first: &[f32], second: &[f32]) -> Vec<f64> {
    let pairs = first.iter().zip(second);
    let difference = |(first, second): (&f32, &f32)| f64::from(*first) - f64::from(*second);
    pairs.map(difference).collect()
}

/// Sets the rows of a zero gradient to 0: Adam amplifies their rounding errors.
fn clear(values: &mut [f64], rows: Option<[usize; 2]>, count: usize) {
    if let Some([start, end]) = rows {
        let row = values.len() / count;
        values[start * row..end * row].fill(0.0);
    }
}

fn norm_of(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// The largest difference of the update's dot products with the script's vectors of sines, relative to
/// the vectors' norm.
fn largest_dot_error(case: &Case, golden: &Value, update: &[f64]) -> f64 {
    let frequencies: Vec<f64> = serde_json::from_value(case.golden["frequencies"].clone()).unwrap();
    let dots: Vec<f64> = serde_json::from_value(golden["update_dots"].clone()).unwrap();
    let errors = frequencies.iter().zip(dots).map(|(frequency, expected)| {
        let sines = (1..=update.len()).map(|index| (index as f64 * frequency).sin());
        let sines: Vec<f64> = sines.collect();
        let products = update.iter().zip(&sines).map(|(value, sine)| value * sine);
        (products.sum::<f64>() - expected).abs() / norm_of(&sines)
    });
    errors.fold(0.0, f64::max)
}

#[test]
fn full_training_equals_torch() {
    compare("tiny-a-full");
    compare("tiny-b-full");
}

#[test]
fn a_mean_of_micro_batch_means_equals_torch() {
    compare("tiny-a-mean");
}

#[test]
fn training_with_a_frozen_vision_tower_equals_torch() {
    compare("tiny-a-frozen-vision");
}

#[test]
fn lora_equals_peft() {
    compare("tiny-a-lora");
    compare("tiny-b-lora");
}

#[test]
fn rank_stabilised_lora_with_a_saved_module_equals_peft() {
    compare("tiny-a-rslora");
}

#[test]
fn the_demo_model_trains_as_in_torch() {
    compare("demo-full");
    compare("demo-lora");
}

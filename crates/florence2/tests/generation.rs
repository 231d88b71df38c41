//! The generation options of a model's files and of a run, compared with transformers' answers.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use florence2::{
    Answer, FinishReason, Florence2, GENERATION_KEYS, GenerationOverrides, Image, KeyTreatment,
    RunOptions, Task,
};
use serde_json::{Map, Value, json};

fn repository() -> PathBuf {
    std::env::var_os("FLORENCE2_REPOSITORY").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        PathBuf::from,
    )
}

fn demo_model() -> PathBuf {
    repository().join("assets/demo-model")
}

fn read(path: &Path) -> Map<String, Value> {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Updates `fields` with those of `change`; null removes a field.
fn update(mut fields: Map<String, Value>, change: Option<&Value>) -> Value {
    for (name, value) in change.and_then(Value::as_object).into_iter().flatten() {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    Value::from(fields)
}

/// A copy of the demo model with the files of a case of `tests/fixtures/generation.py`.
fn model_of(case: &Value) -> (tempfile::TempDir, Florence2) {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "preprocessor_config.json",
        "tokenizer.json",
        "model.safetensors",
    ] {
        fs::copy(demo_model().join(name), folder.path().join(name)).unwrap();
    }
    let mut config = read(&demo_model().join("config.json"));
    let text = config["text_config"].as_object().unwrap().clone();
    config["text_config"] = update(text, case.get("text_config"));
    let config = update(config, case.get("config"));
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    if !case["generation_config"].is_null() {
        let own = read(&demo_model().join("generation_config.json"));
        let own = update(own, Some(&case["generation_config"]));
        fs::write(
            folder.path().join("generation_config.json"),
            own.to_string(),
        )
        .unwrap();
    }
    let model = Florence2::load(folder.path()).unwrap();
    (folder, model)
}

fn scene() -> Image {
    Image::open(demo_model().join("scenes/scene-1.png")).unwrap()
}

fn run(model: &Florence2, generation: Value) -> florence2::Result<Answer> {
    let generation = serde_json::from_value(generation).unwrap();
    let image = scene();
    let request = model.request(&image, Task::ObjectDetection);
    request.generation(generation).run()
}

#[test]
fn files_are_read_as_the_reference_reads_them() {
    let goldens = read(&repository().join("tests/fixtures/demo/generation.json"));
    assert!(goldens.len() >= 10);
    for (name, case) in goldens {
        let (_folder, model) = model_of(&case);
        let found = run(&model, json!({})).unwrap();
        assert_eq!(json!(found.token_ids), case["sequence"], "{name}");
    }
}

#[test]
fn every_supported_key_is_an_option_of_a_run() {
    let supported = GENERATION_KEYS
        .iter()
        .filter(|key| key.treatment == KeyTreatment::Supported);
    let mut expected: Vec<&str> = supported.map(|key| key.name).collect();
    let mut found = GenerationOverrides::NAMES.to_vec();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    let unknown = serde_json::from_value::<GenerationOverrides>(json!({"num_beems": 2}));
    assert!(unknown.unwrap_err().to_string().contains("num_beems"));
    let negative = serde_json::from_value::<GenerationOverrides>(json!({"num_beams": -1}));
    assert!(negative.unwrap_err().to_string().contains("num_beams"));
}

#[test]
fn options_of_a_run_equal_those_of_a_file() {
    let (_folder, model) = model_of(&json!({"generation_config": {}}));
    let stop = run(&model, json!({"stop_strings": "star"})).unwrap();
    assert!(stop.raw_text.ends_with("star"), "{}", stop.raw_text);
    assert_eq!(stop.finish_reason, FinishReason::EndOfText);
    let start = run(
        &model,
        json!({"decoder_start_token_id": [0], "max_new_tokens": 4.0}),
    )
    .unwrap();
    assert_eq!(start.token_ids[0], 0);
    assert_eq!(start.finish_reason, FinishReason::Length);
    let clamped = run(
        &model,
        json!({"max_new_tokens": 4096, "temperature": 0, "top_k": -1}),
    );
    let plain = run(&model, json!({})).unwrap();
    assert_eq!(clamped.unwrap().token_ids, plain.token_ids);
}

#[test]
fn answers_end_as_they_are_when_their_time_is_over() {
    let (_folder, model) = model_of(&json!({"generation_config": {}}));
    for num_beams in [1, 3] {
        let options = json!({"max_time": Duration::ZERO.as_secs_f64(), "num_beams": num_beams});
        let answer = run(&model, options).unwrap();
        assert_eq!(answer.finish_reason, FinishReason::Length);
        assert!(answer.token_ids.len() <= 3, "{:?}", answer.token_ids);
    }
}

/// In a batch, each request has the same answer as alone, whatever the other prompts are.
#[test]
fn prompts_of_others_do_not_count() {
    let (_folder, model) = model_of(&json!({"generation_config": {"max_length": 20}}));
    let options = RunOptions::default()
        .encoder_no_repeat_ngram_size(1)
        .encoder_repetition_penalty(1.5);
    let image = scene();
    let requests = [(&image, Task::Caption), (&image, Task::ObjectDetection)];
    let together = model.batch(requests).options(options.clone());
    for ((image, task), found) in requests.into_iter().zip(together.run_all().unwrap()) {
        let alone = model.request(image, task).options(options.clone());
        let alone = alone.run().unwrap();
        assert_eq!(found.token_ids, alone.token_ids);
    }
}

/// A list of start tokens has one for each request, those included that fail.
#[test]
fn requests_keep_their_start_tokens_beside_one_that_fails() {
    let model = Florence2::load(demo_model()).unwrap();
    let image = scene();
    let options = |starts: &[u32]| {
        RunOptions::default()
            .num_beams(1)
            .max_new_tokens(4)
            .decoder_start_token_id(starts.to_vec())
    };
    let alone = |start| {
        let request = model.request(&image, Task::Caption);
        request.options(options(&[start])).run().unwrap().token_ids
    };
    let [first, third] = [alone(2), alone(0)];
    assert_ne!(first, third);
    let tasks = [Task::Caption, Task::RegionToOcr, Task::Caption];
    let run = |starts: &[u32]| {
        let batch = model.batch(tasks.map(|task| (&image, task)));
        batch.options(options(starts)).run()
    };
    let results = run(&[2, 1, 0]).unwrap();
    assert_eq!(results[0].as_ref().unwrap().token_ids, first);
    assert!(results[1].is_err());
    assert_eq!(results[2].as_ref().unwrap().token_ids, third);
    let error = run(&[2, 0]).err().unwrap().to_string();
    assert!(
        error.starts_with("argument `decoder_start_token_id`: found 2 tokens"),
        "{error}"
    );
}

//! Evaluation of the demo model in memory.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use burn_flex::{Flex, FlexDevice};
use florence2_core::generate::{CancelToken, GenerationConfig};
use florence2_core::weights::{self, Checkpoint};
use florence2_core::{Error as ModelError, Florence2Config, Florence2ForConditionalGeneration};
use florence2_dataset::{Dataset, DatasetOptions};
use florence2_eval::{Error, Evaluation, ModelOptions, Ranking, Record, evaluate_model};
use florence2_kernels::Dtype;
use florence2_processor::Florence2Processor;
use serde_json::json;
use tempfile::TempDir;

/// The objects of the demo model's first scene.
const OBJECTS: &str = "white circle<loc_163><loc_163><loc_537><loc_540>\
    orange star<loc_604><loc_476><loc_938><loc_794>purple square<loc_695><loc_196><loc_892><loc_386>";

fn demo_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model")
}

struct Demo {
    model: Florence2ForConditionalGeneration<Flex>,
    processor: Florence2Processor,
    options: ModelOptions,
}

impl Demo {
    fn load() -> Self {
        let folder = demo_folder();
        let config = std::fs::read(folder.join("config.json")).unwrap();
        let generation = std::fs::read(folder.join("generation_config.json")).unwrap();
        let (generation, _) = GenerationConfig::from_json(Some(&generation), &config).unwrap();
        let config = Florence2Config::from_json(&config, "config.json").unwrap();
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let (model, _) = weights::load(&config, &checkpoint, &[], Dtype::F32, &FlexDevice).unwrap();
        Self {
            model,
            processor: Florence2Processor::from_dir(&folder).unwrap(),
            options: ModelOptions::new(generation),
        }
    }

    fn evaluate(&self, folder: &TempDir, records: &mut Vec<Record>) -> Result<Evaluation, Error> {
        let dataset = Dataset::open(folder.path(), &DatasetOptions::default()).unwrap();
        let Self {
            model,
            processor,
            options,
        } = self;
        evaluate_model(model, processor, &dataset, options, &mut |record| {
            records.push(record.clone());
        })
    }
}

/// A data set of two scenes of the demo model, and an image that cannot be decoded.
fn scenes(with_broken_image: bool) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let scene = demo_folder().join("scenes/scene-1.png");
    std::fs::copy(scene, folder.path().join("scene.png")).unwrap();
    std::fs::write(folder.path().join("broken.png"), "no image").unwrap();
    let mut lines = vec![
        json!({ "image": "scene.png", "prefix": "<OD>", "suffix": OBJECTS }),
        json!({ "image": "scene.png", "prefix": "<OCR>", "suffix": "WORLD\nRUST" }),
        json!({ "image": "scene.png", "prefix": "<CAPTION>", "suffix": "a white circle" }),
    ];
    if with_broken_image {
        let broken = json!({ "image": "broken.png", "prefix": "<OD>", "suffix": OBJECTS });
        lines.insert(1, broken);
    }
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    std::fs::write(folder.path().join("annotations.jsonl"), text.join("\n")).unwrap();
    folder
}

#[test]
fn metrics_do_not_depend_on_the_batch_size() {
    let folder = scenes(false);
    let mut demo = Demo::load();
    let mut records = Vec::new();
    let evaluation = demo.evaluate(&folder, &mut records).unwrap();
    assert_eq!(records.len(), 3);
    let metrics = evaluation.metrics();
    assert_eq!(metrics["eval_OCR_CER"], 0.0);
    assert!(metrics["eval_OD_AP50"] > 0.99, "{metrics:?}");
    assert!(metrics.contains_key("eval_CAPTION_CIDEr-D"));
    let detection = evaluation.tasks[0].scores.detection.as_ref().unwrap();
    assert_eq!(detection.ranking, Ranking::Score);
    demo.options.batch_size = NonZeroUsize::new(3).unwrap();
    let mut batched = Vec::new();
    demo.evaluate(&folder, &mut batched).unwrap();
    for (batched, record) in batched.iter().zip(&records) {
        assert_eq!(
            batched.outcome.as_ref().unwrap().text,
            record.outcome.as_ref().unwrap().text
        );
    }
    demo.options.limit = Some(1);
    let mut limited = Vec::new();
    let evaluation = demo.evaluate(&folder, &mut limited).unwrap();
    assert_eq!((limited.len(), evaluation.tasks.len()), (1, 1));
    assert!(evaluation.metrics().contains_key("eval_AP"));
}

#[test]
fn a_sample_that_fails_does_not_affect_its_batch() {
    let folder = scenes(true);
    let mut demo = Demo::load();
    demo.options.batch_size = NonZeroUsize::new(4).unwrap();
    let mut records = Vec::new();
    let evaluation = demo.evaluate(&folder, &mut records).unwrap();
    let failed: Vec<bool> = records
        .iter()
        .map(|record| record.outcome.is_err())
        .collect();
    assert_eq!(failed, [false, true, false, false]);
    assert_eq!(evaluation.failures.len(), 1);
    assert!(evaluation.failures[0].image.ends_with("broken.png"));
    assert!(evaluation.failures[0].error.contains("broken.png"));
}

/// The prompt of the second line has more tokens than the model has positions.
#[test]
fn a_prompt_that_is_too_long_does_not_affect_its_batch() {
    let folder = scenes(false);
    let path = folder.path().join("annotations.jsonl");
    let prefix = format!("<CAPTION_TO_PHRASE_GROUNDING>{}", "star ".repeat(500));
    let long = json!({ "image": "scene.png", "prefix": prefix, "suffix": OBJECTS });
    let text = format!("{}\n{long}", std::fs::read_to_string(&path).unwrap());
    std::fs::write(path, text).unwrap();
    let mut demo = Demo::load();
    demo.options.batch_size = NonZeroUsize::new(4).unwrap();
    let evaluation = demo.evaluate(&folder, &mut Vec::new()).unwrap();
    assert_eq!(evaluation.failures.len(), 1);
    assert!(
        evaluation.failures[0]
            .source
            .ends_with("annotations.jsonl:4")
    );
    assert!(
        evaluation.failures[0].error.contains("positions"),
        "{evaluation:?}"
    );
}

#[test]
fn errors_that_concern_all_samples_end_the_evaluation() {
    let folder = scenes(true);
    let mut demo = Demo::load();
    demo.options.generation.num_beams = 0;
    let error = demo.evaluate(&folder, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("num_beams"), "{error}");
    demo.options.generation.num_beams = 1;
    let cancel = CancelToken::default();
    cancel.cancel();
    demo.options.cancel = cancel;
    let error = demo.evaluate(&folder, &mut Vec::new()).unwrap_err();
    assert!(
        matches!(error, Error::Model(ModelError::Cancelled)),
        "{error}"
    );
}

#[test]
fn an_evaluation_without_any_answer_is_an_error() {
    let folder = scenes(true);
    let line = json!({ "image": "broken.png", "prefix": "<OD>", "suffix": OBJECTS });
    std::fs::write(folder.path().join("annotations.jsonl"), line.to_string()).unwrap();
    let error = Demo::load().evaluate(&folder, &mut Vec::new()).unwrap_err();
    assert!(
        matches!(error, Error::NoAnswers { count: 1, .. }),
        "{error}"
    );
}

//! Samples without an answer, several tasks in one data set, and the JSON form.

#![allow(clippy::unwrap_used)]

mod common;

use common::{SIZE, evaluated, jsonl, open, records};
use florence2_dataset::{Dataset, DatasetOptions};
use florence2_eval::{EvaluationOptions, Prediction, Record, evaluate, samples};
use florence2_postprocess::ImageSize;
use serde_json::json;

const CAR: &str = "car<loc_100><loc_100><loc_300><loc_300>";

#[test]
fn a_failure_counts_as_an_empty_answer_and_is_listed() {
    let lines = [("a.png", "<OD>", CAR), ("b.png", "<OD>", CAR)];
    let with_failure = evaluated(&lines, &[Some(CAR), None]);
    let with_empty = evaluated(&lines, &[Some(CAR), Some("")]);
    assert_eq!(with_failure.metrics(), with_empty.metrics());
    assert_eq!(with_failure.tasks[0].failed, 1);
    let failure = &with_failure.failures[0];
    assert!(
        failure.source.ends_with("annotations.jsonl:2"),
        "{failure:?}"
    );
    assert!(failure.image.ends_with("b.png"));
    assert_eq!(failure.error, "no answer");
    assert!(
        with_failure
            .to_string()
            .contains("<OD>: 2 samples, 1 without an answer")
    );
    assert!(with_empty.failures.is_empty());
}

#[test]
fn each_task_has_its_own_result() {
    let lines = [
        ("a.png", "<OD>", CAR),
        ("a.png", "<CAPTION>", "a car"),
        ("b.png", "<OD>", CAR),
        ("b.png", "<OCR>", "STOP"),
    ];
    let evaluation = evaluated(&lines, &[Some(CAR), Some("a car"), Some(CAR), Some("STOP")]);
    let tasks: Vec<(&str, usize)> = evaluation
        .tasks
        .iter()
        .map(|task| (task.task.as_str(), task.samples))
        .collect();
    assert_eq!(tasks, [("<OD>", 2), ("<CAPTION>", 1), ("<OCR>", 1)]);
    let metrics = evaluation.metrics();
    common::assert_close(metrics["eval_OD_AP"], 1.0);
    assert_eq!(metrics["eval_OCR_CER"], 0.0);
    assert!(metrics.contains_key("eval_CAPTION_CIDEr-D"));
    let json = serde_json::to_value(&evaluation).unwrap();
    assert!(json["tasks"][0]["detection"]["overall"]["AP50"].is_f64());
    assert_eq!(json["tasks"][0]["detection"]["ranking"], "order");
    assert_eq!(json["tasks"][0]["detection"]["classes"][0]["name"], "car");
    assert_eq!(json["tasks"][2]["transcriptions"]["overall"]["WER"], 0.0);
    assert!(json["tasks"][0].get("captions").is_none());
}

#[test]
fn tasks_without_true_objects_have_no_scores() {
    let task = "<CAPTION_TO_PHRASE_GROUNDING>a car";
    let evaluation = evaluated(&[("a.png", task, "")], &[Some("a car")]);
    assert!(evaluation.metrics().is_empty());
    assert!(
        evaluation
            .to_string()
            .ends_with("1 sample\nno true objects")
    );
    let nothing = evaluate(&[], &EvaluationOptions::default()).unwrap();
    assert!(nothing.tasks.is_empty());
}

/// Coordinates of an image of another size than the annotated one cannot be compared.
#[test]
fn an_image_of_another_size_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    common::write_image(folder.path(), "a.png");
    let coco = json!({
        "images": [{ "id": 1, "file_name": "a.png", "width": 200, "height": 50 }],
        "categories": [{ "id": 1, "name": "car" }],
        "annotations": [{ "id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 20] }],
    });
    std::fs::write(
        folder.path().join("_annotations.coco.json"),
        coco.to_string(),
    )
    .unwrap();
    let dataset = Dataset::open(folder.path(), &DatasetOptions::default()).unwrap();
    let samples = samples(dataset.examples());
    let record = Record::answered(&samples[0], SIZE, Prediction::default());
    let reason = record.outcome.as_ref().unwrap_err();
    let expected = "found an image of 100x100 pixels, expected 200x50 as annotated";
    assert!(reason.ends_with(expected), "{reason}");
    let annotated = ImageSize {
        width: 200,
        height: 50,
    };
    assert_eq!(record.image_size, annotated);
    let unread = Record::failed(&samples[0], None, "unreadable");
    assert_eq!(unread.image_size, annotated);
}

/// The truth of an unreadable image without annotated size has boxes nevertheless, which are missed.
#[test]
fn an_unreadable_image_has_missed_objects() {
    let folder = jsonl(&[("a.png", "<OD>", CAR)]);
    let dataset = open(&folder, &DatasetOptions::default());
    let samples = samples(dataset.examples());
    let record = Record::failed(&samples[0], None, "unreadable");
    let evaluation = evaluate(&[record], &EvaluationOptions::default()).unwrap();
    assert_eq!(evaluation.metrics()["eval_AP"], 0.0);
}

#[test]
fn records_are_written_as_json() {
    let folder = jsonl(&[("a.png", "<OD>", CAR), ("b.png", "<OCR>", "STOP")]);
    let dataset = open(&folder, &DatasetOptions::default());
    let records = records(&dataset, &[Some(CAR), None]);
    let answered = records[0].to_json();
    assert_eq!(answered["prompt"], "<OD>");
    assert_eq!(answered["answer"]["regions"][0]["label"], "car");
    assert_eq!(answered["truth"]["objects"][0]["label"], "car");
    assert_eq!(
        answered["truth"]["objects"][0]["bounding_box"],
        json!([10.05, 10.05, 30.05, 30.05])
    );
    assert!(answered["error"].is_null());
    let failed = records[1].to_json();
    assert!(failed["answer"].is_null());
    assert_eq!(failed["error"], "no answer");
    assert_eq!(failed["truth"]["texts"], json!(["STOP"]));
}

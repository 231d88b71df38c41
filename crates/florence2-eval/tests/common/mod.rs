//! Small data sets, and answers as a model would generate them.

#![allow(dead_code, reason = "each test uses a part")]

use std::path::Path;

use florence2_dataset::{Dataset, DatasetOptions};
use florence2_eval::{Evaluation, EvaluationOptions, Prediction, Record, evaluate, samples};
use florence2_postprocess::{Coordinates, ImageSize, ScoredText, parse};
use image::RgbImage;
use serde_json::json;
use tempfile::TempDir;

/// The size of all images: 10 bins per pixel.
pub(crate) const SIZE: ImageSize = ImageSize {
    width: 100,
    height: 100,
};

pub(crate) fn write_image(folder: &Path, name: &str) {
    RgbImage::new(SIZE.width, SIZE.height)
        .save(folder.join(name))
        .unwrap();
}

/// A data set of JSON lines: an image, a prefix and a suffix per line.
pub(crate) fn jsonl(lines: &[(&str, &str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for (image, prefix, suffix) in lines {
        write_image(folder.path(), image);
        let line = json!({ "image": image, "prefix": prefix, "suffix": suffix });
        text.push_str(&line.to_string());
        text.push('\n');
    }
    std::fs::write(folder.path().join("annotations.jsonl"), text).unwrap();
    folder
}

pub(crate) fn open(folder: &TempDir, options: &DatasetOptions) -> Dataset {
    Dataset::open(folder.path(), options).unwrap()
}

/// The records of a data set with an answer per sample; `None` is a failure.
pub(crate) fn records(dataset: &Dataset, answers: &[Option<&str>]) -> Vec<Record> {
    let samples = samples(dataset.examples());
    assert_eq!(samples.len(), answers.len());
    let records = samples.iter().zip(answers).map(|(sample, answer)| {
        let Some(answer) = answer else {
            return Record::failed(sample, Some(SIZE), "no answer");
        };
        let post_processing_type = sample.example().post_processing_type();
        let text = ScoredText::unscored(*answer);
        let result = parse(&text, post_processing_type, SIZE, Coordinates::BinCenters);
        Record::answered(sample, SIZE, Prediction::from(result))
    });
    records.collect()
}

/// Evaluates answers to a data set of JSON lines.
pub(crate) fn evaluated(lines: &[(&str, &str, &str)], answers: &[Option<&str>]) -> Evaluation {
    let folder = jsonl(lines);
    let dataset = open(&folder, &DatasetOptions::default());
    let records = records(&dataset, answers);
    evaluate(&records, &EvaluationOptions::default()).unwrap()
}

pub(crate) fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} != {expected}");
}

//! `post_processor_config` of `processor_config.json`, and its effect on the results.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use florence2_postprocess::{Coordinates, ImageSize, PostProcessorConfig};
use florence2_processor::{Florence2Processor, Prompt, Result};
use serde_json::{Value, json};

const OCR_PATTERN: &str = r"(.+?)<loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)>";

const SIZE: ImageSize = ImageSize {
    width: 1000,
    height: 1000,
};

fn demo_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model")
}

/// Loads the demo model's processor from memory with a `processor_config.json`.
fn processor_with(json: &str) -> Result<Florence2Processor> {
    let preprocessor = fs::read(demo_model().join("preprocessor_config.json")).unwrap();
    let tokenizer = fs::read(demo_model().join("tokenizer.json")).unwrap();
    Florence2Processor::from_files(|name| match name {
        "processor_config.json" => Some(json.as_bytes()),
        "preprocessor_config.json" => Some(&preprocessor),
        "tokenizer.json" => Some(&tokenizer),
        _ => None,
    })
}

fn read(post_processor_config: &Value) -> Result<PostProcessorConfig> {
    let json = json!({ "post_processor_config": post_processor_config });
    Ok(processor_with(&json.to_string())?.post_processor_config)
}

fn banned(phrases: &[&str]) -> PostProcessorConfig {
    PostProcessorConfig::default().banned_phrases(phrases.iter().copied())
}

#[test]
fn the_keys_of_transformers_are_read() {
    let default = PostProcessorConfig::default;
    // The forms of the published files and of transformers' tests.
    let ocr = json!({ "pattern": OCR_PATTERN, "area_threshold": 0.0 });
    let published: Vec<_> = default().banned_phrases.into_iter().collect();
    let grounding = json!({ "banned_grounding_tokens": published });
    for (config, expected) in [
        (json!(null), default()),
        (json!({}), default()),
        (json!({ "pure_text": {}, "a task to come": 5 }), default()),
        (
            json!({ "ocr": ocr, "phrase_grounding": grounding }),
            default(),
        ),
        (json!({ "ocr": null, "phrase_grounding": null }), default()),
        (
            json!({ "ocr": { "PATTERN": OCR_PATTERN, "key": [] } }),
            default(),
        ),
        // transformers reads the keys in upper case only.
        (
            json!({ "ocr": { "pattern": "(.+)", "area_threshold": 0.01 } }),
            default(),
        ),
        (
            json!({ "ocr": { "pattern": 5, "area_threshold": "0.1" } }),
            default(),
        ),
        (
            json!({ "ocr": { "PATTERN": null, "AREA_THRESHOLD": null } }),
            default(),
        ),
        (
            json!({ "ocr": { "AREA_THRESHOLD": 0.01 } }),
            default().ocr_area_threshold(0.01),
        ),
        (
            json!({ "ocr": { "AREA_THRESHOLD": 1 } }),
            default().ocr_area_threshold(1.0),
        ),
        (
            json!({ "ocr": { "AREA_THRESHOLD": -1 } }),
            default().ocr_area_threshold(-1.0),
        ),
        (json!({ "phrase_grounding": {} }), banned(&[])),
        (
            json!({ "phrase_grounding": { "banned_grounding_tokens": null } }),
            banned(&[]),
        ),
        (
            json!({ "phrase_grounding": { "banned_grounding_tokens": ["b", "a", "b"] } }),
            banned(&["a", "b"]),
        ),
    ] {
        assert_eq!(read(&config).unwrap(), expected, "{config}");
    }
    let without = processor_with(r#"{"processor_class": "Florence2Processor"}"#).unwrap();
    assert_eq!(without.post_processor_config, default());
    // Of equal keys, the last one counts.
    let twice =
        r#"{"post_processor_config": {"ocr": {"AREA_THRESHOLD": 0.5, "AREA_THRESHOLD": 0.25}}}"#;
    let twice = processor_with(twice).unwrap().post_processor_config;
    assert_eq!(twice, default().ocr_area_threshold(0.25));
}

#[test]
fn errors_name_file_key_found_and_expected() {
    let pattern = format!("{OCR_PATTERN:?}, the only supported pattern");
    for (config, key, found, expected) in [
        (json!([1]), "", "an array", "an object"),
        (json!({ "ocr": 5 }), ".ocr", "5", "an object"),
        (
            json!({ "phrase_grounding": [] }),
            ".phrase_grounding",
            "an array",
            "an object",
        ),
        (
            json!({ "ocr": { "AREA_THRESHOLD": "0.1" } }),
            ".ocr.AREA_THRESHOLD",
            "\"0.1\"",
            "a number",
        ),
        (
            json!({ "ocr": { "AREA_THRESHOLD": true } }),
            ".ocr.AREA_THRESHOLD",
            "true",
            "a number",
        ),
        (
            json!({ "ocr": { "PATTERN": 5 } }),
            ".ocr.PATTERN",
            "5",
            "a string",
        ),
        (
            json!({ "ocr": { "PATTERN": "(.+)" } }),
            ".ocr.PATTERN",
            "\"(.+)\"",
            &pattern,
        ),
        (
            json!({ "phrase_grounding": { "banned_grounding_tokens": "the image" } }),
            ".phrase_grounding.banned_grounding_tokens",
            "\"the image\"",
            "an array of strings",
        ),
        (
            json!({ "phrase_grounding": { "banned_grounding_tokens": ["a", 5] } }),
            ".phrase_grounding.banned_grounding_tokens",
            "an array",
            "an array of strings",
        ),
    ] {
        let error = read(&config).unwrap_err().to_string();
        let reason = format!("found {found}, expected {expected}");
        let message = format!("processor_config.json: `post_processor_config{key}`: {reason}");
        assert_eq!(error, message);
    }
}

#[test]
fn a_folder_is_read_and_changes_the_results() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["preprocessor_config.json", "tokenizer.json"] {
        fs::copy(demo_model().join(name), folder.path().join(name)).unwrap();
    }
    let text = |task: &str, answer: &str| {
        let processor = Florence2Processor::from_dir(folder.path()).unwrap();
        let ids = processor.tokenizer.encode(answer).unwrap();
        let prompt = Prompt::parse(task).unwrap();
        let coordinates = Coordinates::HfIntegers;
        let result = processor.post_process_generation(&ids, &[], &[], &prompt, SIZE, coordinates);
        result.to_hf_json("task")["task"]["labels"].to_string()
    };
    let small = "Small<loc_1><loc_1><loc_2><loc_2><loc_2><loc_2><loc_1><loc_1>";
    let car = "the image<loc_1><loc_2><loc_3><loc_4>red car<loc_1><loc_2><loc_3><loc_4>";
    let grounding = "<CAPTION_TO_PHRASE_GROUNDING>red car";
    assert_eq!(text("<OCR_WITH_REGION>", small), r#"["Small"]"#);
    assert_eq!(text(grounding, car), r#"["red car"]"#);
    let config = json!({
        "ocr": { "AREA_THRESHOLD": 0.01 },
        "phrase_grounding": { "banned_grounding_tokens": ["red car"] },
    });
    let json = json!({ "post_processor_config": config }).to_string();
    fs::write(folder.path().join("processor_config.json"), json).unwrap();
    assert_eq!(text("<OCR_WITH_REGION>", small), "[]");
    assert_eq!(text(grounding, car), r#"["the image"]"#);
}

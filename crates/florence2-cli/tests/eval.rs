//! `florence2 eval` with the demo model.

#![cfg(all(feature = "demo", feature = "hub"))]
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::{demo_model, florence2, scene};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The answer of the demo model to `<OD>` on its first scene.
const OBJECTS: &str = "white circle<loc_163><loc_163><loc_537><loc_540>\
    orange star<loc_604><loc_476><loc_938><loc_794>purple square<loc_695><loc_196><loc_892><loc_386>";

/// Writes `annotations.jsonl` with a prefix and a suffix per line. All lines have the first scene, or
/// the image that they name.
fn write_set(folder: &Path, lines: &[Value]) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::copy(scene(), folder.join("scene.png")).unwrap();
    std::fs::write(folder.join("broken.png"), "no image").unwrap();
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    std::fs::write(folder.join("annotations.jsonl"), lines.join("\n")).unwrap();
}

fn line(prefix: &str, suffix: &str) -> Value {
    json!({ "image": "scene.png", "prefix": prefix, "suffix": suffix })
}

fn set(lines: &[Value]) -> (TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("set");
    write_set(&folder, lines);
    (temporary, folder)
}

/// The standard output of `eval`, its standard error and whether it succeeded.
fn eval(dataset: &Path, arguments: &[&str]) -> (String, String, bool) {
    let command = [&["eval", dataset.to_str().unwrap()], arguments].concat();
    let output = florence2(&command);
    let [printed, said] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (printed, said, output.status.success())
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn each_task_of_a_data_set_is_evaluated() {
    let (temporary, folder) = set(&[
        line("<OD>", OBJECTS),
        line("<OCR>", "WORLD\nRUST"),
        line(
            "<CAPTION>",
            "a white circle, an orange star and a purple square on a gray background",
        ),
    ]);
    let output = temporary.path().join("result.json");
    let predictions = temporary.path().join("predictions.jsonl");
    let files = [
        "--output",
        output.to_str().unwrap(),
        "--predictions",
        predictions.to_str().unwrap(),
    ];
    let (printed, said, succeeded) = eval(&folder, &files);
    assert!(succeeded, "{said}");
    for part in [
        "<OD>: 1 sample\n",
        "white circle",
        "CER",
        "CIDEr-D",
        "ranked by: score",
    ] {
        assert!(printed.contains(part), "{printed}");
    }
    let result = read_json(&output);
    assert_eq!(result["schema"], 1);
    assert_eq!(result["model"], "demo");
    assert_eq!(result["dataset_format"], "jsonl");
    assert_eq!(result["metrics"]["eval_OCR_CER"], 0.0);
    assert!(result["metrics"]["eval_OD_AP"].as_f64().unwrap() > 0.999);
    assert!(result["metrics"]["eval_CAPTION_BLEU-4"].as_f64().unwrap() > 0.5);
    assert_eq!(result["tasks"][0]["detection"]["ranking"], "score");
    assert_eq!(result["failures"], json!([]));
    let lines = std::fs::read_to_string(predictions).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["answer"]["regions"][0]["label"], "white circle");
    assert_eq!(lines[0]["truth"]["objects"][2]["label"], "purple square");
    assert_eq!(
        (&lines[1]["prompt"], &lines[1]["answer"]["text"]),
        (&json!("<OCR>"), &json!("WORLD\nRUST"))
    );

    let model = demo_model();
    let options = [
        "--model",
        model.to_str().unwrap(),
        "--limit",
        "1",
        "--no-scores",
        "--format",
        "json",
    ];
    let (printed, said, succeeded) = eval(&folder, &[&options[..], &["--num-beams", "2"]].concat());
    assert!(succeeded, "{said}");
    let result: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(result["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(result["tasks"][0]["detection"]["ranking"], "order");
    assert!(result["metrics"]["eval_AP"].is_f64());
}

#[test]
fn failures_count_as_empty_answers_and_are_listed() {
    let broken = json!({ "image": "broken.png", "prefix": "<OD>", "suffix": OBJECTS });
    let missing = json!({ "image": "missing.png", "prefix": "<OD>", "suffix": OBJECTS });
    let long = line(&format!("<VQA>{}", "star ".repeat(500)), "star");
    let (_temporary, folder) = set(&[line("<OD>", OBJECTS), broken, missing, long]);
    let options = ["--format", "json", "--batch-size", "3"];
    let (printed, said, succeeded) = eval(&folder, &options);
    assert!(!succeeded);
    for part in [
        "broken.png",
        "missing.png",
        "annotations.jsonl:4",
        "2 of 3 images failed",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let result: Value = serde_json::from_str(&printed).unwrap();
    let ap = result["metrics"]["eval_OD_AP"].as_f64().unwrap();
    assert!((0.4..0.6).contains(&ap), "{ap}");
    assert_eq!(
        (
            &result["tasks"][0]["samples"],
            &result["tasks"][0]["failed"]
        ),
        (&json!(2), &json!(1))
    );
    assert_eq!(result["metrics"]["eval_VQA_ANLS"], 0.0);
    assert!(
        result["failures"][0]["image"]
            .as_str()
            .unwrap()
            .ends_with("broken.png")
    );
    assert!(
        result["left_out"][0]
            .as_str()
            .unwrap()
            .contains("missing.png")
    );
}

#[test]
fn the_evaluation_split_is_the_default() {
    let temporary = tempfile::tempdir().unwrap();
    write_set(&temporary.path().join("train"), &[line("<OCR>", "TRAIN")]);
    write_set(
        &temporary.path().join("valid"),
        &[line("<OCR>", "WORLD\nRUST")],
    );
    let dataset_of = |arguments: &[&str]| {
        let (printed, said, succeeded) = eval(temporary.path(), arguments);
        assert!(succeeded, "{said}");
        let result: Value = serde_json::from_str(&printed).unwrap();
        let path = PathBuf::from(result["dataset"].as_str().unwrap());
        path.parent().unwrap().file_name().unwrap().to_owned()
    };
    assert_eq!(dataset_of(&["--format", "json"]), "valid");
    assert_eq!(
        dataset_of(&["--format", "json", "--split", "train"]),
        "train"
    );
}

#[test]
fn wrong_arguments_are_named() {
    let (temporary, folder) = set(&[line("<OCR>", "WORLD\nRUST")]);
    let empty = temporary.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let unwritable = temporary.path().join("none/result.json");
    let unwritable = unwritable.to_str().unwrap();
    let missing = temporary.path().join("missing");
    let cases: [(&Path, &[&str], &str); 12] = [
        (&missing, &[], "missing: cannot be read: "),
        (
            &empty,
            &[],
            "found no data set, expected annotations.jsonl, COCO JSON",
        ),
        (
            &folder,
            &["--split", "test"],
            "found no data set of the split test",
        ),
        (
            &folder,
            &["--split", "exam"],
            "--split: found `exam`, expected one of train, valid, test",
        ),
        (
            &folder,
            &["--dataset-format", "csv"],
            "--dataset-format: found `csv`, expected one of jsonl, coco",
        ),
        (
            &folder,
            &["--dataset-format", "coco"],
            "expected a data set of the format coco",
        ),
        (
            &folder,
            &["--batch-size", "0"],
            "--batch-size: found `0`, expected a whole number of at least 1",
        ),
        (
            &folder,
            &["--limit", "0"],
            "--limit: found `0`, expected a whole number of at least 1",
        ),
        (&folder, &["--num-beams", "0"], "num_beams"),
        (
            &folder,
            &["--output", unwritable],
            "result.json: cannot be written: ",
        ),
        (
            &folder,
            &["--predictions", unwritable],
            "result.json: cannot be written: ",
        ),
        (&folder, &["--model", "nowhere"], "nowhere"),
    ];
    for (dataset, arguments, expected) in cases {
        let (printed, said, succeeded) = eval(dataset, arguments);
        assert!(!succeeded, "{arguments:?}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        // Each cause is named once.
        assert!(said.matches("os error").count() < 2, "{said}");
        assert_eq!(printed, "");
    }
}

#[test]
fn nothing_is_printed_if_every_sample_fails() {
    let broken = json!({ "image": "broken.png", "prefix": "<OD>", "suffix": OBJECTS });
    let (_temporary, folder) = set(&[broken]);
    let (printed, said, succeeded) = eval(&folder, &[]);
    assert!(!succeeded);
    assert_eq!(printed, "");
    assert!(said.contains("1 of 1 images failed"), "{said}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_a_message() {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    let prompts = (0..1000).map(|index| line(&format!("<VQA>{index}"), "star"));
    let (temporary, folder) = set(&prompts.collect::<Vec<_>>());
    let predictions = temporary.path().join("predictions.jsonl");
    let mut child = Command::new(env!("CARGO_BIN_EXE_florence2"))
        .arg("eval")
        .arg(&folder)
        .arg("--predictions")
        .arg(&predictions)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let is_answered = || std::fs::metadata(&predictions).is_ok_and(|file| file.len() > 0);
    while !is_answered() {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("interrupted after "), "{said}");
    assert!(
        said.contains(" of 1000 samples; no metric was computed"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}

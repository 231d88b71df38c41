//! `florence2 train` on small data sets: results, resumption, checks and bad input.

#![cfg(all(feature = "demo", feature = "hub"))]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{demo_model, florence2, scene};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

/// The side of an image in pixels.
const SIDE: u32 = 64;

/// A folder with a data set and outputs, which is removed after the test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A data set of squares: images and `annotations.jsonl`.
    fn squares(&self, name: &str, images: u32) -> String {
        let folder = self.path(name);
        fs::create_dir(&folder).unwrap();
        let mut lines = String::new();
        for index in 0..images {
            let (file, suffix) = square(&folder, index);
            let line = json!({"image": file, "prefix": "<OD>", "suffix": suffix});
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        fs::write(folder.join("annotations.jsonl"), lines).unwrap();
        folder.display().to_string()
    }

    /// Trains on a data set with a first argument that selects the method.
    fn train(&self, dataset: &str, output: &str, arguments: &[&str]) -> Output {
        let (model, output) = (demo_model(), self.text(output));
        let command = [
            "train",
            dataset,
            "--model",
            model.to_str().unwrap(),
            "--output",
            &output,
        ];
        florence2(&[&command, arguments].concat())
    }
}

/// Writes an image with a square. Returns its name and its suffix.
fn square(folder: &Path, index: u32) -> (String, String) {
    let (left, top, side) = (4 + 5 * index % 30, 6 + 7 * index % 25, 20);
    let name = format!("{index}.png");
    let image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let is_inside = (left..left + side).contains(&x) && (top..top + side).contains(&y);
        if is_inside {
            Rgb([220, 40, 40])
        } else {
            Rgb([30, 30, 60])
        }
    });
    image.save(folder.join(&name)).unwrap();
    let bin = |pixel: u32| pixel * 1000 / SIDE;
    let suffix = format!(
        "red square<loc_{}><loc_{}><loc_{}><loc_{}>",
        bin(left),
        bin(top),
        bin(left + side),
        bin(top + side)
    );
    (name, suffix)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", errors(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The records of `metrics.jsonl`.
fn records(folder: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The answer of a model about a scene.
fn run(arguments: &[&str]) -> Value {
    let image = scene().display().to_string();
    let command = [
        &["run", &image, "--format", "json", "--max-new-tokens", "20"],
        arguments,
    ]
    .concat();
    serde_json::from_str(&printed(&florence2(&command))).unwrap()
}

#[test]
fn an_adapter_is_trained_and_runs() {
    let folder = Folder::new();
    let data = folder.squares("data", 5);
    let lines = fs::read_to_string(folder.path("data/annotations.jsonl")).unwrap();
    let broken = "{\"image\": \"gone.png\", \"prefix\": \"<OD>\", \"suffix\": \"a<loc_1><loc_2><loc_3><loc_4>\"}";
    fs::write(
        folder.path("data/annotations.jsonl"),
        format!("{lines}{broken}\n{{\n"),
    )
    .unwrap();
    fs::write(folder.path("data/4.png"), b"no image").unwrap();
    let evaluation = folder.squares("evaluation", 2);
    let arguments = [
        "--eval-dataset",
        &evaluation,
        "--num-train-epochs=2",
        "--per-device-train-batch-size=2",
        "--gradient-accumulation-steps=1",
        "--learning-rate=1e-2",
        "--logging-steps=1",
        "--flip",
    ];
    let trained = folder.train(&data, "out", &arguments);
    let result = printed(&trained);
    let (said, out) = (errors(&trained), folder.text("out"));
    for expected in [
        "training data: ",
        "(jsonl): 5 examples, 5 images, 2 faults",
        "trained parameters: ",
        "6 steps of 2 images, epochs: 2",
        "step 6/6, epoch 2.00, loss ",
        "eval_loss ",
        "annotations.jsonl:5: ",
        "annotations.jsonl:6: ",
        "annotations.jsonl:7: ",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(result.contains(&format!("result: {out}")), "{result}");
    let model = demo_model();
    let command = format!("--model {} --adapter {out} --task OD", model.display());
    assert!(result.contains(&command), "{result}");

    let records = records(&folder.path("out"));
    let of = |key: &str| {
        let with_key = records.iter().filter(|record| record[key].is_f64());
        with_key
            .map(|record| record[key].as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!((of("loss").len(), of("eval_loss").len()), (6, 2));
    let losses = of("eval_loss");
    assert!(losses[1] < losses[0], "{losses:?}");
    assert!(folder.path("out/loss.svg").exists());
    assert!(folder.path("out/checkpoint-6/trainer_state.json").exists());

    let model = model.to_str().unwrap();
    let before = run(&["--model", model]);
    let after = run(&["--model", model, "--adapter", &out]);
    assert_ne!(before["sequence_score"], after["sequence_score"]);
}

#[test]
fn a_full_checkpoint_is_a_model_of_its_own() {
    let folder = Folder::new();
    let data = folder.squares("data", 2);
    for method in ["full", "frozen-vision"] {
        let arguments = [
            "--method",
            method,
            "--max-steps=2",
            "--gradient-accumulation-steps=2",
        ];
        let result = printed(&folder.train(&data, method, &arguments));
        let out = folder.text(method);
        let command = format!("florence2 run IMAGE --model {out} --task OD");
        assert!(result.contains(&command), "{result}");
        for file in [
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "preprocessor_config.json",
            "tokenizer.json",
        ] {
            assert!(folder.path(method).join(file).exists(), "{method}: {file}");
        }
        let answer = run(&["--model", &out]);
        assert_eq!(answer["task"], "<OD>");
    }
    let vision = |folder: &Path| {
        let checkpoint = florence2::weights::Checkpoint::open(folder).unwrap();
        let tensors = checkpoint.tensors.into_iter();
        let tensors = tensors.filter(|(key, _)| key.contains("vision_tower"));
        let values = tensors.map(|(key, tensor)| (key, tensor.to_f32().unwrap()));
        values.collect::<Vec<_>>()
    };
    let base = vision(&demo_model());
    assert!(!base.is_empty());
    assert!(vision(&folder.path("frozen-vision")) == base);
    assert!(vision(&folder.path("full")) != base);
}

/// A process that is killed or interrupted, and continued, gives the bytes of one that is not.
#[cfg(unix)]
#[test]
fn a_run_that_was_ended_continues_to_the_bit() {
    use std::io::Read;
    use std::process::{Command, Stdio};

    let folder = Folder::new();
    let data = folder.squares("data", 6);
    let arguments = [
        "--max-steps=8",
        "--gradient-accumulation-steps=2",
        "--lora-dropout=0.1",
        "--learning-rate=1e-3",
        "--lr-scheduler-type=cosine",
        "--save-strategy=steps",
        "--save-steps=2",
        "--logging-steps=1",
        "--crop",
        "--threads=2",
    ];
    printed(&folder.train(&data, "whole", &arguments));
    let expected = fs::read(folder.path("whole/adapter_model.safetensors")).unwrap();
    for signal in ["-INT", "-KILL"] {
        let output = format!("ended{signal}");
        let model = demo_model();
        let mut process = Command::new(env!("CARGO_BIN_EXE_florence2"))
            .args(["train", &data, "--model", model.to_str().unwrap()])
            .args(["--output", &folder.text(&output)])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let checkpoint = folder.path(&output).join("checkpoint-2/checkpoint.json");
        while !checkpoint.exists() {
            assert!(process.try_wait().unwrap().is_none(), "the process ended");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let kill = Command::new("kill")
            .args([signal, &process.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let mut said = String::new();
        let mut stderr = process.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let status = process.wait().unwrap();
        if signal == "-INT" {
            assert_eq!(status.code(), Some(1), "{said}");
            assert!(said.contains("stopping after the current step"), "{said}");
            let command = format!("continue with: florence2 train {data} --model ");
            assert!(said.contains(&command), "{said}");
            assert!(said.trim_end().ends_with("--resume"), "{said}");
        }
        assert!(
            !folder
                .path(&output)
                .join("adapter_model.safetensors")
                .exists()
        );
        let resumed = folder.train(&data, &output, &[&arguments[..], &["--resume"]].concat());
        printed(&resumed);
        assert!(errors(&resumed).contains("continuing after step "));
        let found = fs::read(folder.path(&output).join("adapter_model.safetensors")).unwrap();
        assert!(found == expected, "{signal}: the adapters differ");
        let losses = |folder: &Path| {
            let records = records(folder).into_iter();
            records
                .map(|record| record["loss"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(losses(&folder.path(&output)), losses(&folder.path("whole")));
    }
}

#[test]
fn check_reports_every_fault() {
    let folder = Folder::new();
    let data = folder.squares("data", 3);
    let annotations = folder.path("data/annotations.jsonl");
    let lines = fs::read_to_string(&annotations).unwrap();
    let long = "word ".repeat(3000);
    let entry = |image: &str, suffix: &str| {
        json!({"image": image, "prefix": "<OD>", "suffix": suffix}).to_string()
    };
    let more = [
        entry("gone.png", "a<loc_1><loc_2><loc_3><loc_4>"),
        entry("0.png", "a<loc_1><loc_2><loc_3><loc_1000>"),
        entry("1.png", &format!("{long}<loc_1><loc_2><loc_3><loc_4>")),
        "no JSON".to_owned(),
    ];
    fs::write(&annotations, format!("{lines}{}\n", more.join("\n"))).unwrap();
    fs::write(folder.path("data/2.png"), b"no image").unwrap();
    let model = demo_model();
    let model = model.to_str().unwrap();
    let check = |arguments: &[&str]| {
        florence2(&[&["train", &data, "--model", model, "--check"], arguments].concat())
    };
    let report: Value =
        serde_json::from_str(&printed(&check(&["--report-format", "json"]))).unwrap();
    assert_eq!(report["dataset"], data);
    assert_eq!(report["usable_examples"], 2);
    assert_eq!(report["classes"]["red square"]["objects"], 3);
    let findings = report["findings"].as_array().unwrap();
    let found = |line: u64, kind: &str| {
        findings
            .iter()
            .any(|finding| finding["source"]["line"] == line && finding["kind"] == kind)
    };
    for (line, kind) in [
        (3, "unreadable_image"),
        (4, "missing_image"),
        (5, "location"),
        (6, "length"),
        (7, "malformed"),
    ] {
        assert!(found(line, kind), "line {line}: {kind}: {report:#}");
    }
    let text = printed(&check(&[]));
    assert!(text.contains("usable examples: 2"), "{text}");
    assert!(text.contains("annotations.jsonl:7: found"), "{text}");

    for image in ["0.png", "1.png"] {
        fs::write(folder.path("data").join(image), b"no image").unwrap();
    }
    let unusable = check(&[]);
    assert_eq!(unusable.status.code(), Some(1));
    assert!(errors(&unusable).contains("found no usable example"));
    fs::write(&annotations, "no JSON\n").unwrap();
    let unusable = check(&["--report-format=json"]);
    assert_eq!(unusable.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&unusable.stdout).unwrap();
    assert_eq!(report["usable_examples"], 0);
    assert_eq!(report["findings"][0]["source"]["line"], 1);
}

#[test]
fn invalid_arguments_are_all_named() {
    let folder = Folder::new();
    let data = folder.squares("data", 1);
    let arguments = [
        "--learning-rate=-1",
        "--adam-beta1=1.5",
        "--warmup-steps=1.5",
        "--lora-rank=0",
        "--lora-alpha=nan",
        "--lora-dropout=1",
        "--flip=2",
        "--min-crop-side=0",
        "--gradient-checkpointing",
        "--label-smoothing-factor=0.1",
        "--eval-strategy=epoch",
    ];
    let output = folder.train(&data, "out", &arguments);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for argument in arguments {
        let flag = argument.split('=').next().unwrap();
        assert!(said.contains(&format!("{flag}: found ")), "{flag}: {said}");
    }
    assert!(!folder.path("out").exists());

    for (arguments, expected) in [
        (
            &[
                "--method=full",
                "--r=4",
                "--modules-to-save=lm_head",
                "--dtype=bf16",
            ][..],
            &[
                "--lora-rank: found",
                "--modules-to-save: found",
                "--dtype: found bf16, expected f32",
            ][..],
        ),
        (
            &["--lr-scheduler-type=step"],
            &["--lr-scheduler-type: found `step`, expected one of linear"],
        ),
        (
            &["--lr-scheduler-kwargs={\"waves\": 1}"],
            &["--lr-scheduler-kwargs: found `{\"waves\": 1}`, expected a JSON object"],
        ),
        (
            &["--feature-cache-memory=much"],
            &["--feature-cache-memory: found `much`, expected a number of bytes"],
        ),
        (
            &["--format=voc"],
            &["--format: found `voc`, expected one of jsonl"],
        ),
        (
            &["--target-modules=nothing"],
            &["found no parameter to train"],
        ),
        (
            &["--modules-to-save=nothing"],
            &["modules_to_save: found nothing"],
        ),
        (
            &["--target-modules=(", "--max-steps=1"],
            &["--target-modules: found `(`, expected a regular expression"],
        ),
        (&["--device=abacus"], &["device: found `abacus`"]),
        (&["--max-steps=0"], &["--max-steps: found 0"]),
    ] {
        let output = folder.train(&data, "out", arguments);
        let said = errors(&output);
        assert!(!output.status.success(), "{arguments:?}");
        for expected in expected {
            assert!(said.contains(expected), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn an_occupied_output_folder_is_not_changed() {
    let folder = Folder::new();
    let data = folder.squares("data", 1);
    fs::create_dir(folder.path("out")).unwrap();
    fs::write(folder.path("out/config.json"), b"{}").unwrap();
    for arguments in [&[][..], &["--resume"]] {
        let output = folder.train(&data, "out", arguments);
        assert_eq!(output.status.code(), Some(1));
        let said = errors(&output);
        assert!(
            said.contains("found other files: config.json, expected"),
            "{said}"
        );
    }
    assert_eq!(fs::read_dir(folder.path("out")).unwrap().count(), 1);

    printed(&folder.train(&data, "run", &["--max-steps=1"]));
    let adapter = fs::read(folder.path("run/adapter_model.safetensors")).unwrap();
    let output = folder.train(&data, "run", &["--max-steps=1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    assert!(said.contains("found an earlier run, expected an empty or new folder, or --resume"));
    assert_eq!(
        fs::read(folder.path("run/adapter_model.safetensors")).unwrap(),
        adapter
    );
    // A run that is complete has nothing left to do.
    printed(&folder.train(&data, "run", &["--max-steps=1", "--resume"]));

    let missing = folder.train(&folder.text("gone"), "new", &[]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(errors(&missing).contains("gone"), "{}", errors(&missing));
    assert!(!folder.path("new").exists());
}

//! The output of each command, and the files that it writes.

#![cfg(all(feature = "demo", feature = "hub"))]
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Output;

use common::{demo_model, florence2, florence2_into, scene};
use serde_json::{Value, json};

/// Standard output of a command that must succeed.
fn printed(arguments: &[&str]) -> String {
    let output = florence2(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn run_json(arguments: &[&str]) -> Value {
    let scene = scene();
    let command = [
        &["run", scene.to_str().unwrap(), "--format", "json"],
        arguments,
    ]
    .concat();
    serde_json::from_str(&printed(&command)).unwrap()
}

#[test]
fn json_has_every_field() {
    let answer = run_json(&["--task", "<OD>"]);
    assert_eq!(answer["schema"], 2);
    assert_eq!(answer["image"], scene().to_str().unwrap());
    assert_eq!(
        (&answer["width"], &answer["height"]),
        (&192.into(), &192.into())
    );
    assert_eq!(answer["task"], "<OD>");
    assert_eq!(answer["input"], Value::Null);
    assert!(
        answer["text"]
            .as_str()
            .unwrap()
            .contains("white circle<loc_")
    );
    assert_eq!(answer["token_ids"][0], 2);
    assert!(answer["sequence_score"].as_f64().unwrap() < 0.0);
    assert_eq!(answer["result"]["<OD>"]["labels"][0], "white circle");
    assert_eq!(answer["regions"].as_array().unwrap().len(), 3);
    for field in ["kind", "label", "points", "bounding_box", "score"] {
        assert!(!answer["regions"][0][field].is_null(), "{field}");
    }
    for part in ["preprocess", "vision", "generate"] {
        assert!(answer["timings_ms"][part].is_f64(), "{part}");
    }
}

#[test]
fn one_bad_image_does_not_stop_the_rest() {
    let scene = scene();
    let scene = scene.to_str().unwrap();
    for batch in ["1", "3"] {
        let output = florence2(&[
            "run",
            scene,
            "gone.png",
            scene,
            "--format",
            "json",
            "--batch-size",
            batch,
        ]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("gone.png: cannot be read"));
        assert!(said(&output).contains("1 of 3 images failed"));
        let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[0]["regions"], answers[1]["regions"]);
    }
    let lines = printed(&["run", scene, scene, "--format", "jsonl"]);
    assert_eq!(lines.lines().count(), 2);
    assert!(
        lines
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
}

#[test]
fn a_folder_answers_as_the_embedded_model() {
    let folder = demo_model();
    let named = run_json(&["--model", folder.to_str().unwrap()]);
    assert_eq!(named["token_ids"], run_json(&[])["token_ids"]);
    let ndarray = run_json(&["--device", "ndarray"]);
    assert_eq!(named["token_ids"], ndarray["token_ids"]);
}

/// Paths with spaces and characters of several scripts, and paths of more than 260 characters, which
/// Windows treats differently.
#[test]
fn paths_may_have_any_script_and_length() {
    let temporary = tempfile::tempdir().unwrap();
    let short = temporary.path().join("Jürgens Modell, модель 🦊");
    let long = (0..6).fold(short.clone(), |folder, _| {
        folder.join("a folder with a name of fifty characters, at most 50")
    });
    assert!(long.as_os_str().len() > 300);
    let expected = run_json(&[])["token_ids"].clone();
    for folder in [short, long] {
        std::fs::create_dir_all(&folder).unwrap();
        for name in [
            "config.json",
            "generation_config.json",
            "preprocessor_config.json",
            "tokenizer.json",
            "model.safetensors",
        ] {
            std::fs::copy(demo_model().join(name), folder.join(name)).unwrap();
        }
        let image = folder.join("scène 図.png");
        let drawn = folder.join("nové obrázky.png");
        std::fs::copy(scene(), &image).unwrap();
        let [image, drawn, model] = [&image, &drawn, &folder].map(|path| path.to_str().unwrap());
        let command = ["run", image, "--model", model, "--draw", drawn];
        let json = printed(&[&command[..], &["--format", "json"]].concat());
        let answer: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(answer["image"], image);
        assert_eq!(answer["token_ids"], expected);
        assert_eq!(image::open(drawn).unwrap().width(), 768);
        let inspected = printed(&["inspect", model]);
        assert!(inspected.contains("weights fit the configuration"));
        let missing = folder.join("нет.png");
        let missing = missing.to_str().unwrap();
        let output = florence2(&["run", missing]);
        assert!(
            said(&output).contains(&format!("{missing}: cannot be read")),
            "{}",
            said(&output)
        );
    }
}

/// Standard output and standard error have neither colours nor progress bars if they are no
/// terminals, and lines end as on all systems.
#[test]
fn output_to_files_is_plain() {
    let scene = scene();
    let scene = scene.to_str().unwrap();
    let commands: [&[&str]; 5] = [
        &["--help"],
        &["run", "--help"],
        &["run", "--no-such-flag"],
        &["run", scene, "gone.png", scene],
        &["pull", "nobody/nothing"],
    ];
    for arguments in commands {
        let output = florence2(arguments);
        for text in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(text);
            assert!(!text.contains(['\x1b', '\r']), "{arguments:?}: {text:?}");
        }
        assert!(!output.stdout.is_empty() || !output.stderr.is_empty());
    }
}

/// A folder with configurations alone, a weights file of another name, and another model's
/// processor.
#[test]
fn weights_and_processor_come_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "generation_config.json"] {
        std::fs::copy(demo_model().join(file), folder.path().join(file)).unwrap();
    }
    let weights = folder.path().join("epoch-3.ckpt");
    std::fs::copy(demo_model().join("model.safetensors"), &weights).unwrap();
    let (model, demo) = (folder.path().display(), demo_model());
    let (model, weights) = (model.to_string(), weights.display().to_string());
    let processor = ["--processor", demo.to_str().unwrap()];
    let found = run_json(&[&["--model", &model, "--weights", &weights], &processor[..]].concat());
    assert_eq!(found["token_ids"], run_json(&[])["token_ids"]);
    let inspected = printed(&["inspect", &model, "--weights", &weights]);
    assert!(inspected.contains("weights fit the configuration"));
}

/// Each flag has the effect of its key in `generation_config.json`; a flag without effect would not
/// change the answer.
#[test]
fn every_generation_flag_has_an_effect() {
    let greedy = ["--task", "CAPTION", "--num-beams", "1"];
    let tokens = |more: &[&str]| run_json(&[&greedy, more].concat())["token_ids"].clone();
    let plain = tokens(&[]);
    let first = plain[1].to_string();
    let second = plain[2].to_string();
    let both = format!("{first},{second}");
    let changing: [&[&str]; 12] = [
        &["--max-new-tokens", "2"],
        &["--min-new-tokens", "40", "--max-new-tokens", "60"],
        &["--do-sample", "--temperature", "30", "--seed", "1"],
        &["--do-sample", "--temperature", "30", "--seed", "2"],
        &["--forced-bos-token-id", "5"],
        &["--max-new-tokens", "3", "--forced-eos-token-id", "7"],
        &["--suppress-tokens", &second],
        &["--bad-words-ids", &both],
        &["--eos-token-id", &second],
        &["--no-repeat-ngram-size", "1"],
        &["--repetition-penalty", "9"],
        &["--num-beams", "3"],
    ];
    for flags in changing {
        let arguments: Vec<&str> = greedy[..2].iter().chain(flags).copied().collect();
        let found = match flags[0] {
            "--num-beams" => run_json(&arguments)["sequence_score"].clone(),
            _ => tokens(flags),
        };
        assert_ne!(found, plain, "{flags:?}");
    }
    let same: [&[&str]; 2] = [
        &["--do-sample", "--temperature", "30", "--top-k", "1"],
        &["--do-sample", "--temperature", "3", "--top-p", "0.000001"],
    ];
    for flags in same {
        assert_eq!(tokens(flags), plain, "{flags:?}");
    }
    let beams =
        |more: &[&str]| run_json(&[&["--task", "CAPTION", "--num-beams", "3"], more].concat());
    let several = beams(&["--num-return-sequences", "3"]);
    assert_eq!(several["alternatives"].as_array().unwrap().len(), 2);
    assert_ne!(
        beams(&["--length-penalty", "-2"])["sequence_score"],
        beams(&[])["sequence_score"]
    );
    for early in ["true", "false", "never"] {
        beams(&["--early-stopping", early]);
    }
}

#[test]
fn the_location_tolerance_changes_scores_only() {
    let [exact, default, same] = ["0", "50", ""].map(|bins| match bins {
        "" => run_json(&["--task", "OD"]),
        bins => run_json(&["--task", "OD", "--location-tolerance", bins]),
    });
    assert_eq!(default["regions"], same["regions"]);
    assert_eq!(exact["token_log_probs"], same["token_log_probs"]);
    let score = |answer: &Value, key: &str| answer["regions"][0]["score"][key].as_f64().unwrap();
    assert_eq!(score(&exact, "label"), score(&same, "label"));
    assert!(score(&exact, "locations") < 0.5 && score(&same, "locations") > 0.9);
    assert!(score(&exact, "overall") < score(&same, "overall"));
}

#[test]
fn drawn_regions_are_where_the_answer_says() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.png");
    let scene = scene();
    let scene = scene.to_str().unwrap();
    printed(&["run", scene, "--draw", out.to_str().unwrap()]);
    let drawn = image::open(&out).unwrap().to_rgb8();
    assert_eq!(drawn.dimensions(), (768, 768));
    // The left edge of the first box has the first colour; the circle inside it is unchanged.
    assert_eq!(drawn.get_pixel(31 * 4 + 2, 260).0, [230, 25, 75]);
    assert_eq!(
        drawn.get_pixel(67 * 4, 67 * 4).0,
        image::open(scene).unwrap().to_rgb8().get_pixel(67, 67).0
    );
    printed(&["run", scene, scene, "--draw", out.to_str().unwrap()]);
    assert!(folder.path().join("out-0.png").exists() && folder.path().join("out-1.png").exists());
}

#[test]
fn scores_add_up_to_the_loss() {
    let scene = scene();
    let command = [
        "score",
        scene.to_str().unwrap(),
        "--task",
        "CAPTION",
        "--target",
        "a white circle",
    ];
    let json: Value =
        serde_json::from_str(&printed(&[&command[..], &["--format", "json"]].concat())).unwrap();
    let tokens = json["tokens"].as_array().unwrap();
    let sum: f64 = tokens
        .iter()
        .map(|token| token["log_prob"].as_f64().unwrap())
        .sum();
    let loss = json["loss"].as_f64().unwrap();
    assert!((loss + sum / tokens.len() as f64).abs() < 1e-5);
    assert!(printed(&command).starts_with(&format!("loss {loss:.6}")));
    let unlikely = [&command[..4], &["--target", "zzz qqq", "--format", "jsonl"]].concat();
    let unlikely: Value = serde_json::from_str(&printed(&unlikely)).unwrap();
    assert!(unlikely["loss"].as_f64().unwrap() > loss);
}

/// A failed write does not cause a panic: the reader closed the pipe, or the disk is full.
#[test]
#[cfg(target_os = "linux")]
fn output_that_is_not_taken_ends_the_command() {
    let scene = scene();
    let model = demo_model();
    let commands: [&[&str]; 4] = [
        &["tasks"],
        &["completions", "bash"],
        &["inspect", model.to_str().unwrap()],
        &["run", scene.to_str().unwrap(), scene.to_str().unwrap()],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = florence2_into(arguments, writer.into());
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        let full = std::fs::File::create("/dev/full").unwrap();
        let output = florence2_into(arguments, full.into());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let refused = "standard output: cannot be written";
        assert!(said(&output).contains(refused), "{}", said(&output));
    }
}

#[test]
fn the_other_commands_print() {
    let folder = demo_model();
    let inspected = printed(&["inspect", folder.to_str().unwrap()]);
    assert!(inspected.contains("weights fit the configuration"));
    assert_eq!(printed(&["tasks"]).lines().count(), 15);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            printed(&["completions", shell]).contains("florence2"),
            "{shell}"
        );
    }
    assert!(printed(&["--version"]).starts_with("florence2 0."));
}

#[test]
fn info_describes_the_build_and_the_machine() {
    let info: Value = serde_json::from_str(&printed(&["info"])).unwrap();
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    for (list, element) in [("features", "demo"), ("devices", "cpu")] {
        let elements = info[list].as_array().unwrap();
        assert!(elements.contains(&element.into()), "{list}: {elements:?}");
    }
    assert!(info["threads"].as_u64().unwrap() > 0);
}

/// `verify` reports each case, and fails if one differs.
#[test]
fn verify_compares_with_cases() {
    let folder = tempfile::tempdir().unwrap();
    let cases = folder.path().join("cases.json");
    let (model, scenes) = (demo_model(), demo_model().join("scenes"));
    let run = |expected: Value| {
        let case = json!({
            "d_model": 128, "image": "scene-1.png", "task": "<OD>", "max_new_tokens": 100,
            "source": "the demo model", "expected": expected,
        });
        let image = json!({ "address": "scene-1.png", "width": 192, "height": 192 });
        let file = json!({ "images": { "scene-1.png": image }, "cases": [case] });
        std::fs::write(&cases, file.to_string()).unwrap();
        florence2(&[
            "verify",
            model.to_str().unwrap(),
            "--images",
            scenes.to_str().unwrap(),
            "--cases",
            cases.to_str().unwrap(),
        ])
    };
    let answer = run_json(&["--task", "<OD>", "--coordinates", "hf-integers"]);
    let passed = run(json!({ "hf": answer["result"]["<OD>"] }));
    assert!(passed.status.success(), "{}", said(&passed));
    let lines = String::from_utf8(passed.stdout).unwrap();
    assert!(
        lines.ends_with("1 passed, 0 failed, 0 skipped\n"),
        "{lines}"
    );
    let mut ids: Vec<u32> = serde_json::from_value(answer["token_ids"].clone()).unwrap();
    assert!(run(json!({ "token_ids": ids })).status.success());
    let location = ids.iter().rposition(|id| *id > 10).unwrap();
    ids[location] += 1;
    let failed = run(json!({ "token_ids": ids }));
    assert!(!failed.status.success());
    let lines = String::from_utf8(failed.stdout).unwrap();
    assert!(
        lines.contains("only locations differ, by at most 1 bins"),
        "{lines}"
    );
    assert!(
        lines.ends_with("0 passed, 1 failed, 0 skipped\n"),
        "{lines}"
    );
}

/// Without `--cases`, `verify` accepts the models whose outputs are published.
#[test]
fn verify_names_the_models_with_published_outputs() {
    let output = florence2(&["verify", demo_model().to_str().unwrap()]);
    assert!(!output.status.success());
    let message = said(&output);
    assert!(message.contains("expected 768 or 1024"), "{message}");
}

/// Writes an adapter of one layer of the demo model, with rank 1, and returns its folder.
fn write_adapter(folder: &std::path::Path) {
    const MODULE: &str = "base_model.model.model.language_model.decoder.layers.0.fc1";
    let header = json!({
        (format!("{MODULE}.lora_A.weight")):
            {"dtype": "F32", "shape": [1, 128], "data_offsets": [0, 512]},
        (format!("{MODULE}.lora_B.weight")):
            {"dtype": "F32", "shape": [512, 1], "data_offsets": [512, 2560]},
    });
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend((0..640).flat_map(|index| (index as f32 / 2000.0).to_le_bytes()));
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("adapter_model.safetensors"), file).unwrap();
    let config = r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 2}"#;
    std::fs::write(folder.join("adapter_config.json"), config).unwrap();
}

#[test]
fn a_merged_model_answers_as_its_base_with_the_adapter() {
    let temporary = tempfile::tempdir().unwrap();
    let [adapter, merged, half] = ["adapter", "new/merged", "half"].map(|name| {
        let path = temporary.path().join(name);
        path.to_str().unwrap().to_owned()
    });
    write_adapter(adapter.as_ref());
    let demo = demo_model();
    let demo = demo.to_str().unwrap();
    let with_adapter = ["--model", demo, "--adapter", &adapter];
    let said = printed(&[&["merge", &merged][..], &with_adapter].concat());
    assert_eq!(said.trim(), merged);
    let answer = |arguments: &[&str]| {
        let mut answer = run_json(arguments);
        answer.as_object_mut().unwrap().remove("timings_ms");
        answer
    };
    let expected = answer(&with_adapter);
    assert_eq!(answer(&["--model", &merged]), expected);
    assert_ne!(
        answer(&["--model", demo])["sequence_score"],
        expected["sequence_score"]
    );
    let files = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    let expected = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(files(&merged), expected);
    let scaled = ["--adapter-scale", "0", "--dtype", "f16"];
    printed(&[&["merge", &half][..], &with_adapter, &scaled].concat());
    let inspected = printed(&["inspect", &half]);
    assert!(
        inspected.contains("F16") && !inspected.contains("F32"),
        "{inspected}"
    );
    assert_eq!(answer(&["--model", &half]), answer(&["--model", demo]));
}

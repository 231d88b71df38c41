//! Every kind of bad input results in one readable line on standard error and a non-zero exit code:
//! never in a panic, a hang or an answer.

#![cfg(all(feature = "demo", feature = "hub"))]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{demo_model, florence2, scene};
use serde_json::{Value, json};

/// A command, and a part of the expected error message.
struct Case {
    name: &'static str,
    arguments: Vec<String>,
    says: &'static str,
}

/// Invalid files in a folder that is removed after the test.
struct Files(tempfile::TempDir);

impl Files {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.0.path().join(name), content).unwrap();
        self.path(name)
    }

    /// The scene in the format of the file name's extension.
    fn scene_as(&self, name: &str) -> Vec<u8> {
        let path = self.0.path().join(name);
        image::open(scene()).unwrap().to_rgb8().save(&path).unwrap();
        fs::read(path).unwrap()
    }

    /// A copy of the demo model with one file changed, or removed if `content` is `None`.
    fn model(&self, name: &str, file: &str, content: Option<&[u8]>) -> String {
        let folder = self.0.path().join(name);
        fs::create_dir(&folder).unwrap();
        for kept in [
            "config.json",
            "generation_config.json",
            "preprocessor_config.json",
            "tokenizer.json",
            "model.safetensors",
        ] {
            fs::copy(demo_model().join(kept), folder.join(kept)).unwrap();
        }
        match content {
            Some(content) => fs::write(folder.join(file), content).unwrap(),
            None => fs::remove_file(folder.join(file)).unwrap(),
        }
        folder.display().to_string()
    }

    /// A copy of the demo model with one value of a JSON file changed.
    fn model_with(&self, name: &str, file: &str, pointer: &str, value: Value) -> String {
        let mut json: Value =
            serde_json::from_slice(&fs::read(demo_model().join(file)).unwrap()).unwrap();
        *json.pointer_mut(pointer).unwrap() = value;
        self.model(name, file, Some(json.to_string().as_bytes()))
    }
}

/// The arguments of `run` on the scene, followed by others.
fn run(arguments: &[&str]) -> Vec<String> {
    let scene = scene().display().to_string();
    let command = ["run", scene.as_str()];
    command
        .iter()
        .chain(arguments)
        .map(ToString::to_string)
        .collect()
}

fn run_image(image: String) -> Vec<String> {
    vec!["run".to_owned(), image]
}

fn run_model(model: String) -> Vec<String> {
    run(&["--model", model.as_str()])
}

/// Adds a task with a region to a command.
fn about_region(mut command: Vec<String>) -> Vec<String> {
    let region = ["--task", "REGION_TO_CATEGORY", "--box", "0,0,50,60"];
    command.extend(region.map(str::to_owned));
    command
}

fn score(arguments: &[&str]) -> Vec<String> {
    let mut command = run(arguments);
    command[0] = "score".into();
    command
}

macro_rules! cases {
    ($($name:literal: $arguments:expr => $says:literal;)*) => {
        vec![$(Case { name: $name, arguments: $arguments, says: $says },)*]
    };
}

/// The arguments of `merge`, from the demo model and into the folder `output`.
fn merge(output: &str, arguments: &[&str]) -> Vec<String> {
    let demo = demo_model().display().to_string();
    let command = ["merge", output, "--model", demo.as_str()];
    let command = command.iter().chain(arguments);
    command.map(ToString::to_string).collect()
}

fn merging(files: &Files) -> Vec<Case> {
    let output = files.path("merged");
    let adapter = files.model("unmerged", "adapter_config.json", Some(b"{}"));
    let model = files.path("no-model");
    let full = files.0.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("model.safetensors"), b"").unwrap();
    let full = full.display().to_string();
    let file = files.write("occupied", b"");
    cases! {
        "merge without an adapter": merge(&output, &[]) => "--adapter";
        "merge without a model": vec!["merge".to_owned(), output.clone(), "--adapter".to_owned(), adapter.clone()] => "--model";
        "merge into a folder with files": merge(&full, &["--adapter", &adapter]) => "argument `output`: found the folder";
        "merge into a file": merge(&file, &["--adapter", &adapter]) => "occupied` (";
        "merge below a file": merge(&format!("{file}/model"), &["--adapter", &adapter]) => "occupied/model";
        "merge to int8": merge(&output, &["--adapter", &adapter, "--dtype", "int8"]) => "argument `dtype`: found int8, expected f32, f16 or bf16";
        "merge of no adapter": merge(&output, &["--adapter", &output]) => "adapter_config.json: cannot be read";
        "merge of a broken adapter": merge(&output, &["--adapter", &adapter]) => "adapter";
        "merge into no model": vec!["merge".to_owned(), output.clone(), "--model".to_owned(), model, "--adapter".to_owned(), adapter.clone()] => "no-model";
        "merge with more scales than adapters": merge(&output, &["--adapter", &adapter, "--adapter-scale", "1", "--adapter-scale", "2"]) => "--adapter-scale: found 2, expected at most 1";
        "merge without a tokenizer": merge(&output, &["--adapter", &adapter, "--processor", &full]) => "--processor";
    }
}

fn images(files: &Files) -> Vec<Case> {
    let jpeg = files.scene_as("scene.jpg");
    let png = files.scene_as("scene.png");
    let mut flipped = png.clone();
    let middle = flipped.len() / 2;
    flipped[middle..middle + 64].fill(0xFF);
    cases! {
        "wrong path": run_image(files.path("nowhere.png")) => "nowhere.png: cannot be read";
        "a folder": run_image(files.0.path().display().to_string()) => "cannot be read";
        "empty file": run_image(files.write("empty.png", b"")) => "empty.png: not a readable image";
        "text file": run_image(files.write("text.png", b"no image")) => "text.png: not a readable image";
        "truncated JPEG": run_image(files.write("short.jpg", &jpeg[..jpeg.len() / 2])) => "short.jpg: not a readable image";
        "JPEG of a header": run_image(files.write("head.jpg", &jpeg[..20])) => "head.jpg: not a readable image";
        "truncated PNG": run_image(files.write("short.png", &png[..png.len() / 2])) => "short.png: not a readable image";
        "corrupt PNG": run_image(files.write("flipped.png", &flipped)) => "flipped.png: not a readable image";
        "decompression bomb": run_image(files.write("bomb.png", &png_of(60_000, 60_000))) => "60000x60000 pixels, expected at most 178956970 in all";
        "more pixels than allowed": run(&["--max-pixels", "36863"]) => "192x192 pixels, expected at most 36863 in all";
        "no pixels": run_image(files.write("none.png", &png_of(0, 7))) => "none.png: not a readable image";
    }
}

/// The start of a PNG that declares a size.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut header = [
        b"IHDR".as_slice(),
        &width.to_be_bytes(),
        &height.to_be_bytes(),
        &[8, 2, 0, 0, 0],
    ]
    .concat();
    let checksum = crc32(&header);
    header.extend(checksum.to_be_bytes());
    let data = b"\0\0\0\0IDAT\x35\xaf\x06\x1e";
    [b"\x89PNG\r\n\x1a\n\0\0\0\x0d".as_slice(), &header, data].concat()
}

/// The CRC-32 of PNG.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

fn models(files: &Files) -> Vec<Case> {
    let weights = fs::read(demo_model().join("model.safetensors")).unwrap();
    let mut not_a_number = weights.clone();
    let end = weights.len();
    not_a_number[end - 2..].copy_from_slice(&0x7E00_u16.to_le_bytes());
    let mut header = weights.clone();
    header[8..16].fill(b'?');
    let folder = |name: &str| {
        fs::create_dir(files.0.path().join(name)).unwrap();
        files.path(name)
    };
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    let with_weights = |name: &str, content: &[u8]| {
        let weights = files.write(name, content);
        run(&[
            "--model",
            demo_model().to_str().unwrap(),
            "--weights",
            &weights,
        ])
    };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let damaged = fixtures.join("weights-files/missing-entry.bin");
    let damaged = damaged.display().to_string();
    let unfit = vec![
        "inspect".to_owned(),
        files.model_with("m0", "config.json", "/text_config/encoder_layers", json!(9)),
    ];
    let mut config: Value =
        serde_json::from_slice(&fs::read(demo_model().join("config.json")).unwrap()).unwrap();
    config["text_config"]["vocab_size"] = json!(300);
    config.as_object_mut().unwrap().remove("image_token_id");
    let shorter_vocabulary = files.model("m20", "config.json", Some(config.to_string().as_bytes()));
    cases! {
        "no such model": run_model(files.path("no/model/here")) => "config.json: cannot be read";
        "empty folder": run_model(folder("hollow")) => "config.json: cannot be read";
        "broken config": run_model(files.model("m1", "config.json", Some(b"{"))) => "config.json";
        "config of another model": run_model(files.model("m2", "config.json", Some(br#"{"model_type": "bert"}"#))) => "config.json";
        "heads that do not divide": run_model(files.model_with("m3", "config.json", "/text_config/encoder_attention_heads", json!(7))) => "encoder_attention_heads";
        "zero heads": run_model(files.model_with("m4", "config.json", "/text_config/decoder_attention_heads", json!(0))) => "decoder_attention_heads";
        "config and weights mismatch": run_model(files.model_with("m5", "config.json", "/text_config/decoder_layers", json!(9))) => "missing";
        "a wrong number": run_model(files.model_with("m6", "config.json", "/text_config/d_model", json!("wide"))) => "d_model";
        "a huge model": run_model(files.model_with("m7", "config.json", "/text_config/vocab_size", json!(u64::MAX))) => "shared.weight";
        "missing weights": run_model(files.model("m8", "model.safetensors", None)) => "model.safetensors";
        "empty weights": run_model(files.model("m9", "model.safetensors", Some(b""))) => "model.safetensors";
        "truncated weights": run_model(files.model("m10", "model.safetensors", Some(&weights[..end / 2]))) => "model.safetensors";
        "corrupt header": run_model(files.model("m11", "model.safetensors", Some(&header))) => "model.safetensors";
        "NaN weights": run_model(files.model("m12", "model.safetensors", Some(&not_a_number))) => "not finite";
        "a Git LFS pointer": run_model(files.model("m26", "model.safetensors", Some(pointer))) => "git lfs pull";
        "a page instead of weights": with_weights("page.bin", b"<!DOCTYPE html><html></html>") => "page.bin: found an HTML page";
        "weights of no format": with_weights("notes.txt", b"weights") => "notes.txt: found a text file";
        "no such weights": run(&["--model", demo_model().to_str().unwrap(), "--weights", "nowhere.bin"]) => "nowhere.bin: cannot be read";
        "inspected damage": vec!["inspect".to_owned(), demo_model().display().to_string(), "--weights".to_owned(), damaged] => "`b.weight`: the archive lacks the entry";
        "weights without a model": run(&["--weights", "model.safetensors"]) => "--model";
        "no tokenizer, no other folder": run_model(files.model("m27", "tokenizer.json", None)) => "--processor";
        "no preprocessor, no other folder": run_model(files.model("m28", "preprocessor_config.json", None)) => "--processor";
        "no processor in the other folder": run(&["--model", demo_model().to_str().unwrap(), "--processor", folder("bare").as_str()]) => "preprocessor_config.json";
        "missing tokenizer": run_model(files.model("m13", "tokenizer.json", None)) => "tokenizer.json";
        "broken tokenizer": run_model(files.model("m14", "tokenizer.json", Some(b"[]"))) => "tokenizer.json";
        "missing preprocessor": run_model(files.model("m15", "preprocessor_config.json", None)) => "preprocessor_config.json";
        "broken preprocessor": run_model(files.model("m16", "preprocessor_config.json", Some(br#"{"size": {"height": 0, "width": 5}}"#))) => "size";
        "broken generation config": run_model(files.model("m17", "generation_config.json", Some(br#"{"num_beams": "many"}"#))) => "num_beams";
        "unsupported options": run_model(files.model("m30", "generation_config.json", Some(br#"{"guidance_scale": 2, "dola_layers": "high"}"#))) => "guidance_scale: found 2";
        "start beyond the vocabulary": run_model(files.model_with("m19", "generation_config.json", "/decoder_start_token_id", json!(9999))) => "decoder_start_token_id";
        "another model's tokenizer": run_model(shorter_vocabulary) => "vocab_size 300";
        "window beyond reason": run_model(files.model_with("m21", "config.json", "/vision_config/window_size", json!(1_u64 << 40))) => "window_size";
        "padding beyond the kernel": run_model(files.model_with("m22", "config.json", "/vision_config/patch_padding/0", json!(1_u64 << 63))) => "patch_padding[0]";
        "depth beyond reason": run_model(files.model_with("m23", "config.json", "/vision_config/depths/0", json!(1_u64 << 40))) => "depths[0]";
        "layers beyond reason": run_model(files.model_with("m24", "config.json", "/text_config/encoder_layers", json!(1_u64 << 40))) => "encoder_layers";
        "missing location token": about_region(run_model(files.model_with("m25", "tokenizer.json", "/added_tokens/9/content", json!("<other>")))) => "task <REGION_TO_CATEGORY>: the tokenizer has no token `<loc_0>`";
        "inspected mismatch": unfit => "does not fit";
        "no such adapter": run(&["--adapter", files.path("lora").as_str()]) => "adapter_config.json";
        "broken adapter": run(&["--adapter", Path::new(&files.model("m18", "adapter_config.json", Some(b"{}"))).to_str().unwrap()]) => "adapter";
        "a scale without an adapter": run(&["--adapter", "x", "--adapter-scale", "1", "--adapter-scale", "2"]) => "--adapter-scale: found 2, expected at most 1";
        "a scale that is not finite": run(&["--adapter", files.model("scaled", "adapter_config.json", Some(b"{}")).as_str(), "--adapter-scale", "NaN"]) => "adapter";
        "unreachable hub": run(&["--model", "nobody/nothing"]) => "nobody/nothing: cannot be pulled";
        "revision of a folder": run(&["--model", demo_model().to_str().unwrap(), "--revision", "main"]) => "--revision: found `main`";
        "revision without a model": run(&["--revision", "main"]) => "--model";
        "impossible revision": run(&["--model", "nobody/nothing", "--revision", "a/../b"]) => "revision: found `a/../b`";
        "wrong hub name": vec!["pull".to_owned(), "../etc".to_owned()] => "expected a model as ORG/NAME";
    }
}

fn questions() -> Vec<Case> {
    let long = "word ".repeat(5000);
    cases! {
        "unknown task": run(&["--task", "DETECT"]) => "task: found `DETECT`";
        "unknown token": run(&["--task", "<OD> and more"]) => "<OD>";
        "input missing": run(&["--task", "CAPTION_TO_PHRASE_GROUNDING"]) => "no input given";
        "box for a text": run(&["--task", "OPEN_VOCABULARY_DETECTION", "--box", "1,1,2,2"]) => "expected a text";
        "text for a region": run(&["--task", "REGION_TO_OCR", "--input", "cat"]) => "expected a region";
        "input for a task that has none": run(&["--task", "OD", "--input", "a dog"]) => "expected none";
        "over-long prompt": run(&["--task", "CAPTION_TO_PHRASE_GROUNDING", "--input", &long]) => "positions are needed, the model has 256";
        "three numbers": run(&["--task", "REGION_TO_CATEGORY", "--box", "1,2,3"]) => "four numbers";
        "box that is no box": run(&["--task", "REGION_TO_CATEGORY", "--box", "9,9,1,1"]) => "region";
        "box of NaN": run(&["--task", "REGION_TO_CATEGORY", "--box", "NaN,0,9,9"]) => "region";
        "input and box": run(&["--input", "a", "--box", "1,1,2,2"]) => "cannot be used with";
        "unknown device": run(&["--device", "abacus"]) => "device: found `abacus`";
        "unknown format": run(&["--format", "xml"]) => "xml";
        "no batch": run(&["--batch-size", "0"]) => "--batch-size";
        "no image": vec!["run".to_owned()] => "required";
        "nowhere to draw": run(&["--draw", "/nowhere/out.png"]) => "/nowhere/out.png: cannot be written";
        "target too long": score(&["--target", &long]) => "positions are needed, the model has 256";
        "score without a target": score(&[]) => "--target";
    }
}

fn generations() -> Vec<Case> {
    cases! {
        "no number of beams": run(&["--num-beams", "x"]) => "florence2: --num-beams: found `x`, expected a whole number";
        "zero beams": run(&["--num-beams", "0"]) => "`num_beams`: found 0";
        "beams beyond reason": run(&["--num-beams", "99999999999"]) => "num_beams";
        "no new tokens": run(&["--max-new-tokens", "0"]) => "max_new_tokens";
        "zero temperature": run(&["--do-sample", "--num-beams", "1", "--temperature", "0"]) => "temperature";
        "NaN temperature": run(&["--do-sample", "--num-beams", "1", "--temperature", "NaN"]) => "temperature";
        "negative top_p": run(&["--do-sample", "--num-beams", "1", "--top-p", "-0.5"]) => "top_p";
        "negative top_k": run(&["--do-sample", "--num-beams", "1", "--top-k", "-1"]) => "top_k";
        "min_p above one": run(&["--do-sample", "--num-beams", "1", "--min-p", "1.5"]) => "min_p";
        "zero top_h": run(&["--do-sample", "--num-beams", "1", "--top-h", "0"]) => "top_h";
        "zero typical_p": run(&["--do-sample", "--num-beams", "1", "--typical-p", "0"]) => "typical_p";
        "forced and suppressed": run(&["--forced-bos-token-id", "7", "--suppress-tokens", "5,7"]) => "forced_bos_token_id";
        "bias out of the vocabulary": run(&["--sequence-bias", "4000000=1"]) => "sequence_bias";
        "two starts for one image": run(&["--decoder-start-token-id", "2,2"]) => "decoder_start_token_id";
        "more answers than beams": run(&["--num-beams", "2", "--num-return-sequences", "3"]) => "num_return_sequences";
        "zero repetition penalty": run(&["--repetition-penalty", "0"]) => "repetition_penalty";
        "unknown early stopping": run(&["--early-stopping", "maybe"]) => "maybe";
        "forced token out of the vocabulary": run(&["--forced-bos-token-id", "4000000"]) => "forced_bos_token_id";
        "suppressed everything": run(&["--suppress-tokens", "x"]) => "x";
    }
}

#[test]
fn every_bad_input_is_one_readable_error() {
    let files = Files(tempfile::tempdir().unwrap());
    let cases: Vec<Case> = [
        images(&files),
        models(&files),
        merging(&files),
        questions(),
        generations(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(cases.len() >= 30);
    let mut wrong = Vec::new();
    for case in cases {
        let arguments: Vec<&str> = case.arguments.iter().map(String::as_str).collect();
        let output = florence2(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let refused = matches!(output.status.code(), Some(1 | 2));
        let readable = said.contains(case.says) && !said.contains("panicked");
        if !refused
            || !readable
            || !output.stdout.is_empty()
                && case.name != "inspected mismatch"
                && case.name != "nowhere to draw"
        {
            wrong.push(format!("{}: {:?}\n{said}", case.name, output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Images with an extreme aspect ratio are valid.
#[test]
fn extreme_images_are_answered() {
    let files = Files(tempfile::tempdir().unwrap());
    for (width, height) in [(1, 1), (1, 20_000), (20_000, 1)] {
        let path: PathBuf = files.0.path().join("thin.png");
        image::RgbImage::new(width, height).save(&path).unwrap();
        let output = florence2(&["run", path.to_str().unwrap(), "--max-new-tokens", "3"]);
        assert!(output.status.success(), "{width}x{height}: {output:?}");
    }
}

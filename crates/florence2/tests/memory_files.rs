//! Models whose files are in memory.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use florence2::{Florence2, Image, LoadOptions, MemoryFiles, Prompt};
use safetensors::tensor::SafeTensors;
use serde_json::{Value, json};

const NAMES: [&str; 4] = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

/// The demo model's files without its weights.
fn without_weights() -> MemoryFiles {
    NAMES.into_iter().map(|name| (name, read(name))).collect()
}

fn load(files: &MemoryFiles) -> florence2::Result<Florence2> {
    Florence2::load_memory(files, &LoadOptions::default())
}

fn error(files: &MemoryFiles) -> String {
    florence2::error_chain(&load(files).err().unwrap())
}

fn token_ids(model: &Florence2) -> Vec<u32> {
    let image = Image::open(folder().join("scenes/scene-1.png")).unwrap();
    let prompt = Prompt::parse("<OD>").unwrap();
    model.run(&image, prompt).unwrap().token_ids
}

/// The demo model's tensors in two shards with their index.
fn add_shards(files: &mut MemoryFiles) {
    let stored = read("model.safetensors");
    let tensors = SafeTensors::deserialize(&stored).unwrap().tensors();
    let (first, second) = tensors.split_at(tensors.len() / 2);
    let mut weight_map = BTreeMap::new();
    for (name, tensors) in [("one.safetensors", first), ("two.safetensors", second)] {
        weight_map.extend(tensors.iter().map(|(key, _)| (key.clone(), name)));
        let shard = safetensors::serialize(tensors.iter().cloned(), None).unwrap();
        files.insert(name, shard);
    }
    let index = json!({ "weight_map": weight_map }).to_string();
    files.insert("model.safetensors.index.json", index.into_bytes());
}

#[test]
fn shards_in_memory_are_the_whole_model() {
    let mut files = without_weights();
    add_shards(&mut files);
    let expected = token_ids(&Florence2::demo().unwrap());
    assert_eq!(token_ids(&load(&files).unwrap()), expected);
}

/// The tokenizer's vocabulary in the layout before `tokenizer.json`.
#[test]
fn a_tokenizer_in_memory_may_have_several_files() {
    let tokenizer: Value = serde_json::from_slice(&read("tokenizer.json")).unwrap();
    let merge = |merge: &Value| match merge {
        Value::Array(pair) => format!(
            "{} {}",
            pair[0].as_str().unwrap(),
            pair[1].as_str().unwrap()
        ),
        line => line.as_str().unwrap().to_owned(),
    };
    let merges: Vec<String> = tokenizer["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(merge)
        .collect();
    let added: serde_json::Map<String, Value> = tokenizer["added_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| {
            (
                token["content"].as_str().unwrap().to_owned(),
                token["id"].clone(),
            )
        })
        .collect();
    let names = NAMES.into_iter().filter(|name| *name != "tokenizer.json");
    let mut files: MemoryFiles = names.map(|name| (name, read(name))).collect();
    files.insert(
        "vocab.json",
        tokenizer["model"]["vocab"].to_string().into_bytes(),
    );
    files.insert("merges.txt", merges.join("\n").into_bytes());
    files.insert(
        "added_tokens.json",
        Value::from(added).to_string().into_bytes(),
    );
    files.insert("model.safetensors", read("model.safetensors"));
    let expected = token_ids(&Florence2::demo().unwrap());
    assert_eq!(token_ids(&load(&files).unwrap()), expected);
}

#[test]
fn a_missing_file_is_named() {
    let mut files = MemoryFiles::new();
    for (name, missing) in [
        ("generation_config.json", "config.json"),
        ("config.json", "preprocessor_config.json"),
        ("preprocessor_config.json", "tokenizer.json"),
        ("tokenizer.json", "model.safetensors"),
    ] {
        files.insert(name, read(name));
        let error = error(&files);
        assert!(error.contains(missing), "{error}");
    }
    add_shards(&mut files);
    let second = files.clone();
    let names = NAMES
        .into_iter()
        .chain(["model.safetensors.index.json", "one.safetensors"]);
    let incomplete: MemoryFiles = names
        .map(|name| (name, second.get(name).unwrap()))
        .collect();
    let error = error(&incomplete);
    assert!(error.contains("two.safetensors"), "{error}");
}

#[test]
fn names_that_no_file_of_a_model_has_are_refused() {
    let mut files = without_weights();
    files.insert("model.safetensors", read("model.safetensors"));
    files.insert("genration_config.json", *b"{}");
    files.insert("README.md", *b"");
    let error = error(&files);
    assert!(
        error.starts_with("argument `files`: found README.md, genration_config.json, "),
        "{error}"
    );
}

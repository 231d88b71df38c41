//! Every file of `expected.json` has the expected values, or the expected words in its error.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use florence2_checkpoint::Checkpoint;
use serde::Deserialize;
use serde_json::Value;

use crate::{chain, fixtures};

#[derive(Deserialize)]
struct Expected {
    tensors: Option<BTreeMap<String, ExpectedTensor>>,
    #[serde(default)]
    error: Vec<String>,
}

#[derive(Deserialize)]
struct ExpectedTensor {
    shape: Vec<usize>,
    dtype: String,
    /// Numbers, or `inf`, `-inf` and `nan` as texts; `None` for integers.
    values: Option<Vec<Value>>,
}

fn expected() -> BTreeMap<String, Expected> {
    let json = std::fs::read(fixtures().join("expected.json")).unwrap();
    serde_json::from_slice(&json).unwrap()
}

/// Reads the files of a folder, or one file, into memory.
fn in_memory(path: &Path) -> Vec<(String, Arc<[u8]>)> {
    let paths: Vec<_> = if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    } else {
        vec![path.to_owned()]
    };
    let file = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap().into())
    };
    paths.iter().map(|path| file(path)).collect()
}

fn from_disk(path: &Path) -> Result<Checkpoint, florence2_checkpoint::Error> {
    if path.is_dir() {
        Checkpoint::open(path)
    } else {
        Checkpoint::open_file(path)
    }
}

#[test]
fn every_file_has_the_values_that_torch_reads() {
    let mut seen = 0;
    for (name, expected) in expected() {
        let Some(tensors) = expected.tensors else {
            continue;
        };
        seen += 1;
        let path = fixtures().join(&name);
        let disk = from_disk(&path).unwrap();
        let memory = Checkpoint::from_files(in_memory(&path)).unwrap();
        for checkpoint in [disk, memory] {
            assert_tensors(&name, &checkpoint, &tensors);
        }
    }
    assert!(seen >= 23, "{seen} files were compared");
}

fn assert_tensors(
    file: &str,
    checkpoint: &Checkpoint,
    expected: &BTreeMap<String, ExpectedTensor>,
) {
    let found: Vec<&String> = checkpoint.tensors.keys().collect();
    assert_eq!(found, expected.keys().collect::<Vec<_>>(), "{file}");
    for (key, tensor) in &checkpoint.tensors {
        let expected = &expected[key];
        assert_eq!(tensor.shape, expected.shape, "{file} {key}");
        assert_eq!(tensor.dtype, expected.dtype, "{file} {key}");
        let values = tensor.to_f32();
        let Some(expected) = &expected.values else {
            let error = values.unwrap_err().to_string();
            assert!(
                error.contains(file) && error.contains(&format!("`{key}`")),
                "{error}"
            );
            assert!(error.contains("I64") && error.contains("F32"), "{error}");
            continue;
        };
        let values = values.unwrap();
        assert_eq!(values.len(), expected.len(), "{file} {key}");
        for (index, (found, expected)) in values.iter().zip(expected).enumerate() {
            let expected = match expected {
                Value::String(text) => text.parse::<f32>().unwrap(),
                number => number.as_f64().unwrap() as f32,
            };
            let equal =
                found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
            assert!(
                equal,
                "{file} {key}[{index}]: found {found:?}, expected {expected:?}"
            );
        }
    }
}

#[test]
fn every_damaged_file_is_an_error_that_names_its_offenders() {
    let mut seen = 0;
    for (name, expected) in expected() {
        if expected.tensors.is_some() {
            continue;
        }
        seen += 1;
        let path = fixtures().join(&name);
        let memory = in_memory(&path);
        for checkpoint in [from_disk(&path), Checkpoint::from_files(memory)] {
            // Checksums of values are verified when the values are read.
            let read = checkpoint.and_then(|checkpoint| {
                let mut tensors = checkpoint.tensors.into_values();
                tensors.try_for_each(|tensor| tensor.to_f32().map(|_| ()))
            });
            let Err(error) = read else {
                panic!("{name}: expected an error");
            };
            let error = error.to_string();
            for word in &expected.error {
                assert!(error.contains(word), "{name}: `{word}` is not in: {error}");
            }
            assert!(!error.contains('\n'), "{name}: {error}");
        }
    }
    assert!(seen >= 25, "{seen} files were refused");
}

/// Damage that can be detected without reading values is reported when a file is opened, and thus
/// by `inspect`.
#[test]
fn missing_and_short_storages_are_found_when_a_file_is_opened() {
    for name in [
        "missing-entry.bin",
        "missing-entries.bin",
        "short-entry.bin",
        "legacy-truncated.bin",
        "truncated.bin",
        "cut.safetensors",
    ] {
        let error = Checkpoint::open_file(&fixtures().join(name)).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// A wrong checksum is reported on every read, and the other tensors remain readable.
#[test]
fn a_wrong_checksum_is_an_error_of_its_tensor_alone() {
    let checkpoint = Checkpoint::open_file(&fixtures().join("wrong-checksum.bin")).unwrap();
    for _ in 0..2 {
        assert!(checkpoint.tensors["b.weight"].to_f32().is_err());
        assert_eq!(checkpoint.tensors["a.weight"].to_f32().unwrap().len(), 12);
    }
}

#[test]
fn two_files_in_memory_with_one_key_are_an_error() {
    let path = fixtures().join("plain.bin");
    let bytes: Arc<[u8]> = std::fs::read(path).unwrap().into();
    let files = ["one.bin", "two.bin"].map(|name| (name.to_owned(), Arc::clone(&bytes)));
    let error = Checkpoint::from_files(files.to_vec())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("one.bin") && error.contains("two.bin"),
        "{error}"
    );
    assert!(error.contains("`a.weight`"), "{error}");
}

#[test]
fn a_folder_without_weights_of_a_known_name_names_the_files_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let open = || chain(&Checkpoint::open(folder.path()).unwrap_err());
    let error = open();
    assert!(
        error.contains("pytorch_model.bin.index.json") && !error.contains("--weights"),
        "{error}"
    );
    std::fs::write(folder.path().join("consolidated.pth"), "").unwrap();
    let error = open();
    assert!(
        error.contains("--weights") && error.contains("consolidated.pth"),
        "{error}"
    );
}

#[test]
fn a_file_of_any_name_is_read_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["plain.bin", "legacy.bin", "numbers.safetensors"] {
        let path = folder.path().join("weights");
        std::fs::copy(fixtures().join(file), &path).unwrap();
        let found = Checkpoint::open_file(&path).unwrap();
        let expected = Checkpoint::open_file(&fixtures().join(file)).unwrap();
        assert!(found.tensors.keys().eq(expected.tensors.keys()), "{file}");
    }
    let index = fixtures().join("bin-shards/pytorch_model.bin.index.json");
    assert_eq!(Checkpoint::open_file(&index).unwrap().tensors.len(), 4);
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_refused_and_does_not_block() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("regular file"), "{error}");
}

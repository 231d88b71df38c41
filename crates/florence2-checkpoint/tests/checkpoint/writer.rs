//! Files that the crate writes: the bytes of the safetensors library, and earlier files that stay if
//! writing fails.

use std::collections::HashMap;
use std::path::Path;

use florence2_checkpoint::{
    Checkpoint, Error, FloatType, SafetensorsWriter, TensorSpec, write_atomic,
};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};

use crate::chain;

/// The names of the files in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Tensors of every type, of several shapes, in the order in which they are written.
fn tensors() -> Vec<(TensorSpec, Vec<f32>)> {
    let spec = |name: &str, shape: &[usize], dtype| TensorSpec::new(name, shape, dtype);
    let values = |count: u16| (0..count).map(|n| f32::from(n) / 4.0 - 3.0).collect();
    vec![
        (spec("z.weight", &[2, 3], FloatType::F16), values(6)),
        (spec("b.weight", &[], FloatType::F32), values(1)),
        (spec("a.bias", &[5], FloatType::Bf16), values(5)),
        (
            spec("large", &[3, 16384], FloatType::F16),
            vec![0.5; 3 * 16384],
        ),
        (spec("a.weight", &[1, 7], FloatType::F32), values(7)),
        (spec("empty", &[0, 4], FloatType::Bf16), Vec::new()),
    ]
}

fn write(path: &Path) -> Result<(), Error> {
    let tensors = tensors();
    let specs = tensors.iter().map(|(spec, _)| spec.clone());
    let mut writer = SafetensorsWriter::create(path, specs)?;
    for (spec, values) in &tensors {
        writer.write(&spec.name, values)?;
    }
    writer.finish()
}

#[test]
fn the_bytes_are_those_of_the_safetensors_library() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path).unwrap();
    let encoded: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors()
        .into_iter()
        .map(|(spec, values)| {
            let values = values.iter();
            let (dtype, bytes) = match spec.dtype {
                FloatType::F32 => (
                    Dtype::F32,
                    values.flat_map(|value| value.to_le_bytes()).collect(),
                ),
                FloatType::F16 => (
                    Dtype::F16,
                    values
                        .flat_map(|value| half::f16::from_f32(*value).to_le_bytes())
                        .collect(),
                ),
                FloatType::Bf16 => (
                    Dtype::BF16,
                    values
                        .flat_map(|value| half::bf16::from_f32(*value).to_le_bytes())
                        .collect(),
                ),
            };
            (spec.name, dtype, spec.shape, bytes)
        })
        .collect();
    let views = encoded.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
        (name, view)
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let expected = serialize(views, Some(metadata)).unwrap();
    assert!(std::fs::read(&path).unwrap() == expected);
    assert_eq!(names(folder.path()), ["model.safetensors"]);
}

#[test]
fn values_are_read_back_as_they_were_rounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rounded.safetensors");
    let values = [1.0 / 3.0, -70000.0, 1e-8, 2049.0];
    let types = [FloatType::F32, FloatType::F16, FloatType::Bf16];
    let specs = types.map(|dtype| TensorSpec::new(format!("{dtype:?}"), [2, 2], dtype));
    let mut writer = SafetensorsWriter::create(&path, specs).unwrap();
    for dtype in types {
        writer.write(&format!("{dtype:?}"), &values).unwrap();
    }
    writer.finish().unwrap();
    let read = Checkpoint::open_file(&path).unwrap();
    let read = |name: &str| read.tensors[name].to_f32().unwrap();
    assert_eq!(read("F32"), values);
    assert_eq!(read("F16"), [0.333_251_95, f32::NEG_INFINITY, 0.0, 2048.0]);
    assert_eq!(
        read("Bf16"),
        [0.333_984_38, -70144.0, 1.001_171_8e-8, 2048.0]
    );
}

#[test]
fn errors_name_the_tensor_and_leave_the_earlier_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write_atomic(&path, b"earlier").unwrap();
    let two = || {
        let spec = |name: &str| TensorSpec::new(name, [2], FloatType::F32);
        SafetensorsWriter::create(&path, ["a", "b"].map(spec)).unwrap()
    };
    let missing = two().finish();
    let unknown = two().write("c", &[1.0]);
    let mut writer = two();
    writer.write("a", &[1.0, 2.0]).unwrap();
    let twice = writer.write("a", &[1.0, 2.0]);
    let short = writer.write("b", &[1.0]);
    drop(writer);
    let same = ["a", "b", "a"].map(|name| TensorSpec::new(name, [1], FloatType::F16));
    let same = SafetensorsWriter::create(&path, same).map(drop);
    let huge = [TensorSpec::new("huge", [usize::MAX, 2], FloatType::F16)];
    let huge = SafetensorsWriter::create(&path, huge).map(drop);
    for (result, expected) in [
        (missing, "tensors without values: a, b"),
        (unknown, "found `c`"),
        (twice, "found `a`"),
        (short, "`b`: found 1 values, expected 2"),
        (same, "several tensors have the name a"),
        (huge, "`huge`: found shape"),
    ] {
        let message = chain(&result.unwrap_err());
        assert!(message.contains("model.safetensors: "), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"earlier");
    assert_eq!(names(folder.path()), ["model.safetensors"]);
}

#[test]
fn a_folder_that_is_missing_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone/config.json");
    for result in [write_atomic(&path, b"{}"), write(&path)] {
        let message = chain(&result.unwrap_err());
        assert!(
            message.contains("config.json: cannot be written: "),
            "{message}"
        );
    }
}

/// The file that the child process of [`a_full_disk_keeps_the_earlier_file`] writes.
const FILE: &str = "FLORENCE2_TEST_FILE";

/// Writes the file in the child process. Without the variable, this test does nothing.
#[test]
fn child_writes_the_file() {
    if let Some(path) = std::env::var_os(FILE) {
        let message = chain(&write(path.as_ref()).unwrap_err());
        assert!(message.contains(": cannot be written: "), "{message}");
    }
}

/// A limit of the file size has the effect of a full disk if its signal is ignored. Otherwise the
/// system kills the process in the middle of writing.
#[cfg(unix)]
#[test]
fn a_full_disk_keeps_the_earlier_file() {
    use std::process::Command;
    for (signal, is_killed) in [("trap '' XFSZ; ", false), ("", true)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write_atomic(&path, b"earlier").unwrap();
        let script = format!("{signal}ulimit -c 0; ulimit -f 8; exec \"$0\" \"$@\"");
        let output = Command::new("sh")
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "writer::child_writes_the_file"])
            .env(FILE, &path)
            .output()
            .unwrap();
        assert_eq!(output.status.success(), !is_killed, "{output:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"earlier");
        let left = names(folder.path()).len();
        assert_eq!(left, if is_killed { 2 } else { 1 });
    }
}

//! Tensors with more values than one thread reads at a time.

use florence2_checkpoint::Checkpoint;
use florence2_checkpoint::Error;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};

use crate::chain;

/// Values for more than two parts, all of which bf16 represents exactly.
fn values() -> Vec<f32> {
    (0..40_000_u16)
        .map(|index| f32::from(index % 251))
        .collect()
}

fn file_of(dtype: Dtype, bytes: &[u8]) -> Vec<u8> {
    let tensor = TensorView::new(dtype, vec![200, 200], bytes).unwrap();
    safetensors::serialize([("weight", tensor)], None).unwrap()
}

#[test]
fn a_tensor_of_many_parts_is_read_whole() {
    let values = values();
    let f32s = values.iter().flat_map(|value| value.to_le_bytes());
    let f16s = values
        .iter()
        .flat_map(|value| f16::from_f32(*value).to_le_bytes());
    let bf16s = values
        .iter()
        .flat_map(|value| bf16::from_f32(*value).to_le_bytes());
    let stored: [(Dtype, Vec<u8>); 3] = [
        (Dtype::F32, f32s.collect()),
        (Dtype::F16, f16s.collect()),
        (Dtype::BF16, bf16s.collect()),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for (dtype, bytes) in stored {
        let bytes = file_of(dtype, &bytes);
        std::fs::write(&path, &bytes).unwrap();
        let file = Checkpoint::open(folder.path()).unwrap();
        let memory = Checkpoint::from_files(vec![("memory".to_owned(), bytes.into())]).unwrap();
        for checkpoint in [file, memory] {
            assert_eq!(checkpoint.tensors["weight"].to_f32().unwrap(), values);
        }
    }
}

#[test]
fn a_file_that_is_cut_after_it_was_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let stored: Vec<u8> = values()
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let bytes = file_of(Dtype::F32, &stored);
    std::fs::write(&path, &bytes).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(bytes.len() as u64 - 1).unwrap();
    let error = checkpoint.tensors["weight"].to_f32().unwrap_err();
    assert!(
        matches!(&error, Error::Io { path: named, .. } if *named == path),
        "{error}"
    );
    let message = chain(&error);
    assert!(message.contains("`weight`"), "{message}");
}

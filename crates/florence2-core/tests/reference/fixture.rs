//! The files and goldens of a tiny model.

use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend as BurnBackend;
use burn::tensor::{Int, Tensor, TensorData};
use florence2_core::weights::{Adapter, Checkpoint, load};
use florence2_core::{
    Florence2Config, Florence2ForConditionalGeneration, ForwardInput, ForwardText,
};
use florence2_kernels::{Backend, Dtype};
use serde_json::Value;

/// The largest allowed difference relative to the largest value: for f32 as stated in
/// `tests/fixtures/manifest.json`, for the others in units of the dtype's rounding, 2^-11 and 2^-8.
pub(crate) fn relative_tolerance(dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F16 => 32.0 * 2.0_f32.powi(-11),
        Dtype::Bf16 => 32.0 * 2.0_f32.powi(-8),
        _ => 1e-4,
    }
}

/// The folder of the repository. For a binary that was built elsewhere, `FLORENCE2_REPOSITORY` sets
/// it.
pub(crate) fn repository() -> PathBuf {
    std::env::var_os("FLORENCE2_REPOSITORY").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        PathBuf::from,
    )
}

pub(crate) const MODELS: [&str; 2] = ["tiny-a", "tiny-b"];

pub(crate) struct Fixture {
    pub(crate) folder: PathBuf,
    pub(crate) goldens: Value,
    tensors: Checkpoint,
}

impl Fixture {
    pub(crate) fn open(model: &str) -> Self {
        let folder = repository().join("tests/fixtures").join(model);
        let goldens = std::fs::read(folder.join("goldens.json")).unwrap();
        Self {
            goldens: serde_json::from_slice(&goldens).unwrap(),
            tensors: Checkpoint::open_file(&folder.join("goldens.safetensors")).unwrap(),
            folder,
        }
    }

    pub(crate) fn model<B: Backend>(
        &self,
        layout: &str,
        adapters: &[Adapter],
    ) -> Florence2ForConditionalGeneration<B> {
        model_of_folder(&self.folder.join(layout), adapters, Dtype::F32)
    }

    pub(crate) fn model_in<B: Backend>(
        &self,
        dtype: Dtype,
    ) -> Florence2ForConditionalGeneration<B> {
        model_of_folder(&self.folder.join("hf"), &[], dtype)
    }

    pub(crate) fn tensor<B: BurnBackend, const D: usize>(&self, name: &str) -> Tensor<B, D> {
        let stored = &self.tensors.tensors[name];
        let data = TensorData::new(stored.to_f32().unwrap(), stored.shape.clone());
        Tensor::from_data(data, &B::Device::default())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.tensors.contains_key(name)
    }

    /// The number of goldens of a kind.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        let names = self.tensors.tensors.keys();
        names.filter(|name| name.starts_with(prefix)).count()
    }

    /// The prompts without padding.
    pub(crate) fn prompts(&self) -> Vec<Vec<i64>> {
        serde_json::from_value(self.goldens["prompts"].clone()).unwrap()
    }

    /// All prompts, padded on the right, and their mask.
    pub(crate) fn padded_prompts<B: Backend>(&self) -> (Tensor<B, 2, Int>, Tensor<B, 2, Int>) {
        let prompts = self.prompts();
        let longest = prompts.iter().map(Vec::len).max().unwrap();
        let mask: Vec<Vec<i64>> = prompts
            .iter()
            .map(|prompt| (0..longest).map(|at| (at < prompt.len()).into()).collect())
            .collect();
        // The ids of the padding must not matter, so any id will do.
        let ids: Vec<Vec<i64>> = prompts
            .into_iter()
            .map(|mut prompt| {
                prompt.resize(longest, 9);
                prompt
            })
            .collect();
        (ids_tensor(&ids), ids_tensor(&mask))
    }

    pub(crate) fn forward_input<B: Backend>(&self) -> ForwardInput<B> {
        let (input_ids, attention_mask) = self.padded_prompts();
        let labels: Vec<Vec<i64>> = serde_json::from_value(self.goldens["labels"].clone()).unwrap();
        let mut text = ForwardText::new(input_ids);
        text.attention_mask = Some(attention_mask);
        text.labels = Some(ids_tensor(&labels));
        ForwardInput::new(self.tensor("pixel_values"), text)
    }
}

pub(crate) fn model_of_folder<B: Backend>(
    folder: &Path,
    adapters: &[Adapter],
    dtype: Dtype,
) -> Florence2ForConditionalGeneration<B> {
    let json = std::fs::read(folder.join("config.json")).unwrap();
    let config = Florence2Config::from_json(&json, "config.json").unwrap();
    let checkpoint = Checkpoint::open(folder).unwrap();
    let device = B::Device::default();
    let (model, _) = load(&config, &checkpoint, adapters, dtype, &device).unwrap();
    model
}

pub(crate) fn ids_tensor<B: BurnBackend>(rows: &[Vec<i64>]) -> Tensor<B, 2, Int> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), &B::Device::default())
}

/// Asserts equality up to [`relative_tolerance`] of the largest expected value.
pub(crate) fn assert_close<B: BurnBackend, const D: usize>(
    name: &str,
    found: Tensor<B, D>,
    expected: Tensor<B, D>,
) {
    assert_close_as(Dtype::F32, name, found, expected);
}

/// [`assert_close`] for results in a dtype.
pub(crate) fn assert_close_as<B: BurnBackend, const D: usize>(
    dtype: Dtype,
    name: &str,
    found: Tensor<B, D>,
    expected: Tensor<B, D>,
) {
    assert_eq!(found.dims(), expected.dims(), "{name}");
    let found: Vec<f32> = found.into_data().convert::<f32>().to_vec().unwrap();
    let expected: Vec<f32> = expected.into_data().to_vec().unwrap();
    let largest = expected
        .iter()
        .fold(0.0_f32, |max, value| max.max(value.abs()));
    let difference = found
        .iter()
        .zip(&expected)
        .fold(0.0_f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(largest > 0.0, "{name}: the golden is all zeros");
    let tolerance = relative_tolerance(dtype);
    assert!(
        difference <= tolerance * largest,
        "{name}: found a difference of {difference}, expected at most {tolerance} of {largest}"
    );
}

/// Asserts that the loss is equal up to [`relative_tolerance`].
pub(crate) fn assert_loss<B: BurnBackend>(
    dtype: Dtype,
    found: Option<Tensor<B, 1>>,
    fixture: &Fixture,
) {
    let found = found.unwrap().into_data().convert::<f32>();
    let found: f32 = found.to_vec().unwrap()[0];
    let expected = fixture.goldens["loss"].as_f64().unwrap() as f32;
    assert!(
        (found - expected).abs() <= relative_tolerance(dtype) * expected,
        "loss: found {found}, expected {expected}"
    );
}

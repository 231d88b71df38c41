//! The demo model's answers on its two scenes, compared with those of transformers 5.17 with the
//! model's own generation settings: ids and texts must be equal, sequence scores equal to 1e-3.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use florence2::{Dtype, Florence2, Image, LoadOptions, MemoryFiles, Prompt};
use safetensors::tensor::{Dtype as FileDtype, SafeTensors, TensorView};
use serde_json::{Map, Value};

fn scenes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model/scenes")
}

fn expected(name: &str) -> Map<String, Value> {
    let json = std::fs::read(scenes().join(name)).unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap() as u32)
        .collect()
}

fn check(image: &str, answers: &str) {
    let model = Florence2::demo().unwrap();
    let image = Image::open(scenes().join(image)).unwrap();
    let expected = expected(answers);
    assert!(!expected.is_empty());
    let mut together = Vec::new();
    for (question, reference) in &expected {
        let prompt = Prompt::parse(question).unwrap();
        let answer = model.run(&image, prompt.clone()).unwrap();
        assert_eq!(
            answer.token_ids,
            ids(&reference["reference_ids"]),
            "{question}"
        );
        assert_eq!(answer.raw_text, reference["reference_text"], "{question}");
        let score = reference["reference_sequence_score"].as_f64().unwrap();
        assert!(
            (f64::from(answer.sequence_score) - score).abs() < 1e-3,
            "{question}"
        );
        together.push((prompt, answer.token_ids));
    }
    let requests: Vec<(&Image, Prompt)> = together
        .iter()
        .map(|(prompt, _)| (&image, prompt.clone()))
        .collect();
    let answers = model.batch(requests).run_all().unwrap();
    for ((prompt, alone), answer) in together.iter().zip(&answers) {
        assert_eq!(&answer.token_ids, alone, "in a batch: {prompt:?}");
    }
}

#[test]
fn first_scene_equals_the_reference() {
    check("scene-1.png", "scene-1.json");
}

#[test]
fn second_scene_equals_the_reference() {
    check("scene-2.jpg", "scene-2.json");
}

/// Narrow weights give the same captions and labels. They may select a neighbouring location token,
/// which is almost equally likely: boxes move by a few hundredths of the image.
#[test]
fn narrow_weights_answer_alike() {
    const MOVED: f64 = 0.03;
    let wide = Florence2::demo().unwrap();
    for dtype in [Dtype::F16, Dtype::Bf16, Dtype::Int8] {
        let options = LoadOptions::default().dtype(dtype);
        let narrow = Florence2::demo_with(&options).unwrap();
        assert_eq!(narrow.dtype(), dtype);
        for scene in ["scene-1.png", "scene-2.jpg"] {
            let image = Image::open(scenes().join(scene)).unwrap();
            let [found, expected] = [&narrow, &wide].map(|model| {
                let captioned = model.run(&image, Prompt::parse("<DETAILED_CAPTION>").unwrap());
                let detected = model.run(&image, Prompt::parse("<OD>").unwrap());
                (captioned.unwrap(), detected.unwrap())
            });
            assert_eq!(found.0.raw_text, expected.0.raw_text, "{dtype} {scene}");
            let regions = [&found.1, &expected.1].map(|answer| &answer.regions);
            assert_eq!(regions[0].len(), regions[1].len(), "{dtype} {scene}");
            for (found, expected) in regions[0].iter().zip(regions[1]) {
                assert_eq!(found.label, expected.label, "{dtype} {scene}");
                let sides = [image.width(), image.height()].map(f64::from);
                let [found, expected] = [found, expected].map(|region| region.shape.points());
                for (found, expected) in found.iter().zip(&expected) {
                    for axis in [0, 1] {
                        let moved = (found[axis] - expected[axis]).abs() / sides[axis];
                        assert!(moved <= MOVED, "{dtype} {scene}: {moved}");
                    }
                }
            }
        }
    }
}

/// The demo model's weights are stored in f16, so keeping them in f16 does not change them.
#[cfg(feature = "flex")]
#[test]
fn f16_answers_as_f32_does_where_weights_are_of_it() {
    let image = Image::open(scenes().join("scene-1.png")).unwrap();
    let [narrow, wide] = [Dtype::F16, Dtype::F32].map(|dtype| {
        let model = Florence2::demo_with(&LoadOptions::default().device("cpu").dtype(dtype));
        let prompt = Prompt::parse("<DETAILED_CAPTION>").unwrap();
        model.unwrap().run(&image, prompt).unwrap()
    });
    assert_eq!(narrow.token_ids, wide.token_ids);
    assert_eq!(narrow.sequence_score, wide.sequence_score);
}

/// A weight beyond the range of f16 is an error that names it; it does not become infinite.
#[cfg(feature = "flex")]
#[test]
fn f16_refuses_weights_beyond_its_range() {
    const KEY: &str = "model.language_model.decoder.layers.0.fc1.weight";
    let folder = scenes().join("..");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let stored = read("model.safetensors");
    let mut tensors: Vec<(String, TensorView<'_>)> =
        SafeTensors::deserialize(&stored).unwrap().tensors();
    let (_, tensor) = tensors.iter_mut().find(|(key, _)| key == KEY).unwrap();
    let shape = tensor.shape().to_vec();
    let values = 70_000.0_f32.to_le_bytes().repeat(shape.iter().product());
    *tensor = TensorView::new(FileDtype::F32, shape, &values).unwrap();
    let weights: Arc<[u8]> = safetensors::serialize(tensors, None).unwrap().into();
    let load = |dtype| {
        let names = ["config.json", "preprocessor_config.json", "tokenizer.json"];
        let mut files: MemoryFiles = names.map(|name| (name, read(name))).into_iter().collect();
        files.insert("model.safetensors", weights.clone());
        let options = LoadOptions::default().dtype(dtype);
        Florence2::load_memory(&files, &options)
    };
    load(Dtype::F32).unwrap();
    let error = load(Dtype::F16).err().unwrap().to_string();
    let expected = format!(
        "argument `dtype`: found f16 for `{KEY}`, which holds 70000, expected a type of larger \
         range than 65504"
    );
    assert_eq!(error, expected);
}

#[test]
fn a_folder_and_bytes_hold_the_same_model() {
    let folder = scenes().join("..");
    let image = Image::open(scenes().join("scene-1.png")).unwrap();
    let answer = |model: Florence2| model.run(&image, Prompt::parse("<OD>").unwrap()).unwrap();
    let embedded = answer(Florence2::demo().unwrap());
    let loaded = answer(Florence2::load(&folder).unwrap());
    assert_eq!(embedded.token_ids, loaded.token_ids);
    assert_eq!(embedded.sequence_score, loaded.sequence_score);
}

//! Devices by name: which there are, what the demo model answers on each, and what is said of those
//! that are not there.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use florence2::{Error, Florence2, Image, LoadOptions, Precision, Prompt, devices};
use serde_json::{Map, Value, json};

fn demo(device: &str) -> Result<Florence2, Error> {
    Florence2::demo_with(&LoadOptions {
        device: device.to_owned(),
        ..LoadOptions::default()
    })
}

/// The names that a build may know, each with whether this one does.
const BACKENDS: [(&str, bool); 5] = [
    ("cuda", cfg!(feature = "cuda")),
    ("rocm", cfg!(feature = "rocm")),
    ("wgpu", cfg!(feature = "wgpu")),
    (
        "vulkan",
        cfg!(all(feature = "vulkan", not(target_os = "macos"))),
    ),
    ("metal", cfg!(all(feature = "metal", target_os = "macos"))),
];

#[test]
fn the_demo_model_answers_alike_on_every_device() {
    let scenes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model/scenes");
    let image = Image::open(scenes.join("scene-1.png")).unwrap();
    let json = std::fs::read(scenes.join("scene-1.json")).unwrap();
    let expected: Map<String, Value> = serde_json::from_slice(&json).unwrap();
    let devices = devices();
    assert!(!devices.is_empty());
    for device in devices {
        let model = demo(&device).unwrap();
        assert_eq!(model.device(), device);
        for question in ["<OD>", "<CAPTION>"] {
            let answer = model.run(&image, Prompt::parse(question).unwrap()).unwrap();
            let found = json!(answer.token_ids);
            assert_eq!(
                found, expected[question]["reference_ids"],
                "{device} {question}"
            );
        }
    }
}

#[test]
fn auto_takes_a_device_that_works() {
    let model = demo("auto").unwrap();
    assert!(devices().iter().any(|device| device == model.device()));
}

/// GPUs keep weights in f32 alone.
#[cfg(feature = "flex")]
#[test]
fn auto_takes_a_device_that_has_the_precision() {
    let model = Florence2::demo_with(&LoadOptions {
        dtype: Precision::Int8,
        ..LoadOptions::default()
    });
    assert_eq!(model.unwrap().device(), "cpu");
}

#[test]
fn a_backend_of_another_build_is_no_device() {
    for (backend, _) in BACKENDS.iter().filter(|(_, known)| !known) {
        let error = demo(backend).err().unwrap();
        assert!(matches!(error, Error::Device { .. }), "{error}");
    }
    for name in ["gpu", "cpu:0", "cuda:", "cuda:first", "wgpu:-1", ""] {
        let error = demo(name).err().unwrap();
        assert!(matches!(error, Error::Device { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("found `{name}`, expected one of auto"))
        );
    }
}

/// A machine has no GPU, or not a hundred.
#[test]
fn a_gpu_that_is_not_there_is_an_error_that_says_what_was_expected() {
    for (backend, _) in BACKENDS.iter().filter(|(_, known)| *known) {
        let name = format!("{backend}:99");
        let error = demo(&name).err().unwrap();
        assert!(matches!(error, Error::DeviceUnavailable { .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.contains(&name) && message.contains("expected"),
            "{message}"
        );
    }
}

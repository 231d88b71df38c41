//! Devices by name: which there are, what the demo model answers on each, and what is said of those
//! that are not there.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use florence2::{Error, Florence2, Image, LoadOptions, Precision, Prompt, devices};
use serde_json::{Map, Value, json};

fn demo(device: &str) -> Result<Florence2, Error> {
    demo_in(device, Precision::F32)
}

fn demo_in(device: &str, dtype: Precision) -> Result<Florence2, Error> {
    Florence2::demo_with(&LoadOptions {
        device: device.to_owned(),
        dtype,
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

/// GPUs keep no weights in int8.
#[cfg(feature = "flex")]
#[test]
fn auto_takes_a_device_that_has_the_dtype() {
    for dtype in Precision::ALL {
        let model = demo_in("auto", dtype).unwrap();
        assert_eq!(model.dtype(), dtype);
        if dtype == Precision::Int8 {
            assert_eq!(model.device(), "cpu");
        }
    }
}

/// What a kind of device has whatever the machine; GPUs may have more.
fn dtypes_of(device: &str) -> &'static [Precision] {
    match device.split(':').next() {
        Some("cpu") => &Precision::ALL,
        _ => &[Precision::F32],
    }
}

#[test]
fn a_device_keeps_weights_in_a_dtype_or_says_in_which_it_does() {
    for (device, dtype) in devices()
        .iter()
        .flat_map(|device| Precision::ALL.map(|dtype| (device, dtype)))
    {
        match demo_in(device, dtype) {
            Ok(model) => assert_eq!((model.device(), model.dtype()), (device.as_str(), dtype)),
            Err(error) => {
                assert!(matches!(error, Error::Dtype { .. }), "{error}");
                assert!(!dtypes_of(device).contains(&dtype), "{error}");
                let (found, expected) = (
                    format!("dtype: found {dtype}, expected f32"),
                    format!(" on device `{device}`"),
                );
                let message = error.to_string();
                assert!(
                    message.starts_with(&found) && message.ends_with(&expected),
                    "{message}"
                );
            }
        }
    }
}

/// Graphics APIs do not compute with bf16, and no GPU with int8.
#[cfg(feature = "wgpu")]
#[test]
fn a_graphics_api_has_no_dtype_of_bf16_or_int8() {
    let gpus = devices();
    let gpus = gpus.iter().filter(|device| {
        let backend = device.split(':').next().unwrap();
        ["wgpu", "vulkan", "metal"].contains(&backend)
    });
    for (device, dtype) in
        gpus.flat_map(|gpu| [Precision::Bf16, Precision::Int8].map(|dtype| (gpu, dtype)))
    {
        let error = demo_in(device, dtype).err().unwrap();
        assert!(matches!(error, Error::Dtype { .. }), "{error}");
    }
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

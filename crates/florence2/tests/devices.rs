//! Devices by name: the list of devices, the demo model's answers on each, and the errors for
//! devices that do not exist.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use florence2::{Answer, Dtype, Error, Florence2, Image, LoadOptions, Prompt, Task, devices};
#[cfg(feature = "wgpu")]
use florence2::{MemoryFiles, RunOptions};
use serde_json::{Map, Value, json};

fn demo(device: &str) -> Result<Florence2, Error> {
    demo_in(device, Dtype::F32)
}

fn demo_in(device: &str, dtype: Dtype) -> Result<Florence2, Error> {
    Florence2::demo_with(&LoadOptions::default().device(device).dtype(dtype))
}

/// Pairs of every device and every dtype, whether the device supports it or not.
fn in_every_dtype(devices: &[String]) -> impl Iterator<Item = (&str, Dtype)> {
    devices
        .iter()
        .flat_map(|device| Dtype::ALL.map(|dtype| (device.as_str(), dtype)))
}

/// The backend names of all builds, each with whether this build has the backend.
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

/// The location scores of the regions of an answer.
fn location_scores(answer: &Answer) -> Vec<f32> {
    let scores = answer.regions.iter().filter_map(|region| region.score);
    scores.map(|score| score.locations).collect()
}

/// In bf16 and int8, the demo model's answers differ from the expected ones.
#[test]
fn the_demo_model_answers_alike_on_every_device() {
    let scenes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model/scenes");
    let image = Image::open(scenes.join("scene-1.png")).unwrap();
    let json = std::fs::read(scenes.join("scene-1.json")).unwrap();
    let expected: Map<String, Value> = serde_json::from_slice(&json).unwrap();
    let devices = devices();
    assert!(!devices.is_empty());
    let exact = [Dtype::F32, Dtype::F16];
    // CPUs are the last devices.
    let on_cpu = demo(devices.last().unwrap()).unwrap();
    let on_cpu = on_cpu.run(&image, Task::ObjectDetection).unwrap();
    let expected_scores = location_scores(&on_cpu);
    assert_eq!(expected_scores.len(), 3);
    for (device, dtype) in in_every_dtype(&devices).filter(|(_, dtype)| exact.contains(dtype)) {
        let model = match demo_in(device, dtype) {
            Err(Error::Dtype { .. }) => continue,
            model => model.unwrap(),
        };
        assert_eq!(model.device(), device);
        for question in ["<OD>", "<CAPTION>"] {
            let answer = model.run(&image, Prompt::parse(question).unwrap()).unwrap();
            let found = json!(answer.token_ids);
            assert_eq!(
                found, expected[question]["reference_ids"],
                "{device} {dtype} {question}"
            );
            if question == "<OD>" {
                let pairs = location_scores(&answer);
                for (found, expected) in pairs.iter().zip(&expected_scores) {
                    let tolerance = if dtype == Dtype::F32 { 1e-3 } else { 2e-2 };
                    let difference = (found - expected).abs();
                    assert!(
                        difference < tolerance,
                        "{device} {dtype}: {found}, {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn auto_takes_a_device_that_works() {
    let model = demo("auto").unwrap();
    assert!(devices().iter().any(|device| device == model.device()));
}

/// GPUs do not support int8 weights.
#[cfg(feature = "flex")]
#[test]
fn auto_takes_a_device_that_has_the_dtype() {
    for dtype in Dtype::ALL {
        let model = demo_in("auto", dtype).unwrap();
        assert_eq!(model.dtype(), dtype);
        if dtype == Dtype::Int8 {
            assert_eq!(model.device(), "cpu");
        }
    }
}

/// The dtypes that a kind of device supports on every machine; GPUs may support more.
fn dtypes_of(device: &str) -> &'static [Dtype] {
    match device.split(':').next() {
        Some("cpu") => &Dtype::ALL,
        _ => &[Dtype::F32],
    }
}

#[test]
fn a_device_keeps_weights_in_a_dtype_or_says_in_which_it_does() {
    for (device, dtype) in in_every_dtype(&devices()) {
        match demo_in(device, dtype) {
            Ok(model) => assert_eq!((model.device(), model.dtype()), (device, dtype)),
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

/// The GPUs of a graphics API.
#[cfg(feature = "wgpu")]
fn graphics_devices() -> Vec<String> {
    let of_graphics = |device: &String| {
        let backend = device.split(':').next().unwrap();
        ["wgpu", "vulkan", "metal"].contains(&backend)
    };
    devices().into_iter().filter(of_graphics).collect()
}

/// Graphics APIs do not support bf16, and no GPU supports int8.
#[cfg(feature = "wgpu")]
#[test]
fn a_graphics_api_has_no_dtype_of_bf16_or_int8() {
    for device in graphics_devices() {
        for dtype in [Dtype::Bf16, Dtype::Int8] {
            let error = demo_in(&device, dtype).err().unwrap();
            assert!(matches!(error, Error::Dtype { .. }), "{error}");
        }
    }
}

/// Buffers have at most 4 GiB: an embedding matrix of 2^30 rows of 128 f32 exceeds every limit.
#[cfg(feature = "wgpu")]
#[test]
fn a_weight_that_a_gpu_cannot_hold_is_named_with_its_bytes() {
    const ROWS: usize = 1 << 30;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let mut config: Value = serde_json::from_slice(&read("config.json")).unwrap();
    config["text_config"]["vocab_size"] = json!(ROWS);
    let names = [
        "preprocessor_config.json",
        "tokenizer.json",
        "model.safetensors",
    ];
    let mut files: MemoryFiles = names.map(|name| (name, read(name))).into_iter().collect();
    files.insert("config.json", config.to_string().into_bytes());
    for device in graphics_devices() {
        let options = LoadOptions::default().device(&device);
        let error = Florence2::load_memory(&files, &options).err().unwrap();
        assert!(matches!(error, Error::DeviceUnavailable { .. }), "{error}");
        let message = error.to_string();
        let expected = format!(
            "device `{device}`: `model.language_model.shared.weight`: found {} bytes, expected at most ",
            ROWS * 128 * 4
        );
        assert!(message.starts_with(&expected), "{message}");
    }
}

/// The pixels of 400 images exceed lavapipe's maximum buffer size of 128 MiB: the device must not
/// return stale memory as an answer. On a GPU with enough memory, each image gets its own answer.
#[cfg(feature = "wgpu")]
#[test]
fn a_batch_that_a_gpu_cannot_hold_is_an_error_that_another_load_ends() {
    let image = Image::from_rgb(192, 192, vec![90; 3 * 192 * 192]).unwrap();
    let images = vec![image; 400];
    let caption = || Prompt::parse("<CAPTION>").unwrap();
    let requests = || images.iter().map(|image| (image, caption()));
    let options = RunOptions::default().max_new_tokens(2).num_beams(1);
    for device in graphics_devices() {
        let model = demo(&device).unwrap();
        let run = |model: &Florence2| {
            let request = model.request(&images[0], caption());
            request.options(options.clone()).run()
        };
        let expected = run(&model).unwrap().token_ids;
        match model.batch(requests()).options(options.clone()).run_all() {
            Ok(answers) => assert!(answers.iter().all(|answer| answer.token_ids == expected)),
            Err(error) => {
                assert!(matches!(error, Error::DeviceFailed { .. }), "{error}");
                let message = error.to_string();
                assert!(
                    message.contains(&device) && message.contains("expected enough memory"),
                    "{message}"
                );
                let later = run(&model).err().unwrap();
                assert_eq!(later.to_string(), message);
            }
        }
        drop(model);
        let anew = demo(&device).unwrap();
        assert_eq!(run(&anew).unwrap().token_ids, expected);
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

/// No machine has a hundred GPUs.
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

//! Pixel values equal Pillow's and transformers': `tests/fixtures/images.py`.

#![allow(clippy::unwrap_used)]

mod common;

use common::{bytes, fixture, fnv1a, picture};
use florence2_processor::{Image, ImageProcessor, PreprocessorConfig, Size};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Resizing {
    cases: Vec<ResizeCase>,
}

#[derive(Deserialize)]
struct ResizeCase {
    picture: String,
    size: (u32, u32),
    to: (u32, u32),
    resample: u8,
    #[serde(flatten)]
    expected: Expected,
}

/// All values if they are few, otherwise the hash of their bytes.
#[derive(Deserialize)]
struct Expected {
    values: Option<String>,
    hash: Option<String>,
}

#[derive(Deserialize)]
struct Preprocessing {
    cases: Vec<PreprocessCase>,
}

#[derive(Deserialize)]
struct PreprocessCase {
    config: Value,
    size: (u32, u32),
    shape: [usize; 4],
    pillow: Expected,
    torchvision: Option<Expected>,
}

impl Expected {
    fn equals(&self, found: &[u8]) -> bool {
        match (&self.values, &self.hash) {
            (Some(values), None) => bytes(values) == found,
            (None, Some(hash)) => *hash == fnv1a(found),
            _ => panic!("values or a hash"),
        }
    }

    fn floats(&self) -> Option<Vec<f32>> {
        let bytes = bytes(self.values.as_ref()?);
        let (values, _) = bytes.as_chunks::<4>();
        Some(values.iter().copied().map(f32::from_le_bytes).collect())
    }
}

fn drawn(kind: &str, (width, height): (u32, u32)) -> Image {
    Image::from_rgb(width, height, picture(kind, width, height)).unwrap()
}

/// The bytes of a resized image without normalisation, in row-major order.
fn resized(image: &Image, (width, height): (u32, u32), resample: u8) -> Vec<u8> {
    let mut config = PreprocessorConfig::default();
    config.size = Size::Exact { height, width };
    config.resample = resample;
    config.do_rescale = false;
    config.do_normalize = false;
    let processor = ImageProcessor::new(config);
    let values = processor.preprocess(&[image]).unwrap();
    assert_eq!(values.shape, [1, 3, height as usize, width as usize]);
    let pixels = width as usize * height as usize;
    let value = |index: usize| values.data[index % 3 * pixels + index / 3] as u8;
    (0..3 * pixels).map(value).collect()
}

/// The values must be bit-identical. The acceptance criterion is weaker: a difference of at most 1,
/// and of 0 for 99.9 % of the values.
#[test]
fn resizing_equals_pillow() {
    let resizing: Resizing = fixture("resize.json");
    assert!(resizing.cases.len() > 90);
    let different: Vec<String> = resizing
        .cases
        .iter()
        .filter(|case| {
            let found = resized(&drawn(&case.picture, case.size), case.to, case.resample);
            !case.expected.equals(&found)
        })
        .map(|case| {
            format!(
                "{} {:?} to {:?} by {}",
                case.picture, case.size, case.to, case.resample
            )
        })
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn pixel_values_equal_transformers() {
    let preprocessing: Preprocessing = fixture("pixel_values.json");
    assert!(preprocessing.cases.len() > 30);
    let mut torchvision_cases = 0;
    for case in preprocessing.cases {
        let name = format!("{:?} {}", case.size, case.config);
        let config =
            PreprocessorConfig::from_json(case.config.to_string().as_bytes(), "config").unwrap();
        let image = drawn("noise", case.size);
        let values = ImageProcessor::new(config).preprocess(&[&image]).unwrap();
        assert_eq!(values.shape, case.shape, "{name}");
        let found: Vec<u8> = values.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert!(case.pillow.equals(&found), "{name}");
        // Torchvision's backend rescales and normalises in one step, so the last bits differ.
        let Some(expected) = case.torchvision.and_then(|expected| expected.floats()) else {
            continue;
        };
        torchvision_cases += 1;
        assert_eq!(expected.len(), values.data.len());
        for (found, expected) in values.data.iter().zip(expected) {
            let tolerance = 1e-6 * expected.abs().max(1.0);
            assert!(
                (found - expected).abs() <= tolerance,
                "{name}: {found} {expected}"
            );
        }
    }
    assert_eq!(torchvision_cases, 5);
}

#[test]
fn images_of_a_batch_follow_each_other() {
    let mut config = PreprocessorConfig::default();
    config.size = Size::Exact {
        height: 5,
        width: 4,
    };
    let processor = ImageProcessor::new(config);
    let (one, two) = (drawn("noise", (9, 7)), drawn("ramp", (3, 30)));
    let batch = processor.preprocess(&[&one, &two]).unwrap();
    assert_eq!(batch.shape, [2, 3, 5, 4]);
    let alone = [&one, &two].map(|image| processor.preprocess(&[image]).unwrap().data);
    assert_eq!(batch.data, alone.concat());
    assert_eq!(processor.preprocess(&[]).unwrap().shape, [0, 3, 0, 0]);
}

#[test]
fn images_of_different_sizes_make_no_batch() {
    let mut config = PreprocessorConfig::default();
    config.do_resize = false;
    let processor = ImageProcessor::new(config);
    let images = [drawn("noise", (9, 7)), drawn("noise", (7, 9))];
    let error = processor
        .preprocess(&[&images[0], &images[1]])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("7x9") && error.contains("one size"),
        "{error}"
    );
}

#[test]
fn the_output_size_is_that_of_the_pixel_values() {
    let crop = Size::Exact {
        height: 6,
        width: 5,
    };
    let shortest = Size::ShortestEdge {
        shortest_edge: 8,
        longest_edge: None,
    };
    let image = drawn("noise", (9, 17));
    for (size, do_resize, do_center_crop, expected) in [
        (crop, true, false, (5, 6)),
        (shortest, true, false, (8, 15)),
        (shortest, false, false, (9, 17)),
        (shortest, true, true, (5, 6)),
    ] {
        let mut config = PreprocessorConfig::default();
        config.size = size;
        config.do_resize = do_resize;
        config.do_center_crop = do_center_crop;
        config.crop_size = Some(crop);
        let processor = ImageProcessor::new(config);
        let output = processor.output_size(image.size()).unwrap();
        assert_eq!((output.width, output.height), expected);
        let pixels = processor.preprocess(&[&image]).unwrap();
        let (width, height) = (output.width as usize, output.height as usize);
        assert_eq!(pixels.shape, [1, 3, height, width]);
    }
}

#[test]
fn a_side_that_would_vanish_or_explode_is_an_error() {
    for size in [
        Size::ShortestEdge {
            shortest_edge: 768,
            longest_edge: None,
        },
        Size::Fit {
            max_height: 768,
            max_width: 768,
        },
    ] {
        let mut config = PreprocessorConfig::default();
        config.size = size;
        let processor = ImageProcessor::new(config);
        let error = processor
            .preprocess(&[&drawn("noise", (1, 20_000))])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("1x20000") && error.contains("`size`"),
            "{error}"
        );
    }
}

#[test]
fn numbers_are_read_in_every_form() {
    let read = |json: &str| PreprocessorConfig::from_json(json.as_bytes(), "config").unwrap();
    let exact = |height, width| Size::Exact { height, width };
    for (json, size) in [
        (
            r#"{"size": {"height": 192.0, "width": 64}}"#,
            exact(192, 64),
        ),
        (r#"{"size": [192.0, 64.0]}"#, exact(192, 64)),
        (
            r#"{"size": 192.0}"#,
            Size::ShortestEdge {
                shortest_edge: 192,
                longest_edge: None,
            },
        ),
        (
            r#"{"size": {"max_height": 192.0, "max_width": 64.0}}"#,
            Size::Fit {
                max_height: 192,
                max_width: 64,
            },
        ),
    ] {
        assert_eq!(read(json).size, size, "{json}");
    }
    let crop = read(r#"{"do_center_crop": true, "crop_size": 64.0}"#);
    assert_eq!(crop.crop_size, Some(exact(64, 64)));
    let numbers = read(r#"{"image_mean": 0.5, "image_std": 1}"#);
    assert_eq!(
        (numbers.image_mean, numbers.image_std),
        ([0.5; 3], [1.0; 3])
    );
    for (json, named) in [
        (
            r#"{"size": {"height": 192.5, "width": 64}}"#,
            "size: expected height and width",
        ),
        (
            r#"{"size": {"height": -1, "width": 64}}"#,
            "size: expected height and width",
        ),
        (r#"{"size": "768"}"#, "size: expected height and width"),
        (
            r#"{"image_mean": "0.5"}"#,
            "image_mean: expected a number or three numbers",
        ),
        (
            r#"{"image_std": [1, 1]}"#,
            "image_std: expected a number or three numbers",
        ),
        (r#"{"image_std": 0}"#, "`image_std`"),
    ] {
        let error = PreprocessorConfig::from_json(json.as_bytes(), "config");
        let error = error.unwrap_err().to_string();
        assert!(error.contains(named), "{json}: {error}");
    }
}

#[test]
fn broken_configurations_name_the_field() {
    for (json, named) in [
        ("", "EOF"),
        ("[]", "expected a map"),
        (r#"{"resample": 6}"#, "`resample`: found 6, expected 0 to 5"),
        (r#"{"resample": "bicubic"}"#, "resample"),
        (r#"{"do_resize": 1}"#, "do_resize"),
        (r#"{"size": {"height": 0, "width": 4}}"#, "`size`"),
        (r#"{"size": {"height": 99999, "width": 4}}"#, "`size`"),
        (
            r#"{"size": {"height": 4}}"#,
            "size: expected height and width",
        ),
        (
            r#"{"size": {"longest_edge": 4}}"#,
            "size: expected height and width",
        ),
        (
            r#"{"size": {"height": 4, "width": 4, "shortest_edge": 4}}"#,
            "size: expected height",
        ),
        (r#"{"size": {"side": 4}}"#, "size"),
        (r#"{"do_center_crop": true}"#, "`crop_size`"),
        (
            r#"{"do_center_crop": true, "crop_size": {"shortest_edge": 4}}"#,
            "`crop_size`",
        ),
        (r#"{"image_std": [1, 0, 1]}"#, "`image_std`"),
        (r#"{"image_mean": [1, 0]}"#, "image_mean"),
        (r#"{"image_mean": [1, 0, 1e999]}"#, "number out of range"),
        (r#"{"image_processor": {"resample": 7}}"#, "`resample`"),
    ] {
        let error = PreprocessorConfig::from_json(json.as_bytes(), "folder/config.json")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("folder/config.json: "), "{error}");
        assert!(error.contains(named), "{json}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

/// transformers 5 saves one file, `processor_config.json`, and prefers it to the older one.
#[test]
fn the_folder_is_read_as_transformers_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let missing = PreprocessorConfig::from_dir(folder.path()).unwrap_err();
    assert!(missing.to_string().contains("preprocessor_config.json"));
    let write = |name: &str, json: &str| std::fs::write(folder.path().join(name), json).unwrap();
    let resample = || {
        PreprocessorConfig::from_dir(folder.path())
            .unwrap()
            .resample
    };
    write("preprocessor_config.json", r#"{"resample": 2}"#);
    assert_eq!(resample(), 2);
    write(
        "processor_config.json",
        r#"{"processor_class": "Florence2Processor"}"#,
    );
    assert_eq!(resample(), 2);
    write(
        "processor_config.json",
        r#"{"image_processor": {"resample": 1}}"#,
    );
    assert_eq!(resample(), 1);
    let again = serde_json::to_vec(&PreprocessorConfig::default()).unwrap();
    let again = PreprocessorConfig::from_json(&again, "config").unwrap();
    assert_eq!(again, PreprocessorConfig::default());
}

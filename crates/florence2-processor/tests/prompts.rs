//! Tasks, their inputs, and the conversion of regions to the text of a prompt.

use florence2_postprocess::{Coordinates, ImageSize, Quantizer};
use florence2_processor::{Error, Prompt, Task, TaskInput, region_text};
use proptest::prelude::*;

const SIZE: ImageSize = ImageSize {
    width: 640,
    height: 480,
};

#[test]
fn every_task_is_found_by_its_token_and_asks_its_question() {
    for task in Task::ALL {
        let name = task.token().trim_matches(['<', '>']);
        for spelling in [
            task.token().to_owned(),
            name.to_owned(),
            name.to_lowercase().replace('_', "-"),
        ] {
            assert_eq!(spelling.parse::<Task>().unwrap(), task);
        }
        let alone = Prompt::from(task).expand(SIZE);
        let input = match task.needs_region() {
            true => "<loc_1><loc_2><loc_3><loc_4>",
            false => "a red car",
        };
        let with_input = Prompt::with_input(task, TaskInput::Text(format!(" {input} ")));
        match task.needs_input() {
            false => {
                assert_eq!(alone.unwrap(), task.prompt_template());
                let error = with_input.expand(SIZE).unwrap_err();
                assert!(matches!(error, Error::UnexpectedInput { .. }), "{error}");
            }
            true => {
                assert!(
                    matches!(alone, Err(Error::MissingInput { .. })),
                    "{alone:?}"
                );
                let expected = task.prompt_template().replace("{input}", input);
                assert_eq!(with_input.expand(SIZE).unwrap(), expected);
                let other = match task.needs_region() {
                    true => TaskInput::Text("a red car".to_owned()),
                    false => TaskInput::Region([1.0, 2.0, 3.0, 4.0]),
                };
                let error = Prompt::with_input(task, other).expand(SIZE).unwrap_err();
                assert!(matches!(error, Error::InputKind { .. }), "{error}");
            }
        }
    }
    for unknown in ["", "<>", "CAR", "<OD", "<OD>x", "OD "] {
        let found = unknown.parse::<Task>();
        match unknown {
            // Each bracket is optional.
            "<OD" => assert_eq!(found.unwrap(), Task::ObjectDetection),
            _ => assert!(matches!(found, Err(Error::UnknownTask(_))), "{unknown}"),
        }
    }
}

#[test]
fn words_are_read_as_transformers_reads_them() {
    let caption = |text: &str| Prompt::Text(text.to_owned());
    let task = |task, input: Option<&str>| Prompt::Task {
        task,
        input: input.map(|input| TaskInput::Text(input.to_owned())),
    };
    for (text, expected) in [
        ("<OD>", task(Task::ObjectDetection, None)),
        (
            "<OPEN_VOCABULARY_DETECTION> a car ",
            task(Task::OpenVocabularyDetection, Some("a car")),
        ),
        (
            "<REGION_TO_CATEGORY><loc_1><loc_2><loc_3><loc_4>",
            task(Task::RegionToCategory, Some("<loc_1><loc_2><loc_3><loc_4>")),
        ),
        ("<REGION_TO_OCR>", task(Task::RegionToOcr, None)),
        ("what is this?", caption("what is this?")),
        ("<MY_TASK>thing", caption("<MY_TASK>thing")),
    ] {
        assert_eq!(Prompt::parse(text).unwrap(), expected, "{text}");
    }
    for text in ["<OD>a car", "<OCR> extra text"] {
        let error = Prompt::parse(text).unwrap_err();
        assert!(matches!(error, Error::UnexpectedInput { .. }), "{error}");
    }
    assert_eq!(caption("<MY_TASK>thing").key(), "<MY_TASK>");
    assert_eq!(caption("what is this?").key(), "what is this?");
}

#[test]
fn regions_become_the_bins_that_hold_their_corners() {
    let text = |region| region_text(region, SIZE).unwrap();
    assert_eq!(
        text([0.0, 0.0, 640.0, 480.0]),
        "<loc_0><loc_0><loc_999><loc_999>"
    );
    assert_eq!(
        text([320.0, 240.0, 320.0, 240.0]),
        "<loc_500><loc_500><loc_500><loc_500>"
    );
    assert_eq!(
        text([0.63, 0.47, 0.64, 0.48]),
        "<loc_0><loc_0><loc_1><loc_1>"
    );
    // Boxes are clipped to the image.
    assert_eq!(
        text([-5.0, -5.0, 9999.0, 100.0]),
        "<loc_0><loc_0><loc_999><loc_208>"
    );
    let normalized = Prompt::with_input(
        Task::RegionToCategory,
        TaskInput::NormalizedRegion([0.1, 0.25, 0.5, 1.0]),
    );
    assert_eq!(
        normalized.expand(SIZE).unwrap(),
        "What is the region <loc_100><loc_250><loc_500><loc_999>?"
    );
    for region in [
        [f64::NAN, 0.0, 1.0, 1.0],
        [0.0, 0.0, f64::INFINITY, 1.0],
        [5.0, 0.0, 4.0, 1.0],
        [0.0, 5.0, 1.0, 4.0],
        [641.0, 0.0, 700.0, 1.0],
        [0.0, -9.0, 1.0, -1.0],
    ] {
        let error = region_text(region, SIZE).unwrap_err();
        assert!(matches!(error, Error::Region { .. }), "{region:?}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The error of a quantized corner is at most half a bin.
    #[test]
    fn corners_come_back(width in 1_u32..5000, height in 1_u32..5000, x in 0.0..1.0_f64, y in 0.0..1.0_f64) {
        let image_size = ImageSize { width, height };
        let quantizer = Quantizer { image_size, coordinates: Coordinates::BinCenters };
        let (x, y) = (x * f64::from(width), y * f64::from(height));
        let [back_x, back_y] = quantizer.dequantize(quantizer.quantize([x, y]));
        prop_assert!((back_x - x).abs() <= f64::from(width) / 2000.0 + 1e-6);
        prop_assert!((back_y - y).abs() <= f64::from(height) / 2000.0 + 1e-6);
    }

    #[test]
    fn no_prompt_panics(text in "(<[A-Z_]{0,30}>)?\\PC{0,40}") {
        if let Ok(prompt) = Prompt::parse(&text) {
            let _ = prompt.expand(SIZE);
            let _ = prompt.key();
        }
    }
}

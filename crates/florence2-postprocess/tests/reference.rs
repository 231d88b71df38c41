//! Parsed answers equal those of transformers, from `tests/fixtures/postprocess.py`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use florence2_postprocess::{
    BINS, Coordinates, ImageSize, PostProcessingType, PostProcessorConfig, Quantizer, ScoredText,
    parse, parse_with,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "families")]
    types: Vec<String>,
    tasks: Vec<String>,
    cases: Vec<Case>,
    configs: Vec<ConfigCases>,
    dequantize_sizes: Vec<u32>,
    /// Size, bin and coordinate wherever it is not the exact centre truncated to an integer.
    dequantize_exceptions: Vec<(u32, u32, u32)>,
    quantize: Vec<QuantizeCase>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    image_size: (u32, u32),
    /// One per post-processing type.
    results: Vec<Value>,
}

/// The results with one configuration.
#[derive(Deserialize)]
struct ConfigCases {
    /// HF `post_processor_config`, without the tasks that have the default.
    post_processor_config: Value,
    cases: Vec<ConfigCase>,
}

#[derive(Deserialize)]
struct ConfigCase {
    text: String,
    image_size: (u32, u32),
    phrase_grounding: Value,
    ocr: Value,
}

#[derive(Deserialize)]
struct QuantizeCase {
    image_size: (u32, u32),
    point: [f64; 2],
    bins: [u32; 2],
}

#[derive(Deserialize)]
struct PublishedCase {
    task: String,
    image_size: (u32, u32),
    generated_text: String,
    result_hf: Value,
}

fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name);
    let json = fs::read_to_string(&path).expect("the fixture is committed");
    serde_json::from_str(&json).expect("the fixture is as its script writes it")
}

fn post_processing_type(name: &str) -> PostProcessingType {
    match name {
        "pure_text" => PostProcessingType::PureText,
        "description_with_bboxes" => PostProcessingType::DescriptionWithBboxes,
        "bboxes" => PostProcessingType::Bboxes,
        "phrase_grounding" => PostProcessingType::PhraseGrounding,
        "ocr" => PostProcessingType::Ocr,
        "polygons" => PostProcessingType::Polygons,
        "description_with_bboxes_or_polygons" => {
            PostProcessingType::DescriptionWithBboxesOrPolygons
        }
        _ => panic!("unknown post-processing type {name}"),
    }
}

fn size((width, height): (u32, u32)) -> ImageSize {
    ImageSize { width, height }
}

fn parse_as_hf(
    text: &str,
    post_processing_type: PostProcessingType,
    image_size: (u32, u32),
    task: &str,
) -> Value {
    let answer = ScoredText::unscored(text);
    let mut json = parse(
        &answer,
        post_processing_type,
        size(image_size),
        Coordinates::HfIntegers,
    )
    .to_hf_json(task);
    json[task].take()
}

#[test]
fn every_type_parses_as_the_reference() {
    let reference: Reference = fixture("postprocess.json");
    assert_eq!(reference.types.len(), 7);
    let mut different = Vec::new();
    for case in &reference.cases {
        assert_eq!(case.results.len(), reference.types.len());
        let kinds = reference.types.iter().zip(&reference.tasks);
        for ((name, task), expected) in kinds.zip(&case.results) {
            let found = parse_as_hf(
                &case.text,
                post_processing_type(name),
                case.image_size,
                task,
            );
            if found != *expected {
                different.push(format!(
                    "{name} {:?}\n  found    {found}\n  expected {expected}",
                    case.text
                ));
            }
        }
    }
    assert!(
        different.is_empty(),
        "{} differ:\n{}",
        different.len(),
        different.join("\n")
    );
}

/// The configuration of the keys that the parser has; `florence2-processor` reads files.
fn config(hf: &Value) -> PostProcessorConfig {
    let mut config = PostProcessorConfig::default();
    if let Some(grounding) = hf.get("phrase_grounding") {
        let phrases = grounding.get("banned_grounding_tokens");
        let phrases = phrases.and_then(Value::as_array).into_iter().flatten();
        config = config.banned_phrases(phrases.filter_map(Value::as_str));
    }
    if let Some(threshold) = hf["ocr"]["AREA_THRESHOLD"].as_f64() {
        config = config.ocr_area_threshold(threshold);
    }
    config
}

#[test]
fn every_configuration_parses_as_the_reference() {
    let reference: Reference = fixture("postprocess.json");
    assert_eq!(reference.configs.len(), 11);
    for ConfigCases {
        post_processor_config,
        cases,
    } in reference.configs
    {
        let config = config(&post_processor_config);
        for case in cases {
            let parsed = |post_processing_type| {
                let answer = ScoredText::unscored(&case.text);
                let (size, coordinates) = (size(case.image_size), Coordinates::HfIntegers);
                parse_with(&answer, post_processing_type, size, coordinates, &config)
                    .to_hf_json("<TASK>")["<TASK>"]
                    .take()
            };
            let context = format!("{post_processor_config} {:?}", case.text);
            let grounding = parsed(PostProcessingType::PhraseGrounding);
            assert_eq!(grounding, case.phrase_grounding, "{context}");
            assert_eq!(parsed(PostProcessingType::Ocr), case.ocr, "{context}");
        }
    }
}

/// The quadrilaterals of Microsoft's code have fractions, which the area threshold uses.
#[test]
fn the_area_threshold_uses_the_coordinates_of_the_result() {
    // The formula gives 10025 with bin centres and 10000 with integers.
    let text = "x<loc_0><loc_0><loc_100><loc_0><loc_100><loc_100><loc_0><loc_100>";
    let config = PostProcessorConfig::default().ocr_area_threshold(0.010_02);
    let count = |coordinates| {
        let answer = ScoredText::unscored(text);
        let size = size((1000, 1000));
        parse_with(&answer, PostProcessingType::Ocr, size, coordinates, &config)
            .regions
            .len()
    };
    assert_eq!(count(Coordinates::BinCenters), 1);
    assert_eq!(count(Coordinates::HfIntegers), 0);
}

#[test]
fn published_answers_parse_as_published() {
    let cases: Vec<PublishedCase> = fixture("published.json");
    let types = HashMap::from([
        ("<DETAILED_CAPTION>", PostProcessingType::PureText),
        ("<REGION_PROPOSAL>", PostProcessingType::Bboxes),
        (
            "<OPEN_VOCABULARY_DETECTION>",
            PostProcessingType::DescriptionWithBboxesOrPolygons,
        ),
        ("<OD>", PostProcessingType::DescriptionWithBboxes),
        (
            "<REFERRING_EXPRESSION_SEGMENTATION>",
            PostProcessingType::Polygons,
        ),
    ]);
    assert_eq!(cases.len(), 7);
    for case in cases {
        let post_processing_type = types[case.task.as_str()];
        let found = parse_as_hf(
            &case.generated_text,
            post_processing_type,
            case.image_size,
            &case.task,
        );
        assert_eq!(found, case.result_hf, "{}", case.task);
    }
}

#[test]
fn centers_cut_to_integers_as_the_reference() {
    let reference: Reference = fixture("postprocess.json");
    let exceptions: HashMap<_, _> = reference
        .dequantize_exceptions
        .iter()
        .map(|(size, bin, coordinate)| ((*size, *bin), *coordinate))
        .collect();
    assert!(!exceptions.is_empty());
    for side in reference.dequantize_sizes {
        let quantizer = Quantizer {
            image_size: size((side, side)),
            coordinates: Coordinates::HfIntegers,
        };
        for bin in 0..BINS {
            let exact = (2 * bin + 1) * side / 2000;
            let expected = *exceptions.get(&(side, bin)).unwrap_or(&exact);
            let found = quantizer.dequantize([bin, bin]).map(|value| value as u32);
            assert_eq!(found, [expected; 2], "bin {bin} of {side} pixels");
        }
    }
}

#[test]
fn points_have_the_bins_of_the_reference() {
    let reference: Reference = fixture("postprocess.json");
    assert!(!reference.quantize.is_empty());
    for case in reference.quantize {
        let quantizer = Quantizer {
            image_size: size(case.image_size),
            coordinates: Coordinates::BinCenters,
        };
        assert_eq!(
            quantizer.quantize(case.point),
            case.bins,
            "{:?}",
            case.point
        );
    }
}

/// From transformers' test of the processor: coordinates beyond the image have the last bin.
#[test]
fn coordinates_beyond_the_image_are_clamped() {
    let quantizer = Quantizer {
        image_size: size((800, 1200)),
        coordinates: Coordinates::HfIntegers,
    };
    for (point, expected) in [
        ([0.0, 0.0], [0.0, 0.0]),
        ([30.0, 40.0], [30.0, 40.0]),
        ([500.0, 550.0], [500.0, 550.0]),
        ([600.0, 690.0], [600.0, 690.0]),
        ([750.0, 1121.0], [750.0, 1121.0]),
        ([851.0, 1239.0], [799.0, 1199.0]),
        ([300.0, 400.0], [300.0, 400.0]),
        ([850.0, 1250.0], [799.0, 1199.0]),
    ] {
        let found = quantizer.dequantize(quantizer.quantize(point));
        assert_eq!(found, expected, "{point:?}");
    }
}

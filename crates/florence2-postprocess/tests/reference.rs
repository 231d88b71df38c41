//! Parsed answers equal those of transformers, from `tests/fixtures/postprocess.py`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use florence2_postprocess::{
    BINS, Coordinates, ImageSize, PostProcessingType, Quantizer, ScoredText, parse,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Deserialize)]
struct Reference {
    families: Vec<String>,
    tasks: Vec<String>,
    cases: Vec<Case>,
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
fn every_family_parses_as_the_reference() {
    let reference: Reference = fixture("postprocess.json");
    assert_eq!(reference.families.len(), 7);
    let mut different = Vec::new();
    for case in &reference.cases {
        assert_eq!(case.results.len(), reference.families.len());
        let kinds = reference.families.iter().zip(&reference.tasks);
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

#[test]
fn published_answers_parse_as_published() {
    let cases: Vec<PublishedCase> = fixture("published.json");
    let families = HashMap::from([
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
        let post_processing_type = families[case.task.as_str()];
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

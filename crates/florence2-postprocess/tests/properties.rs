//! Properties of the results for any text: no panic, and results that fit the text.

use florence2_postprocess::{
    Coordinates, ImageSize, PostProcessingType, Region, ScoredText, Shape, TokenSpan, parse,
};
use proptest::collection::vec;
use proptest::prelude::*;

const POST_PROCESSING_TYPES: [PostProcessingType; 7] = [
    PostProcessingType::PureText,
    PostProcessingType::DescriptionWithBboxes,
    PostProcessingType::Bboxes,
    PostProcessingType::PhraseGrounding,
    PostProcessingType::Ocr,
    PostProcessingType::Polygons,
    PostProcessingType::DescriptionWithBboxesOrPolygons,
];

const IMAGE_SIZE: ImageSize = ImageSize {
    width: 640,
    height: 480,
};

const TAGS: [&str; 15] = [
    "<sep>",
    "<poly>",
    "</poly>",
    "<s>",
    "</s>",
    "<pad>",
    "<od>",
    "<",
    ">",
    "<loc_",
    "<loc_x>",
    "\n",
    " ",
    "car",
    "the image",
];

fn locations(bins: &[u32]) -> String {
    let tokens: Vec<String> = bins.iter().map(|bin| format!("<loc_{bin}>")).collect();
    tokens.concat()
}

/// The parts of texts: those that families search for, and misleading ones.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0_u32..1000).prop_map(|bin| format!("<loc_{bin}>")),
        2 => vec(0_u32..1000, 4..9).prop_map(|bins| {
            locations(&bins)
        }),
        4 => proptest::sample::select(&TAGS[..]).prop_map(str::to_owned),
        1 => any::<u64>().prop_map(|bin| format!("<loc_{bin}>")),
        2 => any::<String>(),
    ]
}

/// One token per fragment.
fn scored_text() -> impl Strategy<Value = ScoredText> {
    vec((fragment(), -9.0_f32..=0.0, 0.0_f32..=1.0), 0..40).prop_map(|fragments| {
        let mut answer = ScoredText::default();
        for (fragment, log_prob, share) in fragments {
            let begin = answer.text.len();
            answer.text.push_str(&fragment);
            let span = TokenSpan::new(begin..answer.text.len(), 0, log_prob);
            answer.tokens.push(span.location_log_prob(log_prob * share));
        }
        answer
    })
}

fn coordinates() -> impl Strategy<Value = Coordinates> {
    prop_oneof![Just(Coordinates::BinCenters), Just(Coordinates::HfIntegers)]
}

fn check(region: &Region, coordinates: Coordinates) -> Result<(), TestCaseError> {
    let points = region.shape.points();
    if let Shape::Polygon(ring) = &region.shape {
        prop_assert!(!ring.is_empty() || coordinates == Coordinates::HfIntegers);
    }
    prop_assert!(points.iter().flatten().all(|value| value.is_finite()));
    let around = region.shape.bounding_box();
    for [x, y] in &points {
        prop_assert!((around.x1..=around.x2).contains(x) && (around.y1..=around.y2).contains(y));
    }
    let json = serde_json::to_value(region).expect("a region has a JSON form");
    prop_assert_eq!(
        &serde_json::from_value::<Region>(json).expect("its own form"),
        region
    );
    prop_assert_eq!(region.score.is_some(), !points.is_empty());
    if let Some(score) = region.score {
        let parts = [Some(score.overall), score.label, Some(score.locations)];
        prop_assert!(
            parts
                .into_iter()
                .flatten()
                .all(|part| (0.0..=1.0).contains(&part))
        );
        let product = score.label.unwrap_or(1.0) * score.locations;
        prop_assert!((score.overall - product).abs() < 1e-6);
    }
    Ok(())
}

/// The labels of an answer's regions.
fn labels(
    text: &str,
    post_processing_type: PostProcessingType,
    coordinates: Coordinates,
) -> Vec<String> {
    let result = parse(
        &ScoredText::unscored(text),
        post_processing_type,
        IMAGE_SIZE,
        coordinates,
    );
    result
        .regions
        .into_iter()
        .map(|region| region.label)
        .collect()
}

#[test]
fn labels_keep_all_characters_except_as_transformers() {
    let location = locations(&[1, 2, 3, 4]);
    for label in [
        "caf\u{e9}",
        "\u{4e2d}\u{6587}",
        "\u{1f600} smile",
        "plain",
        "a\u{301}",
    ] {
        let text = format!("</s><s>{label}{location}</s>");
        let ascii: String = label.chars().filter(char::is_ascii).collect();
        for post_processing_type in [
            PostProcessingType::DescriptionWithBboxes,
            PostProcessingType::PhraseGrounding,
            PostProcessingType::DescriptionWithBboxesOrPolygons,
            PostProcessingType::PureText,
        ] {
            assert_eq!(
                labels(&text, post_processing_type, Coordinates::BinCenters),
                [label],
                "{post_processing_type:?}"
            );
            let expected = match post_processing_type {
                PostProcessingType::PureText => label,
                _ => &ascii,
            };
            assert_eq!(
                labels(&text, post_processing_type, Coordinates::HfIntegers),
                [expected],
                "{post_processing_type:?}"
            );
        }
        let quad = format!("</s><s>{label}{location}{location}</s>");
        let polygon = format!("</s><s>{label}<poly>{location}</poly></s>");
        for coordinates in [Coordinates::BinCenters, Coordinates::HfIntegers] {
            assert_eq!(labels(&quad, PostProcessingType::Ocr, coordinates), [label]);
            assert_eq!(
                labels(
                    &polygon,
                    PostProcessingType::DescriptionWithBboxesOrPolygons,
                    coordinates
                ),
                [label]
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_parses(answer in scored_text(), coordinates in coordinates()) {
        for post_processing_type in POST_PROCESSING_TYPES {
            let result = parse(&answer, post_processing_type, IMAGE_SIZE, coordinates);
            let locations = answer.text.matches("<loc_").count();
            let points: usize = result.regions.iter().map(|region| region.shape.points().len()).sum();
            prop_assert!(2 * points <= locations, "{post_processing_type:?}");
            let instances: Vec<usize> = result.regions.iter().map(|r| r.instance).collect();
            prop_assert!(instances.is_sorted());
            for region in &result.regions {
                check(region, coordinates)?;
            }
            let json = result.to_hf_json("<TASK>");
            prop_assert_eq!(json.as_object().map(serde_json::Map::len), Some(1));
        }
    }

    #[test]
    fn any_spans_are_safe(
        text in vec(fragment(), 0..20),
        spans in vec((0_usize..200, 0_usize..200, any::<f32>()), 0..20),
        width in any::<u32>(),
        height in any::<u32>(),
    ) {
        let token = |(start, end, log_prob)| TokenSpan::new(start..end, 0, log_prob);
        let answer = ScoredText::new(text.concat(), spans.into_iter().map(token).collect());
        for post_processing_type in POST_PROCESSING_TYPES {
            let result = parse(&answer, post_processing_type, ImageSize { width, height }, Coordinates::BinCenters);
            let _json = result.to_hf_json("<TASK>");
        }
    }

    #[test]
    fn detections_come_back(
        objects in vec(("[a-z]{1,9}( [a-z]{1,9})?", vec(0_u32..1000, 4), 1_usize..3), 0..12),
    ) {
        let mut text = "</s><s>".to_owned();
        let mut expected = Vec::new();
        for (label, bins, boxes) in &objects {
            text.push_str(label);
            for _ in 0..*boxes {
                text.push_str(&locations(bins));
                expected.push((label.clone(), bins.clone()));
            }
        }
        text.push_str("</s>");
        let thousand = ImageSize { width: 1000, height: 1000 };
        let result = parse(&ScoredText::unscored(text), PostProcessingType::DescriptionWithBboxes, thousand, Coordinates::HfIntegers);
        let found: Vec<_> = result.regions.into_iter().map(|region| {
            let bins: Vec<u32> = region.shape.points().into_iter().flatten().map(|value| value as u32).collect();
            (region.label, bins)
        }).collect();
        prop_assert_eq!(found, expected);
    }
}

//! Parses any text as every post-processing type: no panic, no hang.

#![no_main]

use florence2_postprocess::{PostProcessingType, Coordinates, ImageSize, ScoredText, TokenSpan, parse};
use libfuzzer_sys::fuzz_target;

const POST_PROCESSING_TYPES: [PostProcessingType; 7] = [
    PostProcessingType::PureText,
    PostProcessingType::DescriptionWithBboxes,
    PostProcessingType::Bboxes,
    PostProcessingType::PhraseGrounding,
    PostProcessingType::Ocr,
    PostProcessingType::Polygons,
    PostProcessingType::DescriptionWithBboxesOrPolygons,
];

// One token per character. Its log-probability is its negated position.
fn scored(text: &str) -> ScoredText {
    let token = |(begin, character): (usize, char)| {
        let span = TokenSpan::new(begin..begin + character.len_utf8(), 0, -(begin as f32));
        span.location_log_prob(-(begin as f32) / 2.0)
    };
    ScoredText::new(text, text.char_indices().map(token).collect())
}

const IMAGE_SIZE: ImageSize = ImageSize {
    width: 640,
    height: u32::MAX,
};

fuzz_target!(|text: &str| {
    let answer = scored(text);
    for post_processing_type in POST_PROCESSING_TYPES {
        for coordinates in [Coordinates::BinCenters, Coordinates::HfIntegers] {
            let result = parse(&answer, post_processing_type, IMAGE_SIZE, coordinates);
            assert!(
                result
                    .regions
                    .iter()
                    .all(|region| region.score.is_some() || region.shape.points().is_empty())
            );
            let _json = result.to_hf_json("<TASK>");
        }
    }
});

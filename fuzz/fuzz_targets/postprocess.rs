//! Parses any text as every answer family: no panic, no hang.

#![no_main]

use florence2_postprocess::{AnswerFamily, Compat, ImageSize, ScoredText, TokenSpan, parse};
use libfuzzer_sys::fuzz_target;

const FAMILIES: [AnswerFamily; 7] = [
    AnswerFamily::Text,
    AnswerFamily::Boxes,
    AnswerFamily::BoxesWithoutLabels,
    AnswerFamily::Grounding,
    AnswerFamily::Ocr,
    AnswerFamily::Polygons,
    AnswerFamily::BoxesOrPolygons,
];

// One token per character. Its log-probability is its negated position.
fn scored(text: &str) -> ScoredText {
    let token = |(begin, character): (usize, char)| TokenSpan {
        range: begin..begin + character.len_utf8(),
        token_id: 0,
        log_prob: -(begin as f32),
    };
    ScoredText {
        text: text.to_owned(),
        tokens: text.char_indices().map(token).collect(),
    }
}

const IMAGE_SIZE: ImageSize = ImageSize {
    width: 640,
    height: u32::MAX,
};

fuzz_target!(|text: &str| {
    let answer = scored(text);
    for family in FAMILIES {
        for compat in [Compat::Centers, Compat::Hf] {
            let result = parse(&answer, family, IMAGE_SIZE, compat);
            assert!(
                result
                    .regions
                    .iter()
                    .all(|region| region.score.is_some() || region.points.is_empty())
            );
            let _json = result.to_hf_json("<TASK>");
        }
    }
});

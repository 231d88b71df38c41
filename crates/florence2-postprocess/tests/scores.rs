//! Confidences of texts, labels and locations.

use florence2_postprocess::{
    Coordinates, ImageSize, PostProcessingType, RegionScore, ScoredText, TaskResult, TokenSpan,
    parse,
};

const TOLERANCE: f32 = 1e-6;
/// The logarithm by which the neighbours of a location raise its probability.
const NEIGHBOURS: f32 = 0.0625;

/// A text with one token per part. The neighbours of a location raise its probability.
fn scored(parts: &[(&str, f32)]) -> ScoredText {
    let mut answer = ScoredText::default();
    for (part, log_prob) in parts {
        let begin = answer.text.len();
        answer.text.push_str(part);
        let span = TokenSpan::new(begin..answer.text.len(), 0, *log_prob);
        answer.tokens.push(match part.starts_with("<loc_") {
            true => span.location_log_prob(log_prob + NEIGHBOURS),
            false => span,
        });
    }
    answer
}

fn parsed(answer: &ScoredText, post_processing_type: PostProcessingType) -> TaskResult {
    let image_size = ImageSize {
        width: 640,
        height: 480,
    };
    parse(
        answer,
        post_processing_type,
        image_size,
        Coordinates::BinCenters,
    )
}

fn locations(log_probs: &[f32]) -> Vec<(&'static str, f32)> {
    log_probs
        .iter()
        .map(|log_prob| ("<loc_5>", *log_prob))
        .collect()
}

/// Asserts a score, given the log-probabilities of the label and of the least certain location token.
fn assert_score(found: Option<RegionScore>, label: Option<f32>, location: f32) {
    let found = found.expect("every region here has a score");
    let locations = (location + NEIGHBOURS).exp();
    assert!((found.locations - locations).abs() < TOLERANCE, "{found:?}");
    let label = label.map(f32::exp);
    let overall = label.unwrap_or(1.0) * locations;
    assert!((found.overall - overall).abs() < TOLERANCE, "{found:?}");
    match (found.label, label) {
        (Some(found), Some(label)) => assert!((found - label).abs() < TOLERANCE),
        (found, label) => assert_eq!(found, label),
    }
}

#[test]
fn boxes_of_one_phrase_share_its_label() {
    let mut parts = vec![
        ("</s>", -9.0),
        ("<s>", -9.0),
        ("door", -1.0),
        (" handle", -3.0),
    ];
    parts.extend(locations(&[-0.1, -0.2, -0.3, -0.4]));
    parts.extend(locations(&[-1.0, -1.0, -1.0, -2.0]));
    parts.push(("</s>", -9.0));
    let result = parsed(&scored(&parts), PostProcessingType::DescriptionWithBboxes);
    assert_eq!(result.regions.len(), 2);
    assert_score(result.regions[0].score, Some(-2.0), -0.4);
    assert_score(result.regions[1].score, Some(-2.0), -2.0);
}

#[test]
fn a_region_without_a_label_has_a_score_of_its_locations() {
    let parts = locations(&[-0.1, -0.2, -0.3, -0.4]);
    let result = parsed(&scored(&parts), PostProcessingType::Bboxes);
    assert_score(result.regions[0].score, None, -0.4);
}

#[test]
fn a_label_that_is_not_ascii_still_has_its_tokens() {
    let mut parts = vec![("中", -2.0), ("文", -4.0)];
    parts.extend(locations(&[-1.0; 4]));
    let result = parsed(&scored(&parts), PostProcessingType::DescriptionWithBboxes);
    assert_eq!(result.regions[0].label, "中文");
    assert_score(result.regions[0].score, Some(-3.0), -1.0);
    let image_size = ImageSize {
        width: 640,
        height: 480,
    };
    let result = parse(
        &scored(&parts),
        PostProcessingType::DescriptionWithBboxes,
        image_size,
        Coordinates::HfIntegers,
    );
    assert_eq!(result.regions[0].label, "");
    assert_score(result.regions[0].score, Some(-3.0), -1.0);
}

#[test]
fn a_token_of_part_of_a_character_counts() {
    let mut parts = vec![("", -2.0), ("中", -4.0)];
    parts.extend(locations(&[-1.0; 8]));
    let result = parsed(&scored(&parts), PostProcessingType::Ocr);
    assert_score(result.regions[0].score, Some(-3.0), -1.0);
}

#[test]
fn every_ring_has_its_own_locations() {
    let mut parts = vec![("cat", -1.0), ("<poly>", -8.0)];
    parts.extend(locations(&[-0.5; 4]));
    parts.push(("<sep>", -8.0));
    // The odd last coordinate does not belong to the ring.
    parts.extend(locations(&[-0.25, -0.25, -0.25, -0.25, -7.0]));
    parts.push(("</poly>", -8.0));
    let result = parsed(
        &scored(&parts),
        PostProcessingType::DescriptionWithBboxesOrPolygons,
    );
    assert_eq!(result.regions.len(), 2);
    assert_eq!(result.regions[0].instance, result.regions[1].instance);
    assert_score(result.regions[0].score, Some(-1.0), -0.5);
    assert_score(result.regions[1].score, Some(-1.0), -0.25);
}

#[test]
fn an_impossible_token_spoils_only_its_own_region() {
    let mut parts = vec![("car", -1.0)];
    parts.extend(locations(&[f32::NEG_INFINITY, -1.0, -1.0, -1.0]));
    parts.push(("dog", -1.0));
    parts.extend(locations(&[-1.0; 4]));
    let result = parsed(&scored(&parts), PostProcessingType::DescriptionWithBboxes);
    assert_score(result.regions[0].score, Some(-1.0), f32::NEG_INFINITY);
    assert_score(result.regions[1].score, Some(-1.0), -1.0);
}

#[test]
fn a_text_has_a_score_without_its_frame() {
    let parts = [
        ("</s>", -9.0),
        ("<s>", -9.0),
        ("a", -1.0),
        (" car", -2.0),
        ("</s>", -9.0),
    ];
    let result = parsed(&scored(&parts), PostProcessingType::PureText);
    assert_eq!(result.text, "a car");
    assert!((result.score.unwrap() - (-1.5_f32).exp()).abs() < TOLERANCE);
}

/// The location tokens of a text count with their neighbours.
#[test]
fn a_text_with_locations_has_a_score() {
    let mut parts = vec![("<s>", -9.0), ("car", -1.0)];
    parts.extend(locations(&[-0.5; 4]));
    let result = parsed(&scored(&parts), PostProcessingType::DescriptionWithBboxes);
    let mean = (-1.0 + 4.0 * (-0.5 + NEIGHBOURS)) / 5.0;
    assert!((result.score.unwrap() - mean.exp()).abs() < TOLERANCE);
}

#[test]
fn a_text_keeps_its_locations_and_offers_the_region() {
    let mut parts = vec![("<s>", 0.0), ("a ", -1.0), ("café ", -1.0)];
    parts.extend(locations(&[-0.5; 4]));
    let result = parsed(&scored(&parts), PostProcessingType::PureText);
    let expected = "a café <loc_5><loc_5><loc_5><loc_5>";
    assert_eq!(
        result.to_hf_json("<REGION_TO_CATEGORY>")["<REGION_TO_CATEGORY>"],
        expected
    );
    assert_eq!(result.regions.len(), 1);
    assert_eq!(result.regions[0].label, "a café");
    assert_score(result.regions[0].score, Some(-1.0), -0.5);
}

#[test]
fn unknown_or_wrong_spans_give_no_scores() {
    let mut answer = scored(&[("car<loc_1><loc_2><loc_3><loc_4>", -1.0)]);
    assert!(
        parsed(&answer, PostProcessingType::DescriptionWithBboxes).regions[0]
            .score
            .is_some()
    );
    answer.tokens[0].range.end += 1;
    assert_eq!(
        parsed(&answer, PostProcessingType::DescriptionWithBboxes).regions[0].score,
        None
    );
    let answer = ScoredText::unscored(answer.text);
    let result = parsed(&answer, PostProcessingType::DescriptionWithBboxes);
    assert_eq!((result.regions[0].score, result.score), (None, None));
}

//! The scores of regions, and the reasons why answers end, on the demo model.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use florence2::{Answer, FinishReason, Florence2, Image, Task};
use serde_json::{Value, json};

fn demo_model() -> PathBuf {
    let repository = std::env::var_os("FLORENCE2_REPOSITORY").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        PathBuf::from,
    );
    repository.join("assets/demo-model")
}

fn model() -> Florence2 {
    Florence2::load(demo_model()).unwrap()
}

fn run(model: &Florence2, generation: Value, location_tolerance: Option<u32>) -> Answer {
    let image = Image::open(demo_model().join("scenes/scene-1.png")).unwrap();
    let request = model
        .request(&image, Task::ObjectDetection)
        .generation(serde_json::from_value(generation).unwrap());
    let request = match location_tolerance {
        Some(bins) => request.location_tolerance(bins),
        None => request,
    };
    request.run().unwrap()
}

fn locations(answer: &Answer) -> Vec<f32> {
    assert_eq!(answer.regions.len(), 3);
    let regions = answer.regions.iter();
    regions
        .map(|region| region.score.unwrap().locations)
        .collect()
}

/// The smallest probability of each region's location tokens.
fn least_likely_tokens(answer: &Answer, first: u32) -> Vec<f32> {
    let tokens = answer.token_ids.iter().zip(&answer.token_log_probs);
    let log_probs: Vec<f32> = tokens
        .filter(|(id, _)| (first..first + 1000).contains(id))
        .map(|(_, log_prob)| *log_prob)
        .collect();
    let boxes = log_probs.chunks(4);
    boxes
        .map(|found| found.iter().copied().fold(0.0, f32::min).exp())
        .collect()
}

fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
    }
}

/// The tolerance changes the scores of locations only, from those of the tokens to almost 1, in greedy
/// search and beam search.
#[test]
fn a_tolerance_sums_the_probabilities_of_neighbours() {
    let model = model();
    let first = model.processor().tokenizer.location_ids().unwrap().start;
    for num_beams in [1, 3] {
        let answers = [Some(0), Some(10), None, Some(1000)]
            .map(|tolerance| run(&model, json!({"num_beams": num_beams}), tolerance));
        assert_close(
            &locations(&answers[0]),
            &least_likely_tokens(&answers[0], first),
        );
        for pair in answers.windows(2) {
            assert_eq!(pair[0].token_ids, pair[1].token_ids);
            assert_eq!(pair[0].token_log_probs, pair[1].token_log_probs);
            for (narrow, wide) in locations(&pair[0]).iter().zip(locations(&pair[1])) {
                assert!(*narrow < wide);
            }
        }
        // Tokens other than locations have the rest of the probability.
        for location in locations(&answers[3]) {
            assert!((0.99..=1.00001).contains(&location), "{location}");
        }
        for region in &answers[2].regions {
            let score = region.score.unwrap();
            assert!((score.overall - score.label.unwrap() * score.locations).abs() < 1e-6);
            assert!(score.overall > 0.5, "{score:?}");
        }
    }
}

/// An option that needs the scores of all tokens on the host yields the same scores of locations.
#[test]
fn all_scores_and_the_most_likely_ones_agree() {
    let model = model();
    for num_beams in [1, 3] {
        let [few, all] = [false, true].map(|remove| {
            let options = json!({"num_beams": num_beams, "remove_invalid_values": remove});
            run(&model, options, None)
        });
        assert_eq!(few.token_ids, all.token_ids);
        assert_close(&locations(&few), &locations(&all));
    }
}

/// An answer that reaches the maximum length was cut off, also if an end token is forced there.
#[test]
fn every_search_reports_the_same_reason() {
    let model = model();
    for num_beams in [1, 3] {
        let reason = |forced: Value| {
            let options = json!({
                "num_beams": num_beams, "max_new_tokens": 5, "forced_eos_token_id": forced,
            });
            let answer = run(&model, options, None);
            assert_eq!(answer.token_ids.len(), 6);
            answer.finish_reason
        };
        assert_eq!(reason(json!(2)), FinishReason::Length);
        assert_eq!(reason(json!([])), FinishReason::Length);
    }
}

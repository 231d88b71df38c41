//! Generated ids and scores, alone and in one padded batch.

use florence2_core::generate::{
    CancelToken, GeneratedSequence, GenerationConfig, GenerationContext, GenerationObserver,
    generate_with,
};
use florence2_core::{EncoderOutput, Florence2ForConditionalGeneration};
use florence2_kernels::Backend;
use serde_json::Value;

use crate::fixture::{Fixture, MODELS};

/// `prompts` are those of `encoded`.
fn answers<B: Backend>(
    fixture: &Fixture,
    model: &Florence2ForConditionalGeneration<B>,
    encoded: &EncoderOutput<B>,
    config: &GenerationConfig,
    prompts: &[Vec<u32>],
) -> Vec<Vec<GeneratedSequence>> {
    let context = GenerationContext {
        vocab_size: fixture.goldens["vocabulary_used"].as_u64().unwrap() as usize,
        prompts,
        token_bytes: None,
    };
    generate_with(
        model,
        encoded,
        config,
        &context,
        &CancelToken::default(),
        &mut GenerationObserver::default(),
    )
    .unwrap()
}

fn assert_equal(what: &str, found: &[GeneratedSequence], expected: &Value) {
    let ids: Vec<&[u32]> = found.iter().map(|one| one.token_ids.as_slice()).collect();
    assert_eq!(serde_json::json!(ids), expected["sequences"], "{what}");
    let close = |found: f32, expected: &Value| {
        let expected = expected.as_f64().unwrap() as f32;
        assert!(
            (found - expected).abs() <= 2e-4 * expected.abs().max(1.0),
            "{what}: found {found}, expected {expected}"
        );
    };
    for (index, sequence) in found.iter().enumerate() {
        if let Some(scores) = expected["scores"].as_array() {
            assert_eq!(found.len(), scores.len(), "{what}");
            close(sequence.score, &scores[index]);
        }
        if let Some(log_probs) = expected["log_probs"].as_array() {
            assert_eq!(sequence.log_probs.len(), 1 + log_probs.len(), "{what}");
            for (found, expected) in sequence.log_probs[1..].iter().zip(log_probs) {
                close(*found, expected);
            }
        }
    }
}

fn every_case<B: Backend>() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<B>("hf", &[]);
        let entries = fixture.prompts().len();
        let alone: Vec<_> = (0..entries)
            .map(|entry| fixture.encode(&model, entry))
            .collect();
        let together = fixture.encode_batch(&model);
        let prompts: Vec<Vec<u32>> =
            serde_json::from_value(fixture.goldens["prompts"].clone()).unwrap();
        let options = std::fs::read(fixture.folder.join("generation.json")).unwrap();
        let options: Value = serde_json::from_slice(&options).unwrap();
        let of = |goldens: &Value| goldens.as_object().unwrap().clone();
        let cases = of(&fixture.goldens["generation"]);
        assert!(!cases.is_empty());
        for (case, golden) in cases.into_iter().chain(of(&options)) {
            let config: GenerationConfig =
                serde_json::from_value(golden["options"].clone()).unwrap();
            let batch = answers(&fixture, &model, &together, &config, &prompts);
            for (entry, encoded) in alone.iter().enumerate() {
                let expected = &golden["entries"][entry];
                let own = &prompts[entry..=entry];
                let found = answers(&fixture, &model, encoded, &config, own);
                assert_equal(&format!("{name} {case} [{entry}]"), &found[0], expected);
                let what = format!("{name} {case} [{entry}] in a batch");
                assert_equal(&what, &batch[entry], expected);
            }
        }
    }
}

// The scores of random weights are close together: a lower precision would choose other tokens.
on_every_backend_in_f32!(every_case);

//! Generated ids and scores, alone and in one padded batch.

use burn::tensor::{Int, Tensor};
use burn_flex::{Flex, FlexDevice};
use florence2_core::generate::{
    CancelToken, GenerateOptions, GeneratedSequence, GenerationConfig, GenerationObserver,
};
use florence2_core::{Florence2ForConditionalGeneration, Result};
use florence2_kernels::Backend;
use serde_json::Value;

use crate::fixture::{Fixture, MODELS, ids_tensor};

fn answers<B: Backend>(
    fixture: &Fixture,
    model: &Florence2ForConditionalGeneration<B>,
    pixel_values: Tensor<B, 4>,
    input_ids: Tensor<B, 2, Int>,
    attention_mask: Option<Tensor<B, 2, Int>>,
    config: &GenerationConfig,
) -> Result<Vec<Vec<GeneratedSequence>>> {
    let mut options = GenerateOptions::default();
    options.attention_mask = attention_mask;
    options.vocab_size = Some(fixture.goldens["vocabulary_used"].as_u64().unwrap() as usize);
    let mut observer = GenerationObserver::default();
    model.generate(pixel_values, input_ids, config, &options, &mut observer)
}

/// `[batch, count]` equal ids, before ids `[batch, tokens]`.
fn after<B: Backend>(id: u32, count: usize, ids: Tensor<B, 2, Int>) -> Tensor<B, 2, Int> {
    let before = Tensor::full([ids.dims()[0], count], id, &ids.device());
    Tensor::cat(vec![before, ids], 1)
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
        let pixels = fixture.tensor::<B, 4>("pixel_values");
        let prompts = fixture.prompts();
        let (image_id, image_tokens) = image_placeholders(&model, &pixels);
        // As Hugging Face's processor makes them: with placeholders, padded.
        let (ids, mask) = fixture.padded_prompts();
        let ids = after(image_id, image_tokens, ids);
        let mask = after(1, image_tokens, mask);
        let options = std::fs::read(fixture.folder.join("generation.json")).unwrap();
        let options: Value = serde_json::from_slice(&options).unwrap();
        let of = |goldens: &Value| goldens.as_object().unwrap().clone();
        let cases = of(&fixture.goldens["generation"]);
        assert!(!cases.is_empty());
        for (case, golden) in cases.into_iter().chain(of(&options)) {
            let config: GenerationConfig =
                serde_json::from_value(golden["options"].clone()).unwrap();
            let (all, ids, mask) = (pixels.clone(), ids.clone(), Some(mask.clone()));
            let batch = answers(&fixture, &model, all, ids, mask, &config).unwrap();
            for (entry, prompt) in prompts.iter().enumerate() {
                let expected = &golden["entries"][entry];
                let own = pixels.clone().narrow(0, entry, 1);
                let ids = ids_tensor(std::slice::from_ref(prompt));
                let found = answers(&fixture, &model, own, ids, None, &config).unwrap();
                assert_equal(&format!("{name} {case} [{entry}]"), &found[0], expected);
                let what = format!("{name} {case} [{entry}] in a batch");
                assert_equal(&what, &batch[entry], expected);
            }
        }
    }
}

/// The id of `<image>`, and the number of tokens of an image.
fn image_placeholders<B: Backend>(
    model: &Florence2ForConditionalGeneration<B>,
    pixels: &Tensor<B, 4>,
) -> (u32, usize) {
    let features = model.encode_image(pixels.clone(), &CancelToken::default());
    let [_, image_tokens, _] = features.unwrap().dims();
    (model.config().image_token_id.unwrap(), image_tokens)
}

/// `forward` returns the same logits with placeholders as without, and a number of them other than
/// the image's is an error that names every such row.
#[test]
fn image_placeholders_are_all_or_none() {
    let fixture = Fixture::open(MODELS[0]);
    let model = fixture.model::<Flex>("hf", &[]);
    let plain = fixture.forward_input::<Flex>();
    let (image_id, image_tokens) = image_placeholders(&model, &plain.pixel_values);
    let with = |count: usize| {
        let mut input = plain.clone();
        input.text.input_ids = after(image_id, count, input.text.input_ids);
        input.text.attention_mask = input.text.attention_mask.map(|mask| after(1, count, mask));
        model.forward(input)
    };
    let expected = model.forward(plain.clone()).unwrap().logits.into_data();
    assert_eq!(with(image_tokens).unwrap().logits.into_data(), expected);
    for count in [1, image_tokens - 1, image_tokens + 1] {
        let message = with(count).unwrap_err().to_string();
        for part in [
            "input_ids",
            "row 0",
            "row 1",
            &count.to_string(),
            &image_tokens.to_string(),
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
    // Shapes that do not fit each other.
    let mut input = plain.clone();
    input.text.attention_mask = input.text.attention_mask.map(|mask| after(1, 1, mask));
    let message = model.forward(input).unwrap_err().to_string();
    assert!(message.contains("attention_mask"), "{message}");
    let mut input = plain.clone();
    input.text.input_ids = input.text.input_ids.narrow(0, 0, 1);
    let message = model.forward(input).unwrap_err().to_string();
    assert!(
        message.contains("`input_ids`") && message.contains("1 rows"),
        "{message}"
    );
    // A placeholder after the prompt.
    let mut input = plain.clone();
    let last = input.text.input_ids.dims()[1] - 1;
    let batch = input.text.input_ids.dims()[0];
    let ids = after(image_id, image_tokens - 1, input.text.input_ids);
    let ids = ids.slice_assign(
        [0..batch, image_tokens - 1 + last..image_tokens + last],
        Tensor::full([batch, 1], image_id, &FlexDevice),
    );
    input.text.input_ids = ids;
    input.text.attention_mask = None;
    let message = model.forward(input).unwrap_err().to_string();
    assert!(message.contains("at the start"), "{message}");
    // Nothing but placeholders.
    let mut input = plain;
    input.text.input_ids = Tensor::full([batch, image_tokens], image_id, &FlexDevice);
    input.text.attention_mask = None;
    let message = model.forward(input).unwrap_err().to_string();
    assert!(message.contains("no token after"), "{message}");
}

// The scores of random weights are close together: a narrower dtype would choose other tokens.
on_every_backend_in_f32!(every_case);

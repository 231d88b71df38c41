//! The tensors of every stage.

use burn::tensor::{Bool, DType, Int, Tensor};
use florence2_core::Florence2ForConditionalGeneration;
use florence2_core::generate::CancelToken;
use florence2_kernels::{Backend, Dtype};

use crate::fixture::{Fixture, MODELS, assert_close_as, assert_loss};

/// The goldens are stored channels-first.
fn channels_first<B: Backend>(tensor: Tensor<B, 4>) -> Tensor<B, 4> {
    tensor.permute([0, 3, 1, 2])
}

/// Calls `check` with the name and the channels-first output of each stage of the vision tower.
/// Returns the number of stages.
pub(crate) fn walk_vision_tower<B: Backend>(
    model: &Florence2ForConditionalGeneration<B>,
    pixel_values: Tensor<B, 4>,
    mut check: impl FnMut(String, Tensor<B, 4>),
) -> usize {
    let tower = &model.model.vision_tower;
    let mut hidden_states = pixel_values.permute([0, 2, 3, 1]);
    let mut checked = 0;
    let mut check_stage = |stage: String, found: Tensor<B, 4>| {
        check(stage, channels_first(found));
        checked += 1;
    };
    for (stage, (conv, blocks)) in tower.convs.iter().zip(&tower.blocks).enumerate() {
        hidden_states = conv.forward(hidden_states);
        check_stage(format!("vision_tower.convs.{stage}"), hidden_states.clone());
        for (index, block) in blocks.iter().enumerate() {
            let key = format!("vision_tower.blocks.{stage}.{index}");
            let spatial = block.spatial_block.forward(hidden_states.clone());
            check_stage(format!("{key}.spatial_block"), spatial);
            hidden_states = block.forward(hidden_states);
            check_stage(key, hidden_states.clone());
        }
    }
    checked
}

/// Calls `check` with the name and the output of each encoder layer, `[batch, tokens, d_model]`.
/// Returns the number of layers.
pub(crate) fn walk_encoder<B: Backend>(
    model: &Florence2ForConditionalGeneration<B>,
    image_features: Tensor<B, 3>,
    input_ids: Tensor<B, 2, Int>,
    key_padding_mask: Option<&Tensor<B, 4, Bool>>,
    mut check: impl FnMut(String, Tensor<B, 3>),
) -> usize {
    let language_model = &model.model.language_model;
    let prompt = language_model.embed_prompt(input_ids);
    let inputs_embeds = Tensor::cat(vec![image_features, prompt], 1);
    let layers = language_model.encoder.layers.len();
    for layer in 0..layers {
        let mut encoder = language_model.encoder.clone();
        encoder.layers.truncate(layer + 1);
        let found = encoder.forward(inputs_embeds.clone(), key_padding_mask);
        check(format!("encoder.layers.{layer}"), found);
    }
    layers
}

fn every_stage<B: Backend>(dtype: Dtype) {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let model = fixture.model_in::<B>(dtype);
        let pixel_values = fixture.tensor("pixel_values");
        let checked = walk_vision_tower(&model, pixel_values, |stage, found| {
            let expected = fixture.tensor(&stage);
            assert_close_as(dtype, &format!("{name} {stage}"), found, expected);
        });
        assert_eq!(checked, fixture.count("vision_tower."));

        let image = model
            .encode_image(fixture.tensor("pixel_values"), &CancelToken::default())
            .unwrap();
        let expected = fixture.tensor::<B, 3>("multi_modal_projector");
        assert_close_as(
            dtype,
            &format!("{name} multi_modal_projector"),
            image.clone(),
            expected,
        );

        let (ids, mask) = fixture.padded_prompts::<B>();
        let encoded = model
            .encode(image.clone(), ids.clone(), Some(mask.clone()))
            .unwrap();
        let key_padding_mask = encoded.key_padding_mask.as_ref();
        let checked = walk_encoder(&model, image, ids, key_padding_mask, |layer, found| {
            let expected = fixture.tensor(&layer);
            assert_close_as(
                dtype,
                &format!("{name} {layer}"),
                without_padding(found, mask.clone()),
                without_padding(expected, mask.clone()),
            );
        });
        assert_eq!(checked, fixture.count("encoder.layers."));
        assert_close_as(
            dtype,
            &format!("{name} encoder"),
            without_padding(encoded.last_hidden_state, mask.clone()),
            without_padding(fixture.tensor("encoder_last_hidden_state"), mask),
        );
    }
}

/// Sets the states at padded positions to zero: the padding's ids are arbitrary, and nothing reads
/// these states.
fn without_padding<B: Backend>(states: Tensor<B, 3>, mask: Tensor<B, 2, Int>) -> Tensor<B, 3> {
    let [batch, tokens, _] = states.dims();
    let image = Tensor::ones([batch, tokens - mask.dims()[1]], &mask.device());
    let mask = Tensor::cat(vec![image, mask], 1).float().unsqueeze_dim(2);
    states.cast(DType::F32) * mask
}

fn forward<B: Backend>(dtype: Dtype) {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let output = fixture
            .model_in::<B>(dtype)
            .forward(fixture.forward_input())
            .unwrap();
        let expected = fixture.tensor::<B, 3>("logits");
        assert_close_as(dtype, &format!("{name} logits"), output.logits, expected);
        assert_loss(dtype, output.loss, &fixture);
    }
}

on_every_backend!(every_stage);
on_every_backend!(forward);

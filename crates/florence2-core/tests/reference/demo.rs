//! Every stage of the demo model on a scene, from the file's pixels to the loss: of each tensor,
//! every so many values.

use std::path::Path;

use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::Flex;
use burn_ndarray::NdArray;
use florence2_core::generate::CancelToken;
use florence2_core::{ForwardInput, ForwardText};
use florence2_kernels::Backend;
use florence2_processor::{Florence2Processor, Image};
use serde_json::json;

use crate::fixture::{Fixture, assert_close, assert_loss, ids_tensor, model_of_folder};
use crate::stages::walk_vision_tower;

/// `pixel_values` of the scene, as the processor makes them.
fn pixel_values<B: Backend>(folder: &Path) -> Tensor<B, 4> {
    let processor = Florence2Processor::from_dir(folder).unwrap();
    let image = Image::open(folder.join("scenes/scene-1.png")).unwrap();
    let pixels = processor.image_processor.preprocess(&[&image]).unwrap();
    let data = TensorData::new(pixels.data, pixels.shape);
    Tensor::from_data(data, &B::Device::default())
}

fn check<B: Backend, const D: usize>(fixture: &Fixture, name: &str, found: Tensor<B, D>) {
    let shape = json!(found.dims().to_vec());
    assert_eq!(shape, fixture.goldens["shapes"][name], "{name}");
    let every = fixture.goldens["every"].as_i64().unwrap();
    let kept = found
        .flatten::<1>(0, D - 1)
        .slice(burn::tensor::s![..;every as isize]);
    assert_close(name, kept, fixture.tensor(name));
}

fn ids<B: Backend>(fixture: &Fixture, name: &str) -> Tensor<B, 2, Int> {
    ids_tensor(&[serde_json::from_value(fixture.goldens[name].clone()).unwrap()])
}

fn every_stage<B: Backend>() {
    let fixture = Fixture::open("demo");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model");
    let model = model_of_folder::<B>(&folder, &[]);
    let pixels = pixel_values::<B>(&folder);
    check(&fixture, "pixel_values", pixels.clone());
    let checked = walk_vision_tower(&model, pixels.clone(), |stage, found| {
        check(&fixture, &stage, found);
    });
    assert_eq!(checked, fixture.count("vision_tower."));

    let image = model
        .encode_image(pixels.clone(), &CancelToken::default())
        .unwrap();
    check(&fixture, "multi_modal_projector", image.clone());
    let encoded = model.encode(image, ids(&fixture, "prompt"), None).unwrap();
    check(
        &fixture,
        "encoder_last_hidden_state",
        encoded.last_hidden_state,
    );
    let output = model
        .forward(ForwardInput {
            pixel_values: pixels,
            text: ForwardText {
                input_ids: ids(&fixture, "prompt"),
                attention_mask: None,
                decoder_input_ids: None,
                labels: Some(ids(&fixture, "labels")),
            },
        })
        .unwrap();
    check(&fixture, "logits", output.logits);
    assert_loss(output.loss, &fixture);
}

#[test]
fn every_stage_of_the_demo_model_equals_the_reference_on_flex() {
    every_stage::<Flex>();
}

#[test]
fn every_stage_of_the_demo_model_equals_the_reference_on_ndarray() {
    every_stage::<NdArray>();
}

//! The places of dropout, layer drop and drop path, compared with those of transformers.

use burn::tensor::ElementConversion;
use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use florence2_core::vision_tower::VisionTower;
use florence2_core::weights::{Checkpoint, load};
use florence2_core::{Florence2Config, Florence2TextConfig};
use florence2_kernels::Dtype;
use serde_json::Value;

use crate::fixture::{Fixture, repository};

type Train = Autodiff<Flex>;

fn golden() -> Value {
    let path = repository().join("tests/fixtures/training/dropout.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn config(fixture: &Fixture) -> Florence2Config {
    let json = std::fs::read(fixture.folder.join("hf/config.json")).unwrap();
    Florence2Config::from_json(&json, "config.json").unwrap()
}

fn set_probability(config: &mut Florence2TextConfig, kind: &str) {
    for (name, probability) in [
        ("dropout", &mut config.dropout),
        ("attention_dropout", &mut config.attention_dropout),
        ("activation_dropout", &mut config.activation_dropout),
        ("encoder_layerdrop", &mut config.encoder_layerdrop),
        ("decoder_layerdrop", &mut config.decoder_layerdrop),
    ] {
        *probability = if name == kind { 1.0 } else { 0.0 };
    }
}

/// With a probability of 1, nothing is random.
#[test]
fn losses_with_a_probability_of_1_equal_those_of_transformers() {
    let fixture = Fixture::open("tiny-a");
    let checkpoint = Checkpoint::open(&fixture.folder.join("hf")).unwrap();
    for (kind, expected) in golden()["losses_at_1"].as_object().unwrap() {
        let mut config = config(&fixture);
        config.vision_config.drop_path_rate = 0.0;
        set_probability(&mut config.text_config, kind);
        let (mut model, _) =
            load::<Train>(&config, &checkpoint, &[], Dtype::F32, &FlexDevice).unwrap();
        model.set_dropout_seed(Some(1));
        let loss = |model: &florence2_core::Florence2ForConditionalGeneration<Train>| -> f64 {
            let output = model.forward(fixture.forward_input()).unwrap();
            output.loss.unwrap().into_scalar().elem()
        };
        let (found, expected) = (loss(&model), expected.as_f64().unwrap());
        assert!(
            (found - expected).abs() <= 1e-4,
            "{kind}: {found}, {expected}"
        );
        model.set_dropout_seed(None);
        let evaluated = loss(&model);
        let expected = golden()["losses_at_1"]["none"].as_f64().unwrap();
        assert!((evaluated - expected).abs() <= 1e-4, "{kind}: {evaluated}");
    }
}

/// The probabilities in the order of execution, which is that of the module's fields.
#[test]
fn probabilities_of_drop_path_equal_those_of_transformers() {
    let golden = golden();
    let mut config = config(&Fixture::open("tiny-a"));
    config.vision_config.drop_path_rate = golden["drop_path_rate"].as_f64().unwrap();
    let tower = VisionTower::<Flex>::new(&config.vision_config, Dtype::F32, &FlexDevice);
    let printed = format!("{tower:?}");
    let places = printed.split("DropPath(Dropout { probability: ").skip(1);
    let probability = |place: &str| place.split(',').next().unwrap().parse::<f64>().unwrap();
    let found: Vec<f64> = places.map(probability).filter(|p| *p > 0.0).collect();
    let places = golden["places"].as_array().unwrap().iter();
    let places = places.filter(|place| place["module"].as_str().unwrap().contains("drop_path"));
    let expected: Vec<f64> = places.map(|place| place["p"].as_f64().unwrap()).collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-6, "{found}, {expected}");
    }
}

//! The initial values of a model that is trained from scratch, compared with the distributions of
//! transformers.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn_flex::{Flex, FlexDevice};
use florence2_core::Florence2Config;
use florence2_core::weights::{initialise, module_path_to_key};
use florence2_kernels::Dtype;
use serde_json::Value;

use crate::fixture::repository;

/// Collects the values of all parameters.
#[derive(Default)]
struct Values {
    path: Vec<String>,
    by_key: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl ModuleVisitor<Flex> for Values {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<Flex, D>>) {
        let data = parameter.val().into_data();
        let shape = data.shape.to_vec();
        let values = data.into_vec().unwrap();
        self.by_key
            .insert(module_path_to_key(&self.path), (shape, values));
    }
}

fn initial_values(config: Florence2Config) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let model = initialise::<Flex>(config, 1, Dtype::F32, &FlexDevice).unwrap();
    let mut values = Values::default();
    model.visit(&mut values);
    values.by_key
}

/// Compares mean and standard deviation with those of the rule, within six standard errors.
fn compare(key: &str, rule: &Value, shape: &[usize], values: &[f32], pad_token_id: usize) {
    let mut values: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
    if !rule["zero_row"].is_null() {
        let columns = shape[1];
        let row = values.drain(pad_token_id * columns..(pad_token_id + 1) * columns);
        assert!(row.into_iter().all(|value| value == 0.0), "{key}");
    }
    let count = values.len() as f64;
    match rule["distribution"].as_str().unwrap() {
        "zeros" => assert!(values.iter().all(|value| *value == 0.0), "{key}"),
        "ones" => assert!(values.iter().all(|value| *value == 1.0), "{key}"),
        "normal" => {
            let std = rule["std"].as_f64().unwrap();
            let mean = values.iter().sum::<f64>() / count;
            let squares = values.iter().map(|value| value * value).sum::<f64>();
            let error = (squares / count).sqrt() / std - 1.0;
            assert!(mean.abs() <= 6.0 * std / count.sqrt(), "{key}: mean {mean}");
            assert!(error.abs() <= 6.0 / (2.0 * count).sqrt(), "{key}: {error}");
        }
        other => assert_eq!(other, "sinusoid", "{key}"),
    }
}

#[test]
fn initial_values_have_the_distributions_of_transformers() {
    let fixtures = repository().join("tests/fixtures");
    let golden = std::fs::read(fixtures.join("training/initialisation.json")).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let config = std::fs::read(fixtures.join("tiny-a/hf/config.json")).unwrap();
    let mut config = Florence2Config::from_json(&config, "config.json").unwrap();
    config.vision_config.initializer_range = golden["initializer_range"].as_f64().unwrap();
    config.text_config.init_std = golden["init_std"].as_f64().unwrap();
    let pad_token_id = config.text_config.pad_token_id.unwrap() as usize;
    let tied = initial_values(config.clone());
    for (key, rule) in golden["parameters"].as_object().unwrap() {
        let (shape, values) = &tied[key];
        compare(key, rule, shape, values, pad_token_id);
    }
    assert_eq!(tied.len(), golden["parameters"].as_object().unwrap().len());

    config.tie_word_embeddings = false;
    config.text_config.tie_word_embeddings = false;
    let untied = initial_values(config);
    for (key, rule) in golden["untied"].as_object().unwrap() {
        // The encoder embeds prompts with the shared embedding.
        if let Some((shape, values)) = untied.get(key) {
            compare(key, rule, shape, values, pad_token_id);
        }
    }
    assert!(untied.contains_key("lm_head.weight"));
}

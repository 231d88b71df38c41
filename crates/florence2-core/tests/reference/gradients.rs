//! The gradients of the loss under burn's autodiff, compared with those of torch in float64.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{ElementConversion, Tensor};
use burn_autodiff::Autodiff;
use burn_flex::Flex;

use crate::fixture::{Fixture, MODELS, assert_close};

/// Compares the gradient of each parameter that has a golden.
struct Comparison<'a, B: AutodiffBackend> {
    fixture: &'a Fixture,
    gradients: &'a B::Gradients,
    path: Vec<String>,
    compared: usize,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Comparison<'_, B> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let key = self.path.join(".").replace(".gamma", ".weight");
        let golden = format!("gradient.{key}");
        if !self.fixture.has(&golden) {
            return;
        }
        let found = param.val().grad(self.gradients).unwrap();
        let expected: Tensor<B::InnerBackend, D> = self.fixture.tensor(&golden);
        let error = (found.clone() - expected.clone()).abs().max().into_scalar();
        let largest = expected.clone().abs().max().into_scalar();
        println!("{key}: {:.1e}", error.elem::<f32>() / largest.elem::<f32>());
        assert_close(&key, found, expected);
        self.compared += 1;
    }
}

#[test]
fn gradients_equal_those_of_torch() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<Autodiff<Flex>>("hf", &[]);
        let loss = model
            .forward(fixture.forward_input())
            .unwrap()
            .loss
            .unwrap();
        let gradients = loss.backward();
        let mut comparison = Comparison {
            fixture: &fixture,
            gradients: &gradients,
            path: Vec::new(),
            compared: 0,
        };
        model.visit(&mut comparison);
        assert_eq!(comparison.compared, fixture.count("gradient."), "{name}");
    }
}

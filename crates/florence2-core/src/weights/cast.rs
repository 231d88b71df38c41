//! A model's number type.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};
use florence2_kernels::Backend;

use crate::model::Florence2ForConditionalGeneration;

/// The model with its parameters as f32, f16 or bf16: the type that it computes with.
///
/// Layer norms stay f32: they are computed so, since squares of f16 overflow. So do the matrices that
/// score tokens: the scores of neighbouring locations lie closer than f16 has digits.
pub fn cast<B: Backend>(
    model: Florence2ForConditionalGeneration<B>,
    dtype: DType,
) -> Florence2ForConditionalGeneration<B> {
    let mut cast = Cast {
        dtype,
        path: Vec::new(),
        containers: Vec::new(),
    };
    model.map(&mut cast)
}

struct Cast {
    dtype: DType,
    path: Vec<String>,
    containers: Vec<String>,
}

impl<B: Backend> ModuleMapper<B> for Cast {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_owned());
        self.containers.push(container_type.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let is_norm = self
            .containers
            .last()
            .is_some_and(|name| name == "Struct:LayerNorm");
        let scores_tokens = self
            .path
            .iter()
            .any(|name| name == "shared" || name == "lm_head");
        match is_norm || scores_tokens {
            true => param,
            false => param.map(|tensor| tensor.cast(self.dtype)),
        }
    }
}

//! The data type of a model.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};
use florence2_kernels::{Backend, Dtype};

use crate::model::Florence2ForConditionalGeneration;

/// Converts the parameters of a model to f32, f16 or bf16, as in a model that is loaded in this
/// type.
pub fn cast<B: Backend>(
    model: Florence2ForConditionalGeneration<B>,
    dtype: DType,
) -> Florence2ForConditionalGeneration<B> {
    let path = Vec::new();
    model.map(&mut Cast { dtype, path })
}

/// Returns whether the parameter at a path of the module is f32 in a model of any data type.
///
/// Layer norms are f32 because squares of f16 values overflow. The output matrix is f32 because the
/// scores of neighbouring locations differ by less than the precision of f16. Token embeddings are
/// f32 because a tied output matrix is one of them.
fn keep_in_fp32(path: &[String]) -> bool {
    let norm = path
        .last()
        .is_some_and(|name| name == "gamma" || name == "beta");
    norm || path
        .iter()
        .any(|name| matches!(name.as_str(), "shared" | "embed_tokens" | "lm_head"))
}

/// The data type of the parameter at a path of the module.
pub(super) fn parameter_dtype<B: Backend>(path: &[String], dtype: Dtype) -> DType {
    if keep_in_fp32(path) {
        DType::F32
    } else {
        B::parameter_dtype(dtype)
    }
}

struct Cast {
    dtype: DType,
    path: Vec<String>,
}

impl<B: Backend> ModuleMapper<B> for Cast {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        match keep_in_fp32(&self.path) {
            true => param,
            false => param.map(|tensor| tensor.cast(self.dtype)),
        }
    }
}

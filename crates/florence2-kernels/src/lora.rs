//! [`LoraUpdate`]: a low-rank update that is trained beside a frozen weight.

use burn::module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend as BurnBackend};

/// The update `lora_b * lora_a * scaling` of a weight (LoRA paper, arXiv:2106.09685; PEFT's
/// `LoraLayer`).
#[derive(Debug, Clone)]
pub struct LoraUpdate<B: BurnBackend> {
    /// `[rank, in]`. The inputs of a convolution are those of all positions of its kernel.
    pub lora_a: Param<Tensor<B, 2>>,
    /// `[out, rank]`.
    pub lora_b: Param<Tensor<B, 2>>,
    /// The factor of the update: `lora_alpha / rank`, or `lora_alpha / sqrt(rank)` with rsLoRA.
    pub scaling: f64,
    /// The probability with which an input of the update is dropped in training.
    pub dropout: f64,
    /// The seed of the dropout; `None` outside training.
    pub dropout_seed: Option<u64>,
}

impl<B: BurnBackend> LoraUpdate<B> {
    /// The change of the weight, `[out, in]`.
    pub fn delta(&self) -> Tensor<B, 2> {
        self.lora_b.val().matmul(self.lora_a.val()) * self.scaling
    }

    /// The parts of a module path that name the two parameters.
    const NAMES: [&str; 2] = ["lora_A", "lora_B"];

    pub(crate) fn visit<V: ModuleVisitor<B>>(&self, visitor: &mut V) {
        for (name, parameter) in Self::NAMES.into_iter().zip([&self.lora_a, &self.lora_b]) {
            visitor.enter_module(name, "LoraUpdate");
            visitor.visit_float(parameter);
            visitor.exit_module(name, "LoraUpdate");
        }
    }

    pub(crate) fn map<M: ModuleMapper<B>>(self, mapper: &mut M) -> Self {
        let mut map = |name: &str, parameter: Param<Tensor<B, 2>>| {
            mapper.enter_module(name, "LoraUpdate");
            let mapped = mapper.map_float(parameter);
            mapper.exit_module(name, "LoraUpdate");
            mapped
        };
        let [a, b] = Self::NAMES;
        Self {
            lora_a: map(a, self.lora_a),
            lora_b: map(b, self.lora_b),
            ..self
        }
    }

    pub(crate) fn map_parameters(
        self,
        map: impl Fn(Param<Tensor<B, 2>>) -> Param<Tensor<B, 2>>,
    ) -> Self {
        Self {
            lora_a: map(self.lora_a),
            lora_b: map(self.lora_b),
            ..self
        }
    }
}

impl<B: AutodiffBackend> LoraUpdate<B> {
    /// The update without autodiff.
    pub(crate) fn valid(&self) -> LoraUpdate<B::InnerBackend> {
        LoraUpdate {
            lora_a: self.lora_a.valid(),
            lora_b: self.lora_b.valid(),
            scaling: self.scaling,
            dropout: self.dropout,
            dropout_seed: self.dropout_seed,
        }
    }

    /// The update with autodiff.
    pub(crate) fn from_inner(update: LoraUpdate<B::InnerBackend>) -> Self {
        Self {
            lora_a: AutodiffModule::from_inner(update.lora_a),
            lora_b: AutodiffModule::from_inner(update.lora_b),
            scaling: update.scaling,
            dropout: update.dropout,
            dropout_seed: update.dropout_seed,
        }
    }
}

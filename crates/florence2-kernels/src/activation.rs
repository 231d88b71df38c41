//! The activation function between two linear layers.

use burn::tensor::{Tensor, activation};

use crate::Backend;

/// The activation function of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// The exact GELU: `x / 2 (1 + erf(x / sqrt 2))`.
    #[default]
    Gelu,
    /// GELU's approximation by tanh: `x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))`.
    GeluTanh,
    /// `x sigmoid(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x sigmoid(x)`.
    Silu,
}

impl Activation {
    /// The names in configuration files: those of transformers' `ACT2FN`.
    const NAMES: [(&str, Self); 11] = [
        ("gelu", Self::Gelu),
        ("gelu_python", Self::Gelu),
        ("gelu_new", Self::GeluTanh),
        ("gelu_fast", Self::GeluTanh),
        ("gelu_accurate", Self::GeluTanh),
        ("gelu_pytorch_tanh", Self::GeluTanh),
        ("gelu_python_tanh", Self::GeluTanh),
        ("quick_gelu", Self::QuickGelu),
        ("relu", Self::Relu),
        ("silu", Self::Silu),
        ("swish", Self::Silu),
    ];

    /// Returns the activation with a name in a configuration, or `None` for other names.
    pub fn named(name: &str) -> Option<Self> {
        let known = Self::NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, activation)| *activation)
    }

    /// The names that [`Self::named`] accepts, for error messages.
    pub fn choice() -> String {
        let names = Self::NAMES.map(|(name, _)| name);
        format!("one of {}", names.join(", "))
    }

    /// Applies the function to every value, with burn's operations.
    pub fn forward<B: Backend, const D: usize>(self, values: Tensor<B, D>) -> Tensor<B, D> {
        let times_sigmoid = |values: Tensor<B, D>, argument| values * activation::sigmoid(argument);
        match self {
            Self::Gelu => activation::gelu(values),
            Self::GeluTanh => {
                let cube = values.clone() * values.clone() * values.clone();
                let argument =
                    (values.clone() + cube * f64::from(GELU_CUBE)) * f64::from(GELU_TANH);
                times_sigmoid(values, argument)
            }
            Self::QuickGelu => times_sigmoid(values.clone(), values * f64::from(QUICK_GELU)),
            Self::Relu => activation::relu(values),
            Self::Silu => times_sigmoid(values.clone(), values),
        }
    }
}

/// `2 sqrt(2 / pi)`.
pub(crate) const GELU_TANH: f32 = 1.595_769;
/// The factor of the cube in [`Activation::GeluTanh`].
pub(crate) const GELU_CUBE: f32 = 0.044_715;
/// The factor in [`Activation::QuickGelu`].
pub(crate) const QUICK_GELU: f32 = 1.702;

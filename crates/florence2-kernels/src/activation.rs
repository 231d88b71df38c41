//! The activation function between two linear layers.

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
}

/// `2 sqrt(2 / pi)`.
pub const GELU_TANH: f32 = 1.595_769;
/// The factor of the cube in [`Activation::GeluTanh`].
pub const GELU_CUBE: f32 = 0.044_715;
/// The factor in [`Activation::QuickGelu`].
pub const QUICK_GELU: f32 = 1.702;

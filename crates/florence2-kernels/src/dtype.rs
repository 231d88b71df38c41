//! [`Dtype`]: the format of weights and products.

use burn::tensor::DType;

/// The format of a model's large weights and of their products. Sums are f32 in every dtype.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Dtype {
    /// f32 weights and products. A backend may store weights as f16 if f16 represents them exactly.
    #[default]
    F32,
    /// f16 weights. GPUs also multiply in f16, the CPU in f32.
    F16,
    /// bf16 weights and products.
    Bf16,
    /// int8 weights with a scale per output. Activations are quantised at run time. Products of
    /// attention heads are bf16 if the device multiplies bf16, else f32.
    Int8,
}

impl Dtype {
    /// All dtypes, widest first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::Int8];

    /// The name in options: `f32`, `f16`, `bf16` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// Returns the dtype with a name, or `None` for other names.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Lists some dtypes for an error message: `f32, f16 or bf16`.
    pub fn choice(dtypes: &[Self]) -> String {
        let names: Vec<&str> = dtypes.iter().map(|dtype| dtype.name()).collect();
        match names.as_slice() {
            [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            names => names.concat(),
        }
    }
}

/// The data type of a tensor of weights; `None` for int8, whose values need scales. It is not a method,
/// because the facade re-exports [`Dtype`] and has no types of burn in its API.
pub fn tensor_dtype(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::Bf16 => Some(DType::BF16),
        Dtype::Int8 => None,
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

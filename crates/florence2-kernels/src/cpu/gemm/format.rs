//! The formats of words.

use crate::cpu::gemm::split_int8;

/// The format of a word of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    F32,
    F16,
    Bf16,
    Int8,
}

/// The format of a word of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFormat {
    F32,
    /// f32, split into [slices](split_int8).
    Digits,
    Bf16,
    Int8,
}

impl Format {
    /// The number of values in a word.
    pub(crate) fn values(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::Bf16 => 2,
            Self::Int8 => 4,
        }
    }

    /// The format of rows that are multiplied by columns of this format.
    pub(crate) fn rows(self) -> RowFormat {
        match self {
            Self::F32 | Self::F16 => RowFormat::F32,
            Self::Bf16 => RowFormat::Bf16,
            Self::Int8 => RowFormat::Int8,
        }
    }
}

impl RowFormat {
    /// The number of values of a row that share a scale; `None` if the format has no scales.
    pub(crate) fn values_per_scale(self) -> Option<usize> {
        match self {
            Self::F32 | Self::Bf16 => None,
            Self::Digits => Some(Format::F32.block()),
            Self::Int8 => Some(Format::Int8.block()),
        }
    }

    /// The number of words that hold `values` values.
    pub(crate) fn words(self, values: usize) -> usize {
        match self {
            Self::F32 => values,
            Self::Digits => split_int8::words(values),
            Self::Bf16 => values.div_ceil(2),
            Self::Int8 => values.div_ceil(4),
        }
    }
}

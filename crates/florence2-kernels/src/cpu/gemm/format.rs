//! The formats in which products read their operands, as 32-bit words.

use super::split_int8;

/// The number of columns of a panel: 32 outputs of a weight, side by side.
pub(crate) const PANEL: usize = 32;

/// The format of the columns of a product, such as a packed weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One value per word.
    F32,
    /// One value per half word.
    F16,
    /// Two values per word.
    Bf16,
    /// Four values per word.
    Int8,
}

/// The format of the rows of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LhsFormat {
    /// One value per word.
    F32,
    /// f32 values as slices of int8 ([`split_int8`]).
    SplitInt8,
    /// Two values per word.
    Bf16,
    /// Four values per word.
    Int8,
}

impl Format {
    /// The number of values in a word.
    pub(crate) fn values_per_word(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::Bf16 => 2,
            Self::Int8 => 4,
        }
    }

    /// The number of words of a panel's columns for one word of a row.
    pub(crate) fn panel_words(self) -> usize {
        match self {
            Self::F16 => PANEL / 2,
            Self::F32 | Self::Bf16 | Self::Int8 => PANEL,
        }
    }

    /// The number of inputs of a block. The inputs and the panel's weights for them stay in the
    /// cache. f16 has the block of f32, so that sums are the same.
    pub(crate) fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 512,
            Self::Bf16 | Self::Int8 => 1024,
        }
    }

    /// The format of rows that are multiplied by columns of this format.
    pub(crate) fn lhs(self) -> LhsFormat {
        match self {
            Self::F32 | Self::F16 => LhsFormat::F32,
            Self::Bf16 => LhsFormat::Bf16,
            Self::Int8 => LhsFormat::Int8,
        }
    }
}

impl LhsFormat {
    /// The number of values of a row that share a scale; `None` if the format has no scales.
    pub(crate) fn values_per_scale(self) -> Option<usize> {
        match self {
            Self::F32 | Self::Bf16 => None,
            Self::SplitInt8 => Some(Format::F32.block()),
            Self::Int8 => Some(Format::Int8.block()),
        }
    }

    /// The number of words that hold `values` values.
    pub(crate) fn words(self, values: usize) -> usize {
        match self {
            Self::F32 => values,
            Self::SplitInt8 => split_int8::words(values),
            Self::Bf16 => values.div_ceil(2),
            Self::Int8 => values.div_ceil(4),
        }
    }
}

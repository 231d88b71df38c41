//! The epilogue of a product: the operations on its sums before they are stored.

use super::format::PANEL;

/// The epilogue of a product: `dst (+)= sums * row_scale * column_scale + bias`.
///
/// [`super::driver`] receives the bias and `accumulate` from its caller, and sets the scales that
/// the formats of the operands require.
#[derive(Clone, Copy, Default)]
pub(crate) struct Epilogue<'a> {
    /// Adds to the existing values instead of overwriting them.
    pub(crate) accumulate: bool,
    /// The bias of the columns, added to every row: at least `n` values.
    pub(crate) bias: Option<&'a [f32]>,
    /// The factors of the rows: at least `m` values.
    pub(crate) row_scales: Option<&'a [f32]>,
    /// The conversion of integer sums; int8 only.
    pub(crate) quantised: Option<Quantised<'a>>,
}

impl<'a> Epilogue<'a> {
    /// Overwrites the existing values with `sums + bias`.
    pub(crate) fn with_bias(bias: Option<&'a [f32]>) -> Self {
        Self {
            bias,
            ..Self::default()
        }
    }
}

/// The conversion of sums of int8 columns: `(sum - correction) * scale` for each column. The
/// correction is the contribution of the zero point of int8 rows. f32 rows have none, and their
/// conversion is `sum * scale`.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, reason = "no other architecture has int8 rows")
)]
pub(crate) struct Quantised<'a> {
    pub(crate) scales: &'a [f32; PANEL],
    pub(crate) corrections: &'a [i32; PANEL],
}

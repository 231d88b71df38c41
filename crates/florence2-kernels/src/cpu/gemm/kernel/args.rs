//! The operands of a product as the caller passes them, and as the microkernels receive them.

use crate::cpu::gemm::epilogue::Epilogue;
use crate::cpu::gemm::format::PANEL;

/// The left operand: word `p` of row `r` is `words[r * row_stride + p * k_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Lhs<'a> {
    pub(crate) words: &'a [u32],
    /// The number of rows.
    pub(crate) m: usize,
    pub(crate) row_stride: usize,
    pub(crate) k_stride: usize,
}

/// The right operand, up to [`PANEL`] columns: the words of index `p` are `words[p * k_stride..]`.
/// Whole vectors are read: 16 columns if `n <= 16`, else 32.
#[derive(Clone, Copy)]
pub(crate) struct Rhs<'a> {
    pub(crate) words: &'a [u32],
    /// The number of columns.
    pub(crate) n: usize,
    pub(crate) k_stride: usize,
    /// The largest magnitude of each column; f32 and f16 only, for rows in split int8.
    pub(crate) column_max: Option<&'a [f32; PANEL]>,
    /// The columns that are multiplied by the same rows after these, to be prefetched; empty if
    /// they are not known.
    pub(crate) next: &'a [u32],
}

/// The arguments of a microkernel. All strides are in words or values.
///
/// # Invariants
///
/// [`super::entry::Kernel::multiply`] checks them, except for the last two, which hold by
/// construction. `SAFETY` comments cite them by number.
///
/// 1. `m >= 1`, `k >= 1` and `1 <= n <= PANEL`.
/// 2. The words of every row are readable: for `r < m` and each of its words `p`,
///    `lhs[r * lhs_row_stride + p * lhs_k_stride]`. The number of words of a row is
///    `k * VALUES_PER_WORD`, or `split_int8::words(k)` for rows in split int8.
/// 3. Whole vectors of columns are readable: for `p < k`,
///    `rhs[p * rhs_k_stride..][..width / COLUMNS_PER_WORD]`, where `width` is `PANEL / 2` if
///    `n <= PANEL / 2`, else `PANEL`.
/// 4. The result is readable and writable, and nothing else refers to it: for `r < m`,
///    `dst[r * dst_row_stride..][..n]`. These rows do not overlap.
/// 5. `epilogue.bias` has at least `n` values and `epilogue.row_scales` at least `m`.
/// 6. The processor supports the instructions of the kernel, because [`super::select`] returns only
///    kernels of the SIMD level in use.
/// 7. `next` is prefetched only. It may be any address.
#[derive(Clone, Copy)]
pub(crate) struct GemmArgs<'a> {
    /// The number of words of a column.
    pub(crate) k: usize,
    /// The number of rows.
    pub(crate) m: usize,
    /// The number of columns.
    pub(crate) n: usize,
    pub(crate) lhs: *const u32,
    pub(crate) lhs_row_stride: usize,
    pub(crate) lhs_k_stride: usize,
    pub(crate) rhs: *const u32,
    pub(crate) rhs_k_stride: usize,
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "only AMX kernels prefetch it")
    )]
    pub(crate) next: *const u32,
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "only AMX kernels read it")
    )]
    pub(crate) column_max: Option<&'a [f32; PANEL]>,
    pub(crate) dst: *mut f32,
    pub(crate) dst_row_stride: usize,
    pub(crate) epilogue: Epilogue<'a>,
}

impl GemmArgs<'_> {
    /// The arguments for `m` rows from row `first` on.
    ///
    /// # Safety
    /// `first + m <= self.m`.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn rows(&self, first: usize, m: usize) -> Self {
        let Self { epilogue, .. } = *self;
        // SAFETY: the rows exist, so the pointers stay inside the operands (invariants 2 and 4).
        unsafe {
            Self {
                m,
                lhs: self.lhs.add(first * self.lhs_row_stride),
                dst: self.dst.add(first * self.dst_row_stride),
                epilogue: Epilogue {
                    row_scales: epilogue.row_scales.map(|scales| &scales[first..]),
                    ..epilogue
                },
                ..*self
            }
        }
    }
}

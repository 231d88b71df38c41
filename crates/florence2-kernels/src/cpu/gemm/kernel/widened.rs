//! Columns that are narrower than f32, where no instruction multiplies them. A few rows read them
//! as f32. For many rows, they are first written as f32.

use super::microkernel::{Dot, RowEpilogue};
use crate::cpu::gemm::format::PANEL;

/// Columns that are converted to another format as they are read, and multiplied in that format.
#[allow(unsafe_code)]
pub(crate) trait Widened {
    /// The format in which they are multiplied.
    type Into: Dot;
    /// See [`Dot::COLUMNS_PER_WORD`].
    const COLUMNS: usize = 1;
    /// See [`Dot::VALUES_PER_WORD`].
    const VALUES: usize = 1;

    /// See [`Dot::load`].
    ///
    /// # Safety
    /// That of [`Dot::load`].
    unsafe fn widen(words: *const u32, value: usize) -> <Self::Into as Dot>::Words;
}

// SAFETY: words and sums are those of another `Dot`.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl<W: Widened> Dot for W {
    type Words = <W::Into as Dot>::Words;
    type Sums = <W::Into as Dot>::Sums;
    const LANES: usize = W::Into::LANES;
    const COLUMNS_PER_WORD: usize = W::COLUMNS;
    const VALUES_PER_WORD: usize = W::VALUES;

    #[inline(always)]
    unsafe fn load(words: *const u32, value: usize) -> Self::Words {
        // SAFETY: `widen` has the same contract.
        unsafe { W::widen(words, value) }
    }

    #[inline(always)]
    unsafe fn broadcast(word: *const u32) -> Self::Words {
        // SAFETY: the other `Dot` has the same contract.
        unsafe { W::Into::broadcast(word) }
    }

    #[inline(always)]
    unsafe fn dot(sums: Self::Sums, lhs: Self::Words, rhs: Self::Words) -> Self::Sums {
        // SAFETY: the other `Dot` has the same contract.
        unsafe { W::Into::dot(sums, lhs, rhs) }
    }

    #[inline(always)]
    unsafe fn dot_row<const VECTORS: usize>(
        sums: &mut [Self::Sums; VECTORS],
        lhs: *const u32,
        rhs: &[Self::Words; VECTORS],
    ) {
        // SAFETY: the other `Dot` has the same contract.
        unsafe { W::Into::dot_row(sums, lhs, rhs) }
    }

    #[inline(always)]
    unsafe fn store(sums: Self::Sums, epilogue: &RowEpilogue<'_>, column: usize, dst: *mut f32) {
        // SAFETY: the other `Dot` has the same contract.
        unsafe { W::Into::store(sums, epilogue, column, dst) }
    }
}

/// Writes words as the vectors that [`Widened::widen`] returns. The values of a column's words are
/// written below each other: `[value][32]`.
///
/// # Safety
/// `words` is readable for `count` words, which are whole panels. `into` is writable for
/// `count * COLUMNS * VALUES` values. The processor supports the instructions.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its level"
)]
pub(crate) unsafe fn widen<W: Widened>(count: usize, words: *const u32, into: *mut f32) {
    let k_stride = PANEL / W::COLUMNS;
    for word in (0..count).step_by(W::Into::LANES / W::COLUMNS) {
        for value in 0..W::VALUES {
            let row = word / k_stride * W::VALUES + value;
            let column = word % k_stride * W::COLUMNS;
            // SAFETY: whole panels are whole vectors, so each vector of words is readable, and its
            // values are writable.
            unsafe {
                let vector = into.add(row * PANEL + column);
                let words = W::widen(words.add(word), value);
                vector
                    .cast::<<W::Into as Dot>::Words>()
                    .write_unaligned(words);
            }
        }
    }
}

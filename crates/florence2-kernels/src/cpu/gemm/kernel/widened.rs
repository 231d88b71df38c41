//! Columns that are narrower than f32, where no instruction multiplies them. A few rows read them
//! as f32. For many rows, they are first written as f32.

use super::{Dot, End, PANEL};

/// Columns that are converted to another format as they are read, and processed in that format.
#[allow(unsafe_code)]
pub(crate) trait Widened: Copy {
    type Into: Dot;
    /// See [`Dot::COLUMNS_PER_WORD`].
    const COLUMNS: usize = 1;
    /// See [`Dot::VALUES_PER_WORD`].
    const VALUES: usize = 1;

    /// See [`Dot::load`].
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
        // SAFETY: guaranteed by the caller, as below.
        unsafe { W::widen(words, value) }
    }

    #[inline(always)]
    unsafe fn broadcast(word: *const u32) -> Self::Words {
        // SAFETY: as above.
        unsafe { W::Into::broadcast(word) }
    }

    #[inline(always)]
    unsafe fn dot(sums: Self::Sums, left: Self::Words, right: Self::Words) -> Self::Sums {
        // SAFETY: as above.
        unsafe { W::Into::dot(sums, left, right) }
    }

    #[inline(always)]
    unsafe fn dot_row<const VECTORS: usize>(
        sums: &mut [Self::Sums; VECTORS],
        left: *const u32,
        right: &[Self::Words; VECTORS],
    ) {
        // SAFETY: as above.
        unsafe { W::Into::dot_row(sums, left, right) }
    }

    #[inline(always)]
    unsafe fn store(sums: Self::Sums, end: &End<'_>, column: usize, result: *mut f32) {
        // SAFETY: as above.
        unsafe { W::Into::store(sums, end, column, result) }
    }
}

/// Writes words as the vectors that [`Widened::widen`] returns. The values of a step's words are
/// written below each other.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its level"
)]
pub(crate) unsafe fn widen<W: Widened>(count: usize, words: *const u32, into: *mut f32) {
    let step = PANEL / W::COLUMNS;
    for word in (0..count).step_by(W::Into::LANES / W::COLUMNS) {
        for value in 0..W::VALUES {
            let row = word / step * W::VALUES + value;
            let column = word % step * W::COLUMNS;
            // SAFETY: guaranteed by the caller: words are whole panels, and so whole vectors.
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

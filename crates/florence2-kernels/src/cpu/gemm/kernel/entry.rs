//! The safe entry point of the kernels.

use std::cell::Cell;

use super::args::{GemmArgs, Lhs, Rhs};
use super::widened::Widened;
use crate::cpu::buffer_pool::resize_at_least;
use crate::cpu::gemm::epilogue::Epilogue;
use crate::cpu::gemm::format::PANEL;
use crate::cpu::gemm::prefetch::prefetch;

/// Up to this many row tiles, each tile widens narrow columns to f32 as it reads them, and the
/// first tile stalls on its columns longer than it multiplies, so it prefetches them. More tiles
/// share columns that are widened once, and multiply long enough to hide the reads.
pub(crate) const FEW_TILES: usize = 3;

/// Multiplies up to the kernel's number of rows.
///
/// # Safety
/// The invariants of [`GemmArgs`], and `m` is at most the kernel's `max_rows`.
type Run = unsafe fn(&GemmArgs<'_>);

/// Multiplies all rows and returns true, or returns false if that would not be faster.
///
/// # Safety
/// The invariants of [`GemmArgs`], and `n` is more than half a panel.
type RunAllRows = unsafe fn(&GemmArgs<'_>) -> bool;

/// Widens words of whole panels to f32: their number, the source and the destination.
///
/// # Safety
/// The source has these words and the destination room for all their values. The processor supports
/// the instructions of the kernel.
type Widen = unsafe fn(usize, *const u32, *mut f32);

/// A kernel for columns of one format and rows of one format.
pub(crate) struct Kernel {
    run: Run,
    /// Like `run`, with prefetching of columns.
    run_prefetching: Run,
    /// MR: the number of rows that the microkernel multiplies at once.
    max_rows: usize,
    /// The conversion of columns to f32, if this kernel converts them as they are read.
    widening: Option<Widening>,
    run_all_rows: Option<RunAllRows>,
    /// The number of columns in a word: two for f16.
    columns_per_word: usize,
    /// The number of values of a column in a word, each of which is multiplied by a word of the
    /// rows.
    values_per_word: usize,
    /// The number of words of a row, from `k`.
    lhs_words: fn(usize) -> usize,
}

#[derive(Clone, Copy)]
struct Widening {
    widen: Widen,
    /// The kernel that multiplies widened columns.
    f32_kernel: &'static Kernel,
}

thread_local! {
    /// Columns widened to f32, reused from product to product.
    static WIDENED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

impl Kernel {
    /// A kernel of a microkernel alone, for up to `max_rows` rows.
    pub(crate) const fn new(run: Run, run_prefetching: Run, max_rows: usize) -> Self {
        Self {
            run,
            run_prefetching,
            max_rows,
            widening: None,
            run_all_rows: None,
            columns_per_word: 1,
            values_per_word: 1,
            lhs_words: |k| k,
        }
    }

    /// This kernel, for columns that are widened to f32 as they are read. Each value of a word is
    /// multiplied by a word of the rows. `f32_kernel` multiplies columns that were widened before.
    pub(crate) const fn widening<W: Widened>(
        self,
        widen: Widen,
        f32_kernel: &'static Self,
    ) -> Self {
        Self {
            widening: Some(Widening { widen, f32_kernel }),
            columns_per_word: W::COLUMNS,
            values_per_word: W::VALUES,
            ..self
        }
    }

    /// This kernel, with another kernel for columns that were widened before.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const fn with_f32_kernel(self, f32_kernel: &'static Self) -> Self {
        let widening = match self.widening {
            Some(Widening { widen, .. }) => Some(Widening { widen, f32_kernel }),
            None => None,
        };
        Self { widening, ..self }
    }

    /// This kernel, with a faster way to multiply all rows at once.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const fn with_all_rows(self, run: RunAllRows) -> Self {
        Self {
            run_all_rows: Some(run),
            ..self
        }
    }

    /// This kernel, for words of `columns_per_word` columns and rows of `lhs_words(k)` words.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const fn with_words(
        self,
        columns_per_word: usize,
        lhs_words: fn(usize) -> usize,
    ) -> Self {
        Self {
            columns_per_word,
            lhs_words,
            ..self
        }
    }

    /// Computes `dst = epilogue(lhs * rhs)`, one row tile after the other. `k` is the number of words
    /// of a row. Row `r` of the result begins at `r * dst_row_stride`.
    ///
    /// # Panics
    /// If an operand is too short for its dimensions.
    #[allow(unsafe_code)]
    pub(crate) fn multiply(
        &self,
        k: usize,
        lhs: Lhs<'_>,
        rhs: Rhs<'_>,
        dst: &mut [f32],
        dst_row_stride: usize,
        epilogue: Epilogue<'_>,
    ) {
        let (m, n) = (lhs.m, rhs.n);
        if m == 0 {
            return;
        }
        let fits = |words: Option<usize>, length| words.is_some_and(|words| words <= length);
        // Invariant 1 of `GemmArgs`.
        assert!((1..=PANEL).contains(&n) && k > 0);
        // Invariant 2.
        let row_reach = reach((self.lhs_words)(k), lhs.k_stride, 1);
        let lhs_reach = row_reach.and_then(|words| reach(m, lhs.row_stride, words));
        assert!(fits(lhs_reach, lhs.words.len()));
        // Invariant 3.
        let width = if n <= PANEL / 2 { PANEL / 2 } else { PANEL };
        let rhs_k = k.div_ceil(self.values_per_word);
        let vector_words = width / self.columns_per_word;
        assert!(fits(
            reach(rhs_k, rhs.k_stride, vector_words),
            rhs.words.len()
        ));
        // Invariant 4.
        assert!(fits(reach(m, dst_row_stride, n), dst.len()));
        assert!(m == 1 || dst_row_stride >= n);
        // Invariant 5.
        assert!(epilogue.bias.is_none_or(|bias| bias.len() >= n));
        assert!(epilogue.row_scales.is_none_or(|scales| scales.len() >= m));
        let args = GemmArgs {
            k: rhs_k,
            m,
            n,
            lhs: lhs.words.as_ptr(),
            lhs_row_stride: lhs.row_stride,
            lhs_k_stride: lhs.k_stride,
            rhs: rhs.words.as_ptr(),
            rhs_k_stride: rhs.k_stride,
            next: match rhs.next {
                [] => rhs.words,
                next => next,
            }
            .as_ptr(),
            column_max: rhs.column_max,
            dst: dst.as_mut_ptr(),
            dst_row_stride,
            epilogue,
        };
        if let Some(run_all_rows) = self.run_all_rows.filter(|_| width == PANEL) {
            // SAFETY: the asserts above establish invariants 1 to 5; 6 holds by the selection of
            // the kernel. Kernels with this function have one value of a column per word of a row,
            // so `k` words of a row are the ones that 2 requires.
            if unsafe { run_all_rows(&args) } {
                return;
            }
        }
        let tiles = m.div_ceil(self.max_rows);
        let whole_words = self.values_per_word == 1
            || lhs.k_stride == 1 && k.is_multiple_of(self.values_per_word);
        if let Some(widening) = self.widening.filter(|_| tiles > FEW_TILES || !whole_words) {
            return self.with_widened(rhs_k, rhs, widening.widen, |rhs| {
                let kernel = widening.f32_kernel;
                kernel.multiply(k, lhs, rhs, dst, dst_row_stride, epilogue);
            });
        }
        // Each of many tiles prefetches a share of the next columns.
        let mut shares = rhs.next.chunks(rhs.next.len().div_ceil(tiles).max(1));
        let mut first = 0;
        for tile in 0..tiles {
            let count = (m - first).div_ceil(tiles - tile);
            let run = match tile {
                0 if tiles <= FEW_TILES => self.run_prefetching,
                _ => self.run,
            };
            if tiles > FEW_TILES {
                prefetch(shares.next().unwrap_or_default());
            }
            // SAFETY: the asserts above establish invariants 1 to 5; 6 holds by the selection of
            // the kernel. `whole_words` makes `k` of a row the multiple of `rhs_k` that invariant 2
            // requires. `count` is at most `max_rows`, and `first + count` at most `m`.
            unsafe { run(&args.rows(first, count)) };
            first += count;
        }
    }

    /// Calls `work` with `k` words of whole panels, widened to f32.
    #[allow(unsafe_code)]
    fn with_widened(&self, k: usize, rhs: Rhs<'_>, widen: Widen, work: impl FnOnce(Rhs<'_>)) {
        assert!(
            rhs.k_stride * self.columns_per_word == PANEL,
            "whole panels"
        );
        let words = &rhs.words[..k * rhs.k_stride];
        let mut widened = WIDENED.take();
        let values = resize_at_least(&mut widened, k * self.values_per_word * PANEL);
        // SAFETY: `words` are whole panels, and there is room for the values of all of them; the
        // processor supports the instructions by the selection of the kernel.
        unsafe { widen(words.len(), words.as_ptr(), values.as_mut_ptr()) };
        work(Rhs {
            words: bytemuck::cast_slice(values),
            k_stride: PANEL,
            ..rhs
        });
        WIDENED.set(widened);
    }
}

/// The number of words that `count` runs of `length` words span if they begin `stride` words apart;
/// `None` if it overflows.
fn reach(count: usize, stride: usize, length: usize) -> Option<usize> {
    count
        .checked_sub(1)?
        .checked_mul(stride)?
        .checked_add(length)
}

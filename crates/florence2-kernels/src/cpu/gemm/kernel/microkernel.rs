//! The generic microkernel, over the vector operations of a format at a SIMD level.

use super::args::GemmArgs;
use crate::cpu::cache_line::LINE;
use crate::cpu::gemm::epilogue::Quantised;
use crate::cpu::gemm::format::PANEL;
use crate::cpu::gemm::prefetch::prefetch_ahead;

/// The vector operations that multiply columns of a format at a SIMD level.
///
/// # Safety
/// `Words` is plain data that may be written anywhere as [`Self::LANES`] f32, and `Sums` plain data
/// for which all bits zero is a valid value: zeros.
///
/// The functions have a common contract: the processor supports the instructions of the
/// implementation, and every pointer is valid for the vector or word that the function names.
#[allow(unsafe_code)]
pub(crate) unsafe trait Dot {
    /// A vector of words.
    type Words: Copy;
    /// A vector of sums.
    type Sums: Copy;
    /// The number of columns in a vector.
    const LANES: usize;
    /// The number of columns in a word.
    const COLUMNS_PER_WORD: usize = 1;
    /// The number of values of a column in a word, each of which is multiplied by a word of the
    /// rows: four at most.
    const VALUES_PER_WORD: usize = 1;

    /// Loads value number `value` of each word of a vector of columns.
    ///
    /// # Safety
    /// `words` is readable for `LANES / COLUMNS_PER_WORD` words, and the processor supports the
    /// instructions.
    unsafe fn load(words: *const u32, value: usize) -> Self::Words;

    /// Loads one word of a row into all lanes.
    ///
    /// # Safety
    /// `word` is readable, and the processor supports the instructions.
    unsafe fn broadcast(word: *const u32) -> Self::Words;

    /// Computes `sums + lhs * rhs`.
    ///
    /// # Safety
    /// The processor supports the instructions.
    unsafe fn dot(sums: Self::Sums, lhs: Self::Words, rhs: Self::Words) -> Self::Sums;

    /// Adds the product of a word of one row and the words of the columns.
    ///
    /// # Safety
    /// `lhs` is readable, and the processor supports the instructions.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it must be compiled for its level")]
    unsafe fn dot_row<const VECTORS: usize>(
        sums: &mut [Self::Sums; VECTORS],
        lhs: *const u32,
        rhs: &[Self::Words; VECTORS],
    ) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let lhs = Self::broadcast(lhs);
            for (sums, rhs) in sums.iter_mut().zip(rhs) {
                *sums = Self::dot(*sums, lhs, *rhs);
            }
        }
    }

    /// Applies the epilogue to a vector of sums and stores it at `dst`.
    ///
    /// # Safety
    /// `dst` is readable and writable for [`Self::LANES`] values and `epilogue.bias` readable for as
    /// many. `column + LANES` is at most [`PANEL`]. The processor supports the instructions.
    unsafe fn store(sums: Self::Sums, epilogue: &RowEpilogue<'_>, column: usize, dst: *mut f32);
}

/// The epilogue of a vector of columns of one row.
pub(crate) struct RowEpilogue<'a> {
    pub(crate) row_scale: f32,
    /// The bias of the vector's columns.
    pub(crate) bias: *const f32,
    pub(crate) accumulate: bool,
    pub(crate) quantised: Option<Quantised<'a>>,
}

/// The addend if there is no bias.
static NO_BIAS: [f32; PANEL] = [0.0; PANEL];

/// Multiplies `ROWS` rows by `VECTORS` vectors of columns from `column` on, with or without
/// prefetching.
///
/// # Safety
/// The invariants of [`GemmArgs`]; `m >= ROWS`; all columns from `column` on that the vectors span
/// are readable: `column + VECTORS * D::LANES` is at most the `width` of invariant 3.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its level"
)]
pub(crate) unsafe fn microkernel<
    D: Dot,
    const ROWS: usize,
    const VECTORS: usize,
    const PREFETCH: bool,
>(
    args: &GemmArgs<'_>,
    column: usize,
) {
    const UNROLL: usize = 4;
    // SAFETY: invariants 2 and 3 for the words of the rows and columns below `k`, 4 and 5 for the
    // results; 6 for the instructions.
    unsafe {
        // Zeros are valid, as `Dot` requires. They are set as bytes: a loop would keep the sums in
        // memory.
        let mut sums: [[D::Sums; VECTORS]; ROWS] = std::mem::zeroed();
        // The offset of the current words of the columns. It is an integer, since after the last
        // words a pointer would be out of bounds.
        let mut at = column / D::COLUMNS_PER_WORD;
        let mut lhs = [args.lhs; ROWS];
        for (row, lhs) in lhs.iter_mut().enumerate() {
            *lhs = lhs.add(row * args.lhs_row_stride);
        }
        if args.lhs_k_stride == 1 {
            let mut p = 0;
            while p + UNROLL <= args.k {
                for part in 0..UNROLL {
                    let rhs = args.rhs.add(at + part * args.rhs_k_stride);
                    if PREFETCH {
                        let words = VECTORS * D::LANES / D::COLUMNS_PER_WORD;
                        prefetch_ahead(rhs, words.div_ceil(LINE));
                    }
                    add_products::<D, ROWS, VECTORS>(&mut sums, &lhs, p + part, rhs);
                }
                at += UNROLL * args.rhs_k_stride;
                p += UNROLL;
            }
            while p < args.k {
                add_products::<D, ROWS, VECTORS>(&mut sums, &lhs, p, args.rhs.add(at));
                at += args.rhs_k_stride;
                p += 1;
            }
        } else {
            for p in 0..args.k {
                let rhs = args.rhs.add(at);
                add_products::<D, ROWS, VECTORS>(&mut sums, &lhs, p * args.lhs_k_stride, rhs);
                at += args.rhs_k_stride;
            }
        }
        // A copy that is read by index, so that the sums themselves stay in registers until here.
        let sums = sums;
        for (row, sums) in sums.iter().enumerate() {
            store_row::<D, VECTORS>(sums, args, row, column);
        }
    }
}

/// Stores a row's vectors of columns, from `column` on.
///
/// # Safety
/// The invariants of [`GemmArgs`], and `row < m`.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its level"
)]
pub(crate) unsafe fn store_row<D: Dot, const VECTORS: usize>(
    sums: &[D::Sums; VECTORS],
    args: &GemmArgs<'_>,
    row: usize,
    column: usize,
) {
    let bias = args.epilogue.bias.map_or(NO_BIAS.as_ptr(), <[f32]>::as_ptr);
    let scales = args.epilogue.row_scales;
    for (vector, sums) in sums.iter().enumerate() {
        let column = column + vector * D::LANES;
        if column >= args.n {
            break;
        }
        // SAFETY: `column < n`, so the row and its bias have values from it on (invariants 4 and
        // 5): a whole vector, or the rest, which `store_some` stores. 5 for the row's scale.
        unsafe {
            let epilogue = RowEpilogue {
                row_scale: scales.map_or(1.0, |scales| *scales.get_unchecked(row)),
                bias: bias.add(column),
                accumulate: args.epilogue.accumulate,
                quantised: args.epilogue.quantised,
            };
            let dst = args.dst.add(row * args.dst_row_stride + column);
            if column + D::LANES <= args.n {
                D::store(*sums, &epilogue, column, dst);
            } else {
                store_some::<D>(*sums, epilogue, column, dst, args.n - column);
            }
        }
    }
}

/// Stores the first `columns` columns of a vector.
///
/// # Safety
/// That of [`Dot::store`], with `columns` values of `dst` and of the bias instead of a vector's.
#[cold]
#[allow(unsafe_code)]
unsafe fn store_some<D: Dot>(
    sums: D::Sums,
    epilogue: RowEpilogue<'_>,
    column: usize,
    dst: *mut f32,
    columns: usize,
) {
    let (mut values, mut bias) = ([0.0; PANEL], [0.0; PANEL]);
    // SAFETY: the caller guarantees `columns` values of the result and of the bias. The copies hold
    // a vector each.
    unsafe {
        dst.copy_to(values.as_mut_ptr(), columns);
        epilogue.bias.copy_to(bias.as_mut_ptr(), columns);
        let epilogue = RowEpilogue {
            bias: bias.as_ptr(),
            ..epilogue
        };
        D::store(sums, &epilogue, column, values.as_mut_ptr());
        dst.copy_from(values.as_ptr(), columns);
    }
}

/// Adds the product of one word of each row and the words of the columns, or of one word for each
/// of their values.
///
/// # Safety
/// Each row of `lhs` is readable at words `at * VALUES_PER_WORD..` for `VALUES_PER_WORD` words, and
/// `rhs` for `VECTORS` vectors. The processor supports the instructions.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its level"
)]
unsafe fn add_products<D: Dot, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[D::Sums; VECTORS]; ROWS],
    lhs: &[*const u32; ROWS],
    at: usize,
    rhs: *const u32,
) {
    // Unrolled by hand: a loop that the compiler does not unroll keeps the sums in memory.
    macro_rules! dot_rows {
        ($value:literal: $($row:literal)*) => {
            if $value < D::VALUES_PER_WORD {
                // SAFETY: guaranteed by the caller.
                unsafe {
                    let mut words = [D::load(rhs, $value); VECTORS];
                    for (index, words) in words.iter_mut().enumerate().skip(1) {
                        *words = D::load(rhs.add(index * D::LANES / D::COLUMNS_PER_WORD), $value);
                    }
                    let at = at * D::VALUES_PER_WORD + $value;
                    $(if $row < ROWS {
                        D::dot_row(&mut sums[$row], lhs[$row].add(at), &words);
                    })*
                }
            }
        };
    }
    dot_rows!(0: 0 1 2 3 4 5 6 7 8 9 10 11 12 13);
    dot_rows!(1: 0 1 2 3 4 5 6 7 8 9 10 11 12 13);
    dot_rows!(2: 0 1 2 3 4 5 6 7 8 9 10 11 12 13);
    dot_rows!(3: 0 1 2 3 4 5 6 7 8 9 10 11 12 13);
}

/// Calls the microkernel for the number of rows, which must be one of the listed ones. An unsafe
/// expression with the contract of [`microkernel`].
macro_rules! for_rows {
    ($args:expr, $column:expr, $dot:ty, $vectors:expr, $prefetch:expr, [$($rows:literal)*]) => {
        match $args.m {
            $($rows => $crate::cpu::gemm::kernel::microkernel::microkernel::<
                $dot, $rows, $vectors, $prefetch,
            >($args, $column),)*
            // INVARIANT: a tile has at most the kernel's number of rows.
            _ => unreachable!("a tile of {} rows", $args.m),
        }
    };
}
pub(crate) use for_rows;

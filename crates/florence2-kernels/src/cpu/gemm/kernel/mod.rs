//! The microkernels: a few rows times 32 columns, with the sums in registers.
//!
//! Both operands consist of 32-bit words. A word holds one f32, two bf16 or four int8 values, which
//! one instruction multiplies and accumulates. A *step* is one word of every row and column. f16
//! columns have words of half the size, which are multiplied by f32 rows. If no instruction
//! multiplies bf16 or int8 columns, they are multiplied by f32 rows as well: each value of a word
//! by a word of the row. AMX takes f32 rows in three digits each.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod widened;

use std::cell::Cell;

pub(crate) use crate::cpu::gemm::format::{Format, RowFormat};
#[cfg(target_arch = "x86_64")]
pub(crate) use amx::split_int8::encode_row as encode_digits;

use crate::cpu::cache_line::LINE;
use crate::cpu::gemm::lhs::sized;
use crate::cpu::gemm::prefetch::{ask_for, ask_for_lines};
use crate::cpu::simd::{Level, level};
use widened::Widened;

/// Only x86-64 has rows in digits.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn encode_digits(_row: &[f32], _largest: f32, _words: &mut [u32]) -> f32 {
    // INVARIANT: `kernel` returns no kernel for digits there.
    unreachable!("digits")
}

/// The number of columns of a panel.
pub(crate) const PANEL: usize = 32;

/// Up to this many row tiles, each tile widens narrow columns to f32 as it reads them, and the
/// first tile stalls on its columns longer than it multiplies, so it prefetches them. More tiles
/// share columns that are widened once, and multiply long enough to hide the reads.
const FEW_TILES: usize = 3;

/// The left operand: step `s` of row `r` is `words[r * row_step + s * step]`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub(crate) words: &'a [u32],
    pub(crate) rows: usize,
    pub(crate) row_step: usize,
    pub(crate) step: usize,
}

/// The right operand, up to 32 columns: step `s` is `words[s * step..]`. Whole vectors are read: 16
/// columns if there are no more than 16, else 32.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    pub(crate) words: &'a [u32],
    pub(crate) columns: usize,
    pub(crate) step: usize,
    /// The largest magnitude of each column, for f32 and f16, if it is needed.
    pub(crate) largest: Option<&'a [f32; PANEL]>,
    /// The next columns that many rows are multiplied by, to be prefetched; empty if they are not
    /// known.
    pub(crate) next: &'a [u32],
}

/// The epilogue of the sums.
#[derive(Clone, Copy, Default)]
pub(crate) struct Finish<'a> {
    /// Adds to the existing result instead of overwriting it.
    pub(crate) add: bool,
    /// The bias of the columns, added to every row.
    pub(crate) bias: Option<&'a [f32]>,
    /// The factors of the rows.
    pub(crate) row_scales: Option<&'a [f32]>,
    /// int8 only.
    pub(crate) quantised: Option<Quantised<'a>>,
}

/// The conversion of sums of int8 columns: `(sum - correction) * scale` for each column. For f32
/// rows, which have no offset, it is `sum * scale`.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, reason = "only there are int8 rows")
)]
pub(crate) struct Quantised<'a> {
    pub(crate) scales: &'a [f32; PANEL],
    pub(crate) corrections: &'a [i32; PANEL],
}

/// The operands of a product as raw pointers, after their bounds were checked.
#[derive(Clone, Copy)]
struct Raw<'a> {
    steps: usize,
    rows: usize,
    left: *const u32,
    left_row_step: usize,
    left_step: usize,
    right: *const u32,
    right_step: usize,
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "only there it is asked for")
    )]
    next: *const u32,
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "only there it is needed")
    )]
    largest: Option<&'a [f32; PANEL]>,
    columns: usize,
    result: *mut f32,
    result_row_step: usize,
    finish: Finish<'a>,
}

type Run = unsafe fn(&Raw<'_>);

/// Widens words of whole panels to f32: their number, the source and the destination.
type Widen = unsafe fn(usize, *const u32, *mut f32);

/// The kernel of a product at the level in use.
pub(crate) struct Kernel {
    run: Run,
    /// Like `run`, with prefetching of columns.
    run_asking: Run,
    max_rows: usize,
    /// Widens columns of another format to f32, for f32 rows.
    widen: Option<Widen>,
    /// Multiplies any number of rows by more than half a panel, if there is a faster way.
    all_rows: Option<AllRows>,
    /// The number of columns in a word: two for f16.
    columns_per_word: usize,
    /// The number of values of a column in a word, each of which is multiplied by a word of the
    /// rows.
    values_per_word: usize,
    /// The number of words of a row with a number of steps.
    left_words: fn(usize) -> usize,
}

/// Multiplies all rows and returns true, or returns false if that would not be faster.
type AllRows = unsafe fn(&Raw<'_>) -> bool;

thread_local! {
    /// Columns widened to f32, reused from product to product.
    static WIDENED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Returns the kernel that multiplies columns of a format by rows of a format at the level in use,
/// if there is one. f32 rows have a kernel for all columns, except for f16 columns at the portable
/// level. If there is a kernel for f16 columns, f32 weights that f16 represents exactly are stored
/// as f16.
pub(crate) fn kernel(columns: Format, rows: RowFormat) -> Option<Kernel> {
    match (level(), columns, rows) {
        #[cfg(target_arch = "x86_64")]
        (Level::Amx, Format::F32, RowFormat::Digits) => Some(amx::split_int8::F32),
        #[cfg(target_arch = "x86_64")]
        (Level::Amx, Format::F16, RowFormat::Digits) => Some(amx::split_int8::F16),
        #[cfg(target_arch = "x86_64")]
        (Level::Amx, Format::Bf16, RowFormat::Bf16) => Some(amx::BF16),
        #[cfg(target_arch = "x86_64")]
        (Level::Amx, Format::Int8, RowFormat::Int8) => Some(amx::INT8),
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512Dot, Format::Bf16, RowFormat::Bf16) => Some(avx512::BF16),
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512Vnni | Level::Avx512Dot, Format::Int8, RowFormat::Int8) => Some(avx512::INT8),
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2Vnni, Format::Int8, RowFormat::Int8) => Some(avx2::INT8),
        #[cfg(target_arch = "aarch64")]
        (Level::NeonDot, Format::Int8, RowFormat::Int8) => Some(neon::INT8),
        (level, columns, RowFormat::F32) => f32_rows_kernel(level, columns),
        _ => None,
    }
}

fn f32_rows_kernel(level: Level, columns: Format) -> Option<Kernel> {
    let [f32, f16, bf16, int8] = match level {
        Level::Portable => [
            Some(portable::F32),
            None,
            Some(portable::BF16_AS_F32),
            Some(portable::INT8_AS_F32),
        ],
        #[cfg(target_arch = "aarch64")]
        Level::Neon | Level::NeonDot => {
            [neon::F32, neon::F16, neon::BF16_AS_F32, neon::INT8_AS_F32].map(Some)
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx2Vnni => {
            [avx2::F32, avx2::F16, avx2::BF16_AS_F32, avx2::INT8_AS_F32].map(Some)
        }
        // A few rows stall on narrow columns; more rows widen the columns first and continue in
        // f32.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Vnni | Level::Avx512Dot | Level::Amx => [
            avx512::F32,
            avx512::F16,
            avx2::BF16_AS_F32,
            avx2::INT8_AS_F32,
        ]
        .map(Some),
    };
    match columns {
        Format::F32 => f32,
        Format::F16 => f16,
        Format::Bf16 => bf16,
        Format::Int8 => int8,
    }
}

/// The f32 kernel of the level in use; every level has one.
pub(crate) fn f32_kernel() -> Kernel {
    // INVARIANT: `kernel` has an f32 arm for every level.
    kernel(Format::F32, RowFormat::F32).expect("every level multiplies f32")
}

impl Kernel {
    /// This kernel, for columns that are widened to f32 as they are read. Each value of a word is a
    /// step.
    const fn widening<W: Widened>(self, widen: Widen) -> Self {
        Self {
            widen: Some(widen),
            columns_per_word: W::COLUMNS,
            values_per_word: W::VALUES,
            ..self
        }
    }

    /// A kernel of a microkernel alone, for up to `max_rows` rows.
    const fn new(run: Run, run_asking: Run, max_rows: usize) -> Self {
        Self {
            run,
            run_asking,
            max_rows,
            widen: None,
            all_rows: None,
            columns_per_word: 1,
            values_per_word: 1,
            left_words: |steps| steps,
        }
    }

    /// Computes `result (+)= left * right` over `steps`, one row tile after the other. Row `r` of
    /// the result begins at `r * row_step`.
    #[allow(unsafe_code)]
    pub(crate) fn multiply(
        &self,
        steps: usize,
        left: Left<'_>,
        right: Right<'_>,
        result: &mut [f32],
        row_step: usize,
        finish: Finish<'_>,
    ) {
        let Left { rows, .. } = left;
        if rows == 0 {
            return;
        }
        assert!((1..=PANEL).contains(&right.columns) && steps > 0);
        let fits = |words: Option<usize>, length| words.is_some_and(|words| words <= length);
        let width = if right.columns <= PANEL / 2 {
            PANEL / 2
        } else {
            PANEL
        };
        let left_words = (self.left_words)(steps);
        let left_row = reach(left_words, left.step, 1);
        let left_reach = left_row.and_then(|words| reach(rows, left.row_step, words));
        assert!(fits(left_reach, left.words.len()));
        let words = width / self.columns_per_word;
        let right_steps = steps.div_ceil(self.values_per_word);
        assert!(fits(
            reach(right_steps, right.step, words),
            right.words.len()
        ));
        assert!(fits(reach(rows, row_step, right.columns), result.len()));
        assert!(rows == 1 || row_step >= right.columns);
        assert!(finish.bias.is_none_or(|bias| bias.len() >= right.columns));
        assert!(finish.row_scales.is_none_or(|scales| scales.len() >= rows));
        let raw = Raw {
            steps: right_steps,
            rows,
            left: left.words.as_ptr(),
            left_row_step: left.row_step,
            left_step: left.step,
            right: right.words.as_ptr(),
            right_step: right.step,
            next: match right.next {
                [] => right.words,
                next => next,
            }
            .as_ptr(),
            largest: right.largest,
            columns: right.columns,
            result: result.as_mut_ptr(),
            result_row_step: row_step,
            finish,
        };
        if let Some(all_rows) = self.all_rows.filter(|_| width == PANEL) {
            // SAFETY: the asserts keep all that the rows and whole vectors of columns reach inside
            // their slices; the processor has the level.
            if unsafe { all_rows(&raw) } {
                return;
            }
        }
        let tiles = rows.div_ceil(self.max_rows);
        let whole_words = self.values_per_word == 1
            || left.step == 1 && steps.is_multiple_of(self.values_per_word);
        if let Some(widen) = self.widen.filter(|_| tiles > FEW_TILES || !whole_words) {
            return self.with_widened(right_steps, right, widen, |right| {
                f32_kernel().multiply(steps, left, right, result, row_step, finish);
            });
        }
        // Each of many tiles prefetches a share of the next columns.
        let mut shares = right.next.chunks(right.next.len().div_ceil(tiles).max(1));
        let mut first = 0;
        for tile in 0..tiles {
            let count = (rows - first).div_ceil(tiles - tile);
            let run = match tile {
                0 if tiles <= FEW_TILES => self.run_asking,
                _ => self.run,
            };
            if tiles > FEW_TILES {
                ask_for(shares.next().unwrap_or_default());
            }
            // SAFETY: as above; `count` is at most `max_rows`.
            unsafe { run(&raw.part(first, count)) };
            first += count;
        }
    }

    /// Calls `work` with steps of whole panels, widened to f32.
    #[allow(unsafe_code)]
    fn with_widened(
        &self,
        steps: usize,
        right: Right<'_>,
        widen: Widen,
        work: impl FnOnce(Right<'_>),
    ) {
        assert!(right.step * self.columns_per_word == PANEL, "whole panels");
        let words = &right.words[..steps * right.step];
        let mut widened = WIDENED.take();
        let values = sized(&mut widened, steps * self.values_per_word * PANEL);
        // SAFETY: there is room for the values of all words; the processor has the level.
        unsafe { widen(words.len(), words.as_ptr(), values.as_mut_ptr()) };
        work(Right {
            words: bytemuck::cast_slice(values),
            step: PANEL,
            ..right
        });
        WIDENED.set(widened);
    }
}

/// The number of words that `count` runs of `length` words span if they begin `step` words apart;
/// `None` if it overflows.
fn reach(count: usize, step: usize, length: usize) -> Option<usize> {
    count.checked_sub(1)?.checked_mul(step)?.checked_add(length)
}

impl Raw<'_> {
    /// A range of the rows.
    #[allow(unsafe_code)]
    unsafe fn part(&self, first: usize, rows: usize) -> Self {
        let Self { finish, .. } = *self;
        // SAFETY: guaranteed by the caller: there are these rows.
        unsafe {
            Self {
                rows,
                left: self.left.add(first * self.left_row_step),
                result: self.result.add(first * self.result_row_step),
                finish: Finish {
                    row_scales: finish.row_scales.map(|scales| &scales[first..]),
                    ..finish
                },
                ..*self
            }
        }
    }
}

/// The vectors of a level, and the instructions that multiply them.
///
/// # Safety
/// `Words` is plain data that may be written anywhere as [`Self::LANES`] f32, and `Sums` plain data
/// for which all bits zero is a valid value: zeros.
#[allow(unsafe_code)]
unsafe trait Dot: Copy {
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

    /// Loads one value of each word of a vector's columns.
    unsafe fn load(words: *const u32, value: usize) -> Self::Words;
    unsafe fn broadcast(word: *const u32) -> Self::Words;
    unsafe fn dot(sums: Self::Sums, left: Self::Words, right: Self::Words) -> Self::Sums;
    /// Adds the product of a word of one row and the words of the columns.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it must be compiled for its level")]
    unsafe fn dot_row<const VECTORS: usize>(
        sums: &mut [Self::Sums; VECTORS],
        left: *const u32,
        right: &[Self::Words; VECTORS],
    ) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let left = Self::broadcast(left);
            for (sums, right) in sums.iter_mut().zip(right) {
                *sums = Self::dot(*sums, left, *right);
            }
        }
    }
    /// Computes `result (+)= sums * scale + bias` for a whole vector of columns from `column` on.
    unsafe fn store(sums: Self::Sums, end: &End<'_>, column: usize, result: *mut f32);
}

/// The epilogue of a row's sums.
struct End<'a> {
    scale: f32,
    /// The bias of the vector's columns.
    bias: *const f32,
    add: bool,
    quantised: Option<Quantised<'a>>,
}

/// The addend if there is no bias.
static NO_BIAS: [f32; PANEL] = [0.0; PANEL];

/// The microkernel: `ROWS` rows times `VECTORS` vectors of columns from `column` on, with or
/// without prefetching.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its level"
)]
unsafe fn tile<D: Dot, const ROWS: usize, const VECTORS: usize, const ASKS: bool>(
    raw: &Raw<'_>,
    column: usize,
) {
    const UNROLL: usize = 4;
    // SAFETY: guaranteed by the caller, which checked every bound.
    unsafe {
        // Zeros are valid, as `Dot` requires. They are set as bytes: a loop would keep the sums in
        // memory.
        let mut sums: [[D::Sums; VECTORS]; ROWS] = std::mem::zeroed();
        // The offset of the current step. It is an integer, since after the last step a pointer
        // would be out of bounds.
        let mut at = column / D::COLUMNS_PER_WORD;
        let mut left = [raw.left; ROWS];
        for (row, left) in left.iter_mut().enumerate() {
            *left = left.add(row * raw.left_row_step);
        }
        if raw.left_step == 1 {
            let mut step = 0;
            while step + UNROLL <= raw.steps {
                for part in 0..UNROLL {
                    let right = raw.right.add(at + part * raw.right_step);
                    if ASKS {
                        let words = VECTORS * D::LANES / D::COLUMNS_PER_WORD;
                        ask_for_lines(right, words.div_ceil(LINE));
                    }
                    add_step::<D, ROWS, VECTORS>(&mut sums, &left, step + part, right);
                }
                at += UNROLL * raw.right_step;
                step += UNROLL;
            }
            while step < raw.steps {
                add_step::<D, ROWS, VECTORS>(&mut sums, &left, step, raw.right.add(at));
                at += raw.right_step;
                step += 1;
            }
        } else {
            for step in 0..raw.steps {
                let right = raw.right.add(at);
                add_step::<D, ROWS, VECTORS>(&mut sums, &left, step * raw.left_step, right);
                at += raw.right_step;
            }
        }
        // A copy that is read by index, so that the sums themselves stay in registers until here.
        let sums = sums;
        for (row, sums) in sums.iter().enumerate() {
            store_row::<D, VECTORS>(sums, raw, row, column);
        }
    }
}

/// Stores a row's vectors of columns, from `column` on.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its level"
)]
unsafe fn store_row<D: Dot, const VECTORS: usize>(
    sums: &[D::Sums; VECTORS],
    raw: &Raw<'_>,
    row: usize,
    column: usize,
) {
    let bias = raw.finish.bias.map_or(NO_BIAS.as_ptr(), <[f32]>::as_ptr);
    let scales = raw.finish.row_scales;
    for (vector, sums) in sums.iter().enumerate() {
        let column = column + vector * D::LANES;
        if column >= raw.columns {
            break;
        }
        // SAFETY: guaranteed by the caller, which checked every bound.
        unsafe {
            let end = End {
                scale: scales.map_or(1.0, |scales| *scales.get_unchecked(row)),
                bias: bias.add(column),
                add: raw.finish.add,
                quantised: raw.finish.quantised,
            };
            let result = raw.result.add(row * raw.result_row_step + column);
            if column + D::LANES <= raw.columns {
                D::store(*sums, &end, column, result);
            } else {
                store_some::<D>(*sums, end, column, result, raw.columns - column);
            }
        }
    }
}

/// Stores the first `columns` columns of a vector.
#[cold]
#[allow(unsafe_code)]
unsafe fn store_some<D: Dot>(
    sums: D::Sums,
    end: End<'_>,
    column: usize,
    result: *mut f32,
    columns: usize,
) {
    let (mut values, mut bias) = ([0.0; PANEL], [0.0; PANEL]);
    // SAFETY: guaranteed by the caller: the result and the bias have so many columns, the copies
    // have a vector's.
    unsafe {
        result.copy_to(values.as_mut_ptr(), columns);
        end.bias.copy_to(bias.as_mut_ptr(), columns);
        let end = End {
            bias: bias.as_ptr(),
            ..end
        };
        D::store(sums, &end, column, values.as_mut_ptr());
        result.copy_from(values.as_ptr(), columns);
    }
}

/// Adds the product of one word of each row and the words of the columns, or of one word for each
/// of their values.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its level"
)]
unsafe fn add_step<D: Dot, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[D::Sums; VECTORS]; ROWS],
    left: &[*const u32; ROWS],
    at: usize,
    right: *const u32,
) {
    // Unrolled by hand: a loop that the compiler does not unroll keeps the sums in memory.
    macro_rules! dot_rows {
        ($value:literal: $($row:literal)*) => {
            if $value < D::VALUES_PER_WORD {
                // SAFETY: guaranteed by the caller, which checked every bound.
                unsafe {
                    let mut words = [D::load(right, $value); VECTORS];
                    for (index, words) in words.iter_mut().enumerate().skip(1) {
                        *words = D::load(right.add(index * D::LANES / D::COLUMNS_PER_WORD), $value);
                    }
                    let at = at * D::VALUES_PER_WORD + $value;
                    $(if $row < ROWS {
                        D::dot_row(&mut sums[$row], left[$row].add(at), &words);
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

/// Calls the microkernel for the number of rows, up to the listed ones.
macro_rules! for_rows {
    ($raw:expr, $column:expr, $dot:ty, $vectors:expr, $asks:expr, [$($rows:literal)*]) => {
        match $raw.rows {
            $($rows => super::tile::<$dot, $rows, $vectors, $asks>($raw, $column),)*
            // INVARIANT: a tile has at most the kernel's number of rows.
            _ => unreachable!("a tile of {} rows", $raw.rows),
        }
    };
}
use for_rows;

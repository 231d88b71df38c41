//! The innermost product: a few rows times 32 columns, whose sums stay in registers.
//!
//! Both operands are words of 32 bits. A word holds one f32, a pair of bf16 or a quad of int8,
//! which one instruction multiplies and adds up; a *step* is one word of every row and column.
//! Columns of f16 are words of half the size, which are multiplied by rows of f32. So are columns of
//! bf16 and int8 where no instruction multiplies them: each value of a word by a word of the row. AMX
//! takes rows of f32 in three digits each.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod format;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod widened;

use std::cell::Cell;

#[cfg(target_arch = "x86_64")]
pub(super) use amx::digits::encode_row as encode_digits;
pub(crate) use format::Format;
pub(super) use format::RowFormat;

use super::ahead::{ask_for, ask_for_lines};
use super::level::{Level, level};
use super::line::LINE;
use super::rows::sized;
use widened::Widened;

/// Elsewhere no rows are in digits.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn encode_digits(_row: &[f32], _largest: f32, _words: &mut [u32]) -> f32 {
    // INVARIANT: `kernel` multiplies none there.
    unreachable!("digits")
}

/// Columns of a panel.
pub(super) const PANEL: usize = 32;

/// Up to so many tiles of rows, each makes f32 of narrower columns as it reads them, and the first waits
/// for its columns more than it multiplies them: it asks for them ahead. More of them share what was
/// made once, and multiply long enough.
const FEW_TILES: usize = 3;

/// Words of the rows: row `r`'s step `s` is `words[r * row_step + s * step]`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) words: &'a [u32],
    pub(super) rows: usize,
    pub(super) row_step: usize,
    pub(super) step: usize,
}

/// Words of up to 32 columns: step `s` is `words[s * step..]`. Whole vectors are read, of 16
/// columns or fewer when there are no more than 16, else of 32.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    pub(super) words: &'a [u32],
    pub(super) columns: usize,
    pub(super) step: usize,
    /// The largest magnitude of each column, of f32 and f16, where that is needed.
    pub(super) largest: Option<&'a [f32; PANEL]>,
    /// What many rows are multiplied by after it, to be asked for meanwhile; nothing if that is not known.
    pub(super) next: &'a [u32],
}

/// What becomes of the sums.
#[derive(Clone, Copy, Default)]
pub(super) struct Finish<'a> {
    /// Added to what the result holds, rather than written over it.
    pub(super) add: bool,
    /// Added to every row, of which the columns are a part.
    pub(super) bias: Option<&'a [f32]>,
    /// Factors of rows.
    pub(super) row_scales: Option<&'a [f32]>,
    /// Of int8.
    pub(super) quantised: Option<Quantised<'a>>,
}

/// What sums of int8 columns stand for: `(sum - correction) * scale` of each; of rows of f32, which have
/// no offset, `sum * scale`.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, reason = "only there are int8 rows")
)]
pub(super) struct Quantised<'a> {
    pub(super) scales: &'a [f32; PANEL],
    pub(super) corrections: &'a [i32; PANEL],
}

/// What is multiplied: raw, after its bounds were checked.
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

/// Writes words of whole panels as f32: how many of them, from where and to where.
type Widen = unsafe fn(usize, *const u32, *mut f32);

/// The tiles of this machine's level.
pub(super) struct Kernel {
    run: Run,
    /// As `run`, asking for columns ahead.
    run_asking: Run,
    max_rows: usize,
    /// How columns become f32 that are multiplied by rows of f32, and are none.
    widen: Option<Widen>,
    /// What multiplies any number of rows by more than half a panel, where there is something better.
    all_rows: Option<AllRows>,
    /// Columns in a word: two of f16.
    columns_per_word: usize,
    /// Values of a column in a word, each of which a word of the rows multiplies.
    values_per_word: usize,
    /// Words of a row of so many steps.
    left_words: fn(usize) -> usize,
}

/// Multiplies all rows, or none where it would not be faster, and says which.
type AllRows = unsafe fn(&Raw<'_>) -> bool;

thread_local! {
    /// Columns as f32, kept from use to use.
    static WIDENED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// How this machine multiplies words of columns by words of rows; by rows of f32 it does all, but for
/// f16 in plain loops. Where there is a way of f16, weights of f32 are kept so.
pub(super) fn kernel(columns: Format, rows: RowFormat) -> Option<Kernel> {
    match (level(), columns, rows) {
        #[cfg(target_arch = "x86_64")]
        (Level::Amx, Format::F32, RowFormat::Digits) => Some(amx::digits::F32),
        #[cfg(target_arch = "x86_64")]
        (Level::Amx, Format::F16, RowFormat::Digits) => Some(amx::digits::F16),
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
        // A few rows wait for narrow columns; more of them widen these, and go on as f32.
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

/// The f32 tiles of this machine, which every level has.
pub(super) fn f32_kernel() -> Kernel {
    // INVARIANT: `kernel` has an arm of f32 for every level.
    kernel(Format::F32, RowFormat::F32).expect("every level multiplies f32")
}

impl Kernel {
    /// As it is, of columns that become f32 as they are read: one of several values in a word is a step.
    const fn widening<W: Widened>(self, widen: Widen) -> Self {
        Self {
            widen: Some(widen),
            columns_per_word: W::COLUMNS,
            values_per_word: W::VALUES,
            ..self
        }
    }

    /// Of tiles alone, of up to so many rows.
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

    /// `result (+)= left * right` over `steps`, row tile by row tile. Row `r` of the result begins
    /// at `r * row_step`.
    #[allow(unsafe_code)]
    pub(super) fn multiply(
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
            // their slices; the level is the machine's.
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
        // Each of many tiles asks for a share of what is multiplied next.
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

    /// Hands on steps of whole panels as f32.
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
        // SAFETY: there is room for the values of all words; the level is the machine's.
        unsafe { widen(words.len(), words.as_ptr(), values.as_mut_ptr()) };
        work(Right {
            words: bytemuck::cast_slice(values),
            step: PANEL,
            ..right
        });
        WIDENED.set(widened);
    }
}

/// How many words `count` runs of `length` words reach over that begin `step` words apart; `None` if
/// the number overflows.
fn reach(count: usize, step: usize, length: usize) -> Option<usize> {
    count.checked_sub(1)?.checked_mul(step)?.checked_add(length)
}

impl Raw<'_> {
    /// Some of the rows.
    #[allow(unsafe_code)]
    unsafe fn part(&self, first: usize, rows: usize) -> Self {
        let Self { finish, .. } = *self;
        // SAFETY: of the caller: there are these rows.
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

/// The words and sums of one level, and how they are multiplied.
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
    /// Columns of a vector.
    const LANES: usize;
    /// Columns in a word.
    const COLUMNS_PER_WORD: usize = 1;
    /// Values of a column in a word, each of which a word of the rows multiplies: four at most.
    const VALUES_PER_WORD: usize = 1;

    /// One of their values of a vector's columns.
    unsafe fn load(words: *const u32, value: usize) -> Self::Words;
    unsafe fn broadcast(word: *const u32) -> Self::Words;
    unsafe fn dot(sums: Self::Sums, left: Self::Words, right: Self::Words) -> Self::Sums;
    /// A word of one row times the words of the columns.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it must be compiled for its level")]
    unsafe fn dot_row<const VECTORS: usize>(
        sums: &mut [Self::Sums; VECTORS],
        left: *const u32,
        right: &[Self::Words; VECTORS],
    ) {
        // SAFETY: of the caller.
        unsafe {
            let left = Self::broadcast(left);
            for (sums, right) in sums.iter_mut().zip(right) {
                *sums = Self::dot(*sums, left, *right);
            }
        }
    }
    /// `result (+)= sums * scale + bias`, of a whole vector of columns from `column` on.
    unsafe fn store(sums: Self::Sums, end: &End<'_>, column: usize, result: *mut f32);
}

/// What a row's sums become.
struct End<'a> {
    scale: f32,
    /// Of the vector's columns.
    bias: *const f32,
    add: bool,
    quantised: Option<Quantised<'a>>,
}

/// What is added where there is no bias.
static NO_BIAS: [f32; PANEL] = [0.0; PANEL];

/// `ROWS` rows times `VECTORS` vectors of columns from `column` on, asked for ahead or not.
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
    // SAFETY: of the caller, which checked every bound.
    unsafe {
        // Zeros, as `Dot` promises. As bytes: a loop would keep the sums in memory.
        let mut sums: [[D::Sums; VECTORS]; ROWS] = std::mem::zeroed();
        // The place of the step that is multiplied. An integer: after the last step, a pointer would
        // leave the columns.
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

/// Stores a row's vectors of columns from `column` on.
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
        // SAFETY: of the caller, which checked every bound.
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

/// Stores the first columns of a vector.
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
    // SAFETY: of the caller: the result and the bias have so many columns, the copies a vector's.
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

/// Adds one word of each row times the words of the columns, or one for each of their values.
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
    // Written out: a loop that the compiler does not unroll keeps the sums in memory.
    macro_rules! dot_rows {
        ($value:literal: $($row:literal)*) => {
            if $value < D::VALUES_PER_WORD {
                // SAFETY: of the caller, which checked every bound.
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

/// Calls a tile of as many rows as there are, up to the listed ones.
macro_rules! for_rows {
    ($raw:expr, $column:expr, $dot:ty, $vectors:expr, $asks:expr, [$($rows:literal)*]) => {
        match $raw.rows {
            $($rows => super::tile::<$dot, $rows, $vectors, $asks>($raw, $column),)*
            // INVARIANT: the rows of a tile are at most the kernel's.
            _ => unreachable!("a tile of {} rows", $raw.rows),
        }
    };
}
use for_rows;

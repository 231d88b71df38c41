//! AMX: 32 rows times 32 columns in registers of 16 by 16.
//!
//! These registers round sums of bf16 in another order than the processor's dot product does: what a prompt
//! is answered must not depend on how many others there are, and so [`few_rows`] rounds as they do. Sums
//! of int8 are exact either way, and of few rows faster in vectors: beside reading the weights, the
//! registers' configuration and the sums' way through memory take their time.

use std::arch::asm;
use std::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_maskz_loadu_epi32, _mm512_permutex2var_epi32,
    _mm512_setzero_si512, _mm512_storeu_si512,
};
use std::cell::Cell;
use std::ops::Range;

mod assembly;
pub(super) mod digits;
mod few_rows;

use assembly::{AHEAD_PER_REGISTER, ask_ahead, ask_for_next, columns, rows, sums};

use super::avx512::{self, Pairs, Quads};
use super::{Dot, FEW_TILES, Kernel, PANEL, Raw, store_row};
use crate::flex::ahead::AHEAD;
use crate::flex::line::{LINE, Line};
use crate::flex::rows::sized;

/// Rows of a register, and words of each of its rows.
const SIDE: usize = 16;

/// Rows that are multiplied together: two registers of them.
const ROWS: usize = 2 * SIDE;

/// Registers of steps that all rows are multiplied in before the next. Their columns' words, and a
/// tile's rows', are 16 KiB each, and stay in the nearest cache; sums wait in the next. With all steps at once
/// both would come from there, which takes up to a fifth longer.
const REGISTERS_OF_BLOCK: usize = 8;

/// Fewer rows of int8 are multiplied in vectors.
const MIN_ROWS_OF_INT8: usize = ROWS;

pub(super) const BF16: Kernel = Kernel {
    all_rows: Some(run_bf16),
    ..avx512::BF16
};
pub(super) const INT8: Kernel = Kernel {
    all_rows: Some(run_int8),
    ..avx512::INT8
};

/// What the registers hold, as the processor reads it.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Of each number of rows. Not made when they are needed: the processor would wait until what was
/// just written had left it.
static CONFIGURATIONS: [Configuration; ROWS + 1] = {
    let mut configurations = [Configuration::of_rows(0); ROWS + 1];
    let mut rows = 0;
    while rows <= ROWS {
        configurations[rows] = Configuration::of_rows(rows);
        rows += 1;
    }
    configurations
};

impl Configuration {
    /// Of the registers as [`assembly`] uses them.
    const fn of_rows(rows: usize) -> Self {
        let (upper, lower) = halves(rows);
        // A register has a row at least, and what is not used any number of them.
        let (upper, lower, side) = (
            upper as u8 + (upper == 0) as u8,
            lower as u8 + (lower == 0) as u8,
            SIDE as u8,
        );
        Self::of([upper, upper, lower, lower, upper, lower, side, side])
    }

    /// Of registers of so many rows, whole ones.
    const fn of([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        let row = size_of::<[u32; SIDE]>() as u16;
        Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [
                row, row, row, row, row, row, row, row, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
            rows: [a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0],
        }
    }
}

/// How many of a tile's rows are the upper ones, and how many the lower.
const fn halves(rows: usize) -> (usize, usize) {
    if rows <= SIDE {
        (rows, 0)
    } else {
        (rows.div_ceil(2), rows / 2)
    }
}

/// Some of the steps: whole registers of them, as the assembly reads it. Distances are in bytes.
#[derive(Clone, Copy)]
#[repr(C)]
struct Segment {
    registers: usize,
    upper: *const u32,
    lower: *const u32,
    left_row_step: usize,
    right: *const u32,
    right_step: usize,
}

impl Segment {
    /// Some registers of a tile, of all of the first tile's.
    fn part(self, tile: &Tile, registers: Range<usize>) -> Self {
        let Self {
            left_row_step,
            right,
            right_step,
            ..
        } = self;
        let first = SIDE * registers.start;
        let upper = self
            .upper
            .wrapping_add(first)
            .wrapping_byte_add(tile.first * left_row_step);
        Self {
            registers: registers.len(),
            upper,
            lower: upper.wrapping_byte_add(tile.upper * left_row_step),
            right: right.wrapping_byte_add(first * right_step),
            ..self
        }
    }
}

/// What a tile's sums begin with and where they go, as the assembly reads it.
#[repr(C)]
struct Ends {
    from: Place,
    to: Place,
}

/// Where a tile's sums lie. The distance is in bytes.
#[derive(Clone, Copy)]
#[repr(C)]
struct Place {
    upper: *mut u32,
    lower: *mut u32,
    row_step: usize,
}

impl Place {
    /// Of numbers that every row has, and that are only read.
    fn of_all_rows(numbers: *const u32) -> Self {
        Self {
            upper: numbers.cast_mut(),
            lower: numbers.cast_mut(),
            row_step: 0,
        }
    }

    #[allow(unsafe_code)]
    unsafe fn in_result(raw: &Raw<'_>, tile: &Tile) -> Self {
        let row_step = size_of::<f32>() * raw.result_row_step;
        // SAFETY: of the caller: the result has these rows.
        unsafe {
            let upper = raw.result.byte_add(tile.first * row_step).cast::<u32>();
            Self {
                upper,
                lower: upper.byte_add(tile.upper * row_step),
                row_step,
            }
        }
    }

    fn apart(Sums(sums): &mut Sums) -> Self {
        let (upper, lower) = sums.split_at_mut(SIDE);
        Self {
            upper: upper.as_mut_ptr().cast(),
            lower: lower.as_mut_ptr().cast(),
            row_step: size_of::<[u32; PANEL]>(),
        }
    }
}

/// Sums that are not yet results: of the upper rows, then from the 16th on of the lower.
#[derive(Clone, Default)]
#[repr(C, align(64))]
struct Sums([[u32; PANEL]; ROWS]);

/// What sums begin with that are added to nothing.
static NOTHING: [u32; PANEL] = [0; PANEL];

/// Multiplies segments of at least one register of steps each. The last is what is asked for ahead.
type Multiply = unsafe fn(&[Segment], &Ends, *const u32);

/// How tiles of more than 16 rows are multiplied, and how those of fewer are.
#[derive(Clone, Copy)]
struct Multiplies {
    both_halves: Multiply,
    upper_half: Multiply,
    /// Whether sums are what the result holds, but for what is added to them.
    sums_can_be_results: bool,
}

const BF16_MULTIPLIES: Multiplies = Multiplies {
    both_halves: multiply_bf16,
    upper_half: multiply_upper_bf16,
    sums_can_be_results: true,
};
const INT8_MULTIPLIES: Multiplies = Multiplies {
    both_halves: multiply_int8,
    upper_half: multiply_upper_int8,
    sums_can_be_results: false,
};

macro_rules! multiply {
    ($name:ident, $instruction:literal, both) => {
        multiply!($name, $instruction, both, ask_for_next!());
    };
    // These few rows wait for their own columns: a line of each half of them, of 16 steps.
    ($name:ident, $instruction:literal, upper) => {
        multiply!(
            $name, $instruction, upper,
            ask_ahead!(0 64 128 192 256 320 384 448 512 576 640 704 768 832 896 960
                1024 1088 1152 1216 1280 1344 1408 1472 1536 1600 1664 1728 1792 1856 1920 1984)
        );
    };
    ($name:ident, $instruction:literal, $rows:ident, $ask:expr) => {
        #[allow(unsafe_code)]
        unsafe fn $name(segments: &[Segment], ends: &Ends, next: *const u32) {
            let segments = segments.as_ptr_range();
            // SAFETY: of the caller: the registers are configured for rows and columns that the
            // segments' and the ends' pointers reach. To ask for memory ahead never fails.
            unsafe {
                asm!(
                    sums!(load, $rows),
                    "2:",
                    "mov {registers}, [{segment}]",
                    "mov {upper}, [{segment} + 8]",
                    "mov {lower}, [{segment} + 16]",
                    "mov {left_row_step}, [{segment} + 24]",
                    "mov {right}, [{segment} + 32]",
                    "mov {right_step}, [{segment} + 40]",
                    "mov {register_step}, {right_step}",
                    "shl {register_step}, 4",
                    "3:",
                    $ask,
                    columns!(0, 64),
                    rows!($rows, $instruction, 0),
                    "add {upper}, 64",
                    "add {lower}, 64",
                    "add {right}, {register_step}",
                    "dec {registers}",
                    "jnz 3b",
                    "add {segment}, {segment_size}",
                    "cmp {segment}, {end}",
                    "jne 2b",
                    sums!(store, $rows),
                    // Every operand must be named.
                    "# {ahead} {next}",
                    segment = inout(reg) segments.start => _,
                    end = in(reg) segments.end,
                    segment_size = const size_of::<Segment>(),
                    ahead = const AHEAD,
                    ends = in(reg) ends,
                    registers = out(reg) _,
                    upper = out(reg) _,
                    lower = out(reg) _,
                    left_row_step = out(reg) _,
                    right = out(reg) _,
                    right_step = out(reg) _,
                    register_step = out(reg) _,
                    next = inout(reg) next => _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

multiply!(multiply_bf16, "tdpbf16ps", both);
multiply!(multiply_upper_bf16, "tdpbf16ps", upper);
multiply!(multiply_int8, "tdpbusd", both);
multiply!(multiply_upper_int8, "tdpbusd", upper);

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn run_bf16(raw: &Raw<'_>) -> bool {
    // SAFETY: of the caller.
    unsafe {
        if raw.rows <= few_rows::MAX_ROWS && raw.left_step == 1 {
            few_rows::run(raw);
            return true;
        }
        run::<Pairs>(raw, BF16_MULTIPLIES)
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[allow(unsafe_code)]
unsafe fn run_int8(raw: &Raw<'_>) -> bool {
    if raw.rows < MIN_ROWS_OF_INT8 {
        return false;
    }
    // SAFETY: of the caller.
    unsafe { run::<Quads>(raw, INT8_MULTIPLIES) }
}

thread_local! {
    /// Rows' words that do not lie as registers read them, copied; kept from use to use.
    static COPY: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
    /// Of each tile, kept from use to use.
    static SUMS: Cell<Vec<Sums>> = const { Cell::new(Vec::new()) };
}

/// Multiplies all rows, or none that lie neither beside nor under each other, and says which.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
unsafe fn run<D: Dot>(raw: &Raw<'_>, multiplies: Multiplies) -> bool {
    if raw.left_step != 1 && raw.left_row_step != 1 {
        return false;
    }
    let mut copy = COPY.take();
    let mut right_rest = [Line::default(); 2 * SIDE];
    // SAFETY: of the caller, which checked every bound.
    unsafe {
        let ([whole, rest], used) = segments(raw, raw.rows, &mut copy, &mut right_rest);
        let all = whole.registers + used - 1;
        let blocks = match raw.rows.div_ceil(ROWS) {
            ..=FEW_TILES => 1,
            _ => all.div_ceil(REGISTERS_OF_BLOCK),
        };
        let Multiplies {
            sums_can_be_results,
            ..
        } = multiplies;
        for_each_tile::<D>(
            raw,
            all,
            blocks,
            sums_can_be_results,
            |tile, registers, ends| {
                // INVARIANT: the last block is not the rest alone: where there are several, each has four
                // registers at least.
                let used = if registers.end == all { used } else { 1 };
                let of_whole = registers.start..registers.end.min(whole.registers);
                let segments = [whole.part(tile, of_whole), rest.part(tile, 0..1)];
                let multiply = match tile.lower {
                    0 => multiplies.upper_half,
                    _ => multiplies.both_halves,
                };
                multiply(&segments[..used], ends, tile.next);
            },
        );
    }
    COPY.set(copy);
    true
}

/// Whether what is added to sums can be there before them, and nothing else becomes of them.
fn sums_are_results(raw: &Raw<'_>) -> bool {
    let finish = &raw.finish;
    raw.columns == PANEL && finish.row_scales.is_none() && !(finish.add && finish.bias.is_some())
}

/// Up to 32 rows.
struct Tile {
    first: usize,
    /// How many of them are in the upper registers, and how many in the lower.
    upper: usize,
    lower: usize,
    /// Its share of the columns that are multiplied next.
    next: *const u32,
}

/// Has `multiply` multiply a block of registers of steps of one tile of rows after the other, then the
/// next block, with the registers configured for them, and finishes sums that are not yet results.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
unsafe fn for_each_tile<D: Dot>(
    raw: &Raw<'_>,
    registers: usize,
    blocks: usize,
    sums_can_be_results: bool,
    mut multiply: impl FnMut(&Tile, Range<usize>, &Ends),
) {
    let Raw { rows, finish, .. } = *raw;
    let direct = sums_can_be_results && sums_are_results(raw);
    let tiles = rows.div_ceil(ROWS);
    let mut all_sums = SUMS.take();
    let sums_of_tiles = sized(&mut all_sums, tiles);
    let mut next = raw.next;
    let mut configured = 0;
    let mut first = 0;
    for block in 0..blocks {
        let end = first + (registers - first).div_ceil(blocks - block);
        let (is_first, is_last) = (block == 0, block + 1 == blocks);
        for (index, sums) in sums_of_tiles.iter_mut().enumerate() {
            let count = ROWS.min(rows - index * ROWS);
            let (upper, lower) = halves(count);
            let tile = Tile {
                first: index * ROWS,
                upper,
                lower,
                next,
            };
            next = next.wrapping_byte_add((end - first) * AHEAD_PER_REGISTER);
            // SAFETY: of the caller, which checked every bound.
            unsafe {
                if count != configured {
                    configure(&CONFIGURATIONS[count]);
                    configured = count;
                }
                let result = Place::in_result(raw, &tile);
                let apart = Place::apart(sums);
                let from = match finish.bias {
                    _ if !is_first => apart,
                    Some(bias) if direct => Place::of_all_rows(bias.as_ptr().cast()),
                    None if direct && finish.add => result,
                    _ => Place::of_all_rows(NOTHING.as_ptr()),
                };
                let to = if direct && is_last { result } else { apart };
                multiply(&tile, first..end, &Ends { from, to });
                if is_last && !direct {
                    finish_sums::<D>(raw, &tile, sums);
                }
            }
        }
        first = end;
    }
    // SAFETY: of the caller: the processor has the registers.
    unsafe {
        asm!("tilerelease", options(nomem, nostack));
    }
    SUMS.set(all_sums);
}

/// Writes results of a tile's sums.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
unsafe fn finish_sums<D: Dot>(raw: &Raw<'_>, tile: &Tile, Sums(sums): &Sums) {
    let (upper, lower) = sums.split_at(SIDE);
    let sums = upper[..tile.upper].iter().chain(&lower[..tile.lower]);
    for (row, sums) in sums.enumerate() {
        // SAFETY: of the caller, which checked every bound: a row's sums are two vectors of them.
        unsafe {
            let sums = sums.as_ptr().cast::<[D::Sums; 2]>().read();
            store_row::<D, 2>(&sums, raw, tile.first + row, 0);
        }
    }
}

/// Has the registers hold what they are to.
#[allow(unsafe_code)]
unsafe fn configure(configuration: &Configuration) {
    // SAFETY: of the caller: the processor has the registers.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) configuration, options(readonly, nostack));
    }
}

/// All steps of the first tile, its lower rows aside, and how many segments they are: what fills
/// registers, and a copy of what remains, with zeros beyond it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn segments(
    raw: &Raw<'_>,
    rows: usize,
    copy: &mut Vec<Line>,
    right_rest: &mut [Line; 2 * SIDE],
) -> ([Segment; 2], usize) {
    let (whole, rest) = (raw.steps / SIDE, raw.steps % SIDE);
    // SAFETY: of the caller, which checked every bound.
    unsafe {
        let (left, left_step, left_rest, left_rest_step);
        if raw.left_step == 1 {
            (left, left_step) = (raw.left, raw.left_row_step);
            (left_rest, left_rest_step) = (copy_rest(raw, rows, copy), LINE);
        } else {
            left_step = raw.steps.next_multiple_of(SIDE);
            left = copy_side_by_side(raw, rows, copy);
            (left_rest, left_rest_step) = (left.add(whole * SIDE), left_step);
        }
        for step in 0..rest {
            let words = raw.right.add((whole * SIDE + step) * raw.right_step);
            let lines = right_rest[2 * step..].as_mut_ptr().cast();
            words.copy_to_nonoverlapping(lines, PANEL);
        }
        let of_whole = Segment {
            registers: whole,
            upper: left,
            lower: left,
            left_row_step: size_of::<u32>() * left_step,
            right: raw.right,
            right_step: size_of::<u32>() * raw.right_step,
        };
        let of_rest = Segment {
            registers: 1,
            upper: left_rest,
            lower: left_rest,
            left_row_step: size_of::<u32>() * left_rest_step,
            right: right_rest.as_ptr().cast(),
            right_step: size_of::<u32>() * PANEL,
        };
        match (whole, rest) {
            (_, 0) => ([of_whole; 2], 1),
            (0, _) => ([of_rest; 2], 1),
            _ => ([of_whole, of_rest], 2),
        }
    }
}

/// The rows' last words, a line of each.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn copy_rest(raw: &Raw<'_>, rows: usize, copy: &mut Vec<Line>) -> *const u32 {
    let rest = raw.steps % SIDE;
    if rest == 0 {
        return raw.left;
    }
    let mask = mask(rest);
    for (row, line) in sized(copy, rows).iter_mut().enumerate() {
        // SAFETY: of the caller: the row has these words.
        unsafe {
            let words = raw.left.add(row * raw.left_row_step + raw.steps - rest);
            let words = _mm512_maskz_loadu_epi32(mask, words.cast());
            _mm512_storeu_si512(line.0.as_mut_ptr().cast(), words);
        }
    }
    copy.as_ptr().cast()
}

/// Rows whose words lie under each other, side by side, as long as whole registers.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn copy_side_by_side(raw: &Raw<'_>, rows: usize, copy: &mut Vec<Line>) -> *const u32 {
    let lines = raw.steps.div_ceil(SIDE);
    let copy = sized(copy, rows.next_multiple_of(SIDE) * lines);
    for first_row in (0..rows).step_by(SIDE) {
        let mask = mask(SIDE.min(rows - first_row));
        for line in 0..lines {
            let first = line * SIDE;
            let mut block = [_mm512_setzero_si512(); SIDE];
            // SAFETY: of the caller: there are these steps of these rows, one beside the other.
            unsafe {
                let words = raw
                    .left
                    .add(first * raw.left_step + first_row * raw.left_row_step);
                for (step, words_of_step) in block.iter_mut().take(raw.steps - first).enumerate() {
                    let words = words.add(step * raw.left_step);
                    *words_of_step = _mm512_maskz_loadu_epi32(mask, words.cast());
                }
                for (row, words) in transposed(block).iter().enumerate() {
                    let line = &mut copy[(first_row + row) * lines + line];
                    _mm512_storeu_si512(line.0.as_mut_ptr().cast(), *words);
                }
            }
        }
    }
    copy.as_ptr().cast()
}

/// Rows as columns: ever larger squares beside the diagonal change places.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(mut block: [__m512i; SIDE]) -> [__m512i; SIDE] {
    macro_rules! exchange {
        ($($side:literal)*) => {$(
            let [upper, lower] = const { exchanged($side) }.map(|order| vector(&order));
            for row in 0..SIDE {
                if row & $side == 0 {
                    let (a, b) = (block[row], block[row + $side]);
                    block[row] = _mm512_permutex2var_epi32(a, upper, b);
                    block[row + $side] = _mm512_permutex2var_epi32(a, lower, b);
                }
            }
        )*};
    }
    exchange!(1 2 4 8);
    block
}

/// Which words of two rows, the second's from 16 on, the rows have after squares of a side changed
/// places.
const fn exchanged(side: usize) -> [Line; 2] {
    let (mut upper, mut lower) = ([0; SIDE], [0; SIDE]);
    let mut column = 0;
    while column < SIDE {
        let is_right = column & side != 0;
        upper[column] = (if is_right {
            SIDE + column - side
        } else {
            column
        }) as u32;
        lower[column] = (if is_right {
            SIDE + column
        } else {
            column + side
        }) as u32;
        column += 1;
    }
    [Line(upper), Line(lower)]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn vector(line: &Line) -> __m512i {
    // SAFETY: a line is a vector's worth of words.
    #[allow(unsafe_code)]
    unsafe {
        _mm512_loadu_si512(line.0.as_ptr().cast())
    }
}

/// The first words of a vector.
fn mask(words: usize) -> u16 {
    u16::MAX >> (SIDE - words)
}

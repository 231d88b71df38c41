//! AMX: microkernels of 32 rows by 32 columns, in tile registers of 16 by 16.
//!
//! The tile registers round sums of bf16 in another order than the processor's dot product. The
//! result for a prompt must not depend on the number of other prompts, so [`few_rows`] rounds as
//! the tile registers do. Sums of int8 are exact in both. Few rows of int8 are faster in vectors:
//! besides reading the weights, configuring the tiles and passing the sums through memory take
//! time.

use std::arch::asm;
use std::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_maskz_loadu_epi32, _mm512_permutex2var_epi32,
    _mm512_setzero_si512, _mm512_storeu_si512,
};
use std::cell::Cell;
use std::mem::offset_of;
use std::ops::Range;
use std::ptr::null;

mod assembly;
mod few_rows;
pub(crate) mod split_int8;

use assembly::{
    AHEAD_PER_REGISTER, columns, configure, finish_row, load_epilogue, prefetch_columns,
    prefetch_next, rows, segments, sums, sums_of_row,
};

use super::avx512::{self, Pairs};
use super::{FEW_TILES, Kernel, PANEL, Raw};
use crate::cpu::cache_line::{LINE, Line};
use crate::cpu::gemm::lhs::sized;
use crate::cpu::gemm::prefetch::AHEAD;

/// The number of rows of a register, and of words in each of its rows.
const SIDE: usize = 16;

/// The number of rows that are multiplied together: two registers of them.
const ROWS: usize = 2 * SIDE;

/// The number of registers of steps over which all rows are multiplied before the next block. The
/// words of their columns and those of a tile's rows take 16 KiB each and stay in the first-level
/// cache; sums stay in the second-level cache. With all steps at once, both operands would come
/// from the second level, which takes up to a fifth longer.
const REGISTERS_OF_BLOCK: usize = 8;

/// The minimum number of int8 rows; fewer rows are multiplied in vectors.
const MIN_ROWS_OF_INT8: usize = ROWS;

pub(crate) const BF16: Kernel = Kernel {
    all_rows: Some(run_bf16),
    ..avx512::BF16
};
pub(crate) const INT8: Kernel = Kernel {
    all_rows: Some(run_int8),
    ..avx512::INT8
};

/// A tile configuration, in the layout that the processor reads.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// The configuration for each number of rows. They are constants, because the processor would stall
/// on a configuration that was just written.
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
    /// The configuration of the registers as [`assembly`] uses them.
    const fn of_rows(rows: usize) -> Self {
        let (upper, lower) = halves(rows);
        // A register has at least one row; the number of rows of an unused register is arbitrary.
        let (upper, lower, side) = (
            upper as u8 + (upper == 0) as u8,
            lower as u8 + (lower == 0) as u8,
            SIDE as u8,
        );
        Self::of([upper, upper, lower, lower, upper, lower, side, side])
    }

    /// The configuration of registers with the given numbers of rows, in full width.
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

/// The number of upper rows and of lower rows of a tile.
const fn halves(rows: usize) -> (usize, usize) {
    if rows <= SIDE {
        (rows, 0)
    } else {
        (rows.div_ceil(2), rows / 2)
    }
}

/// A part of the steps, in whole registers, in the layout that the assembly reads. Distances are in
/// bytes.
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
    const NONE: Self = Self {
        registers: 0,
        upper: null(),
        lower: null(),
        left_row_step: 0,
        right: null(),
        right_step: 0,
    };

    /// A range of registers for a tile; `self` has all registers, for the first tile.
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

/// The initial values of a tile's sums and their destination, in the layout that the assembly
/// reads.
#[repr(C)]
struct Ends {
    from: Place,
    to: Place,
}

/// The location of a tile's sums. The distance is in bytes.
#[derive(Clone, Copy)]
#[repr(C)]
struct Place {
    upper: *mut u32,
    lower: *mut u32,
    row_step: usize,
}

impl Place {
    /// The location of numbers that all rows share and that are only read.
    fn of_all_rows(numbers: *const u32) -> Self {
        Self {
            upper: numbers.cast_mut(),
            lower: numbers.cast_mut(),
            row_step: 0,
        }
    }

    fn in_result(raw: &Raw<'_>, tile: &Tile) -> Self {
        let first = tile.first * raw.result_row_step;
        let row_step = size_of::<f32>() * raw.result_row_step;
        Self::of(tile, raw.result.wrapping_add(first).cast(), row_step)
    }

    fn apart(tile: &Tile, sums: *mut Sums) -> Self {
        Self::of(tile, sums.cast(), size_of::<[u32; PANEL]>())
    }

    /// The rows of a tile from `upper` on. A tile without lower rows does not access `lower`, which
    /// may be out of bounds.
    fn of(tile: &Tile, upper: *mut u32, row_step: usize) -> Self {
        Self {
            upper,
            lower: upper.wrapping_byte_add(tile.upper * row_step),
            row_step,
        }
    }
}

/// The sums of a tile's rows before the epilogue.
#[derive(Clone, Default)]
#[repr(C, align(64))]
struct Sums([[u32; PANEL]; ROWS]);

/// The initial values of sums that begin at zero.
static NOTHING: [u32; PANEL] = [0; PANEL];

/// The epilogue of sums: the values added to them and their factors, in the layout that the
/// assembly reads.
#[repr(C, align(64))]
struct Epilogue {
    /// The factors of the columns.
    scales: [f32; PANEL],
    /// int8 only: subtracted from the sums of the columns.
    corrections: [i32; PANEL],
    bias: [f32; PANEL],
    /// The masks of the existing columns, for each half.
    masks: [u16; 2],
    /// Non-zero if the results are added to the existing values.
    add: u32,
    /// Bytes from a row's results to the next row's.
    result_row_step: usize,
    /// Bytes from a row's factor to the next row's.
    row_scale_step: usize,
}

/// The factor of rows without scales.
static ONE: f32 = 1.0;

impl Epilogue {
    fn new(raw: &Raw<'_>) -> Self {
        let finish = &raw.finish;
        let columns = u32::MAX >> (PANEL - raw.columns);
        let mut epilogue = Self {
            scales: [1.0; PANEL],
            corrections: [0; PANEL],
            bias: [0.0; PANEL],
            masks: [columns as u16, (columns >> SIDE) as u16],
            add: u32::from(finish.add),
            result_row_step: size_of::<f32>() * raw.result_row_step,
            row_scale_step: match finish.row_scales {
                Some(_) => size_of::<f32>(),
                None => 0,
            },
        };
        if let Some(bias) = finish.bias {
            epilogue.bias[..raw.columns].copy_from_slice(&bias[..raw.columns]);
        }
        if let Some(quantised) = finish.quantised {
            epilogue.scales = *quantised.scales;
            epilogue.corrections = *quantised.corrections;
        }
        epilogue
    }
}

/// A pointer to the factor of a row.
fn row_scale(raw: &Raw<'_>, row: usize) -> *const f32 {
    raw.finish
        .row_scales
        .map_or(&raw const ONE, |scales| &raw const scales[row])
}

/// The product of a tile's rows over some registers of steps, in the layout that the assembly
/// reads.
#[repr(C)]
struct Piece {
    configuration: *const Configuration,
    /// If there is only one segment, the second has no registers.
    segments: [Segment; 2],
    ends: Ends,
    /// Prefetched during the product.
    next: *const u32,
    /// The number of lower rows.
    lower: usize,
    /// The epilogue, or null if the sums are results or if another piece adds to them.
    epilogue: *const Epilogue,
    rows: usize,
    /// The sums of the first row; `result` and `row_scale` point to the first row too.
    sums: *const u32,
    result: *mut f32,
    row_scale: *const f32,
}

/// Multiplies the pieces one after the other.
type Multiply = unsafe fn(&[Piece]);

macro_rules! multiply {
    ($name:ident, $instruction:literal, $sums:ident) => {
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        #[allow(unsafe_code)]
        unsafe fn $name(pieces: &[Piece]) {
            if pieces.is_empty() {
                return;
            }
            let pieces = pieces.as_ptr_range();
            // SAFETY: guaranteed by the caller: the processor has the tiles, and the pieces'
            // pointers reach the rows and columns of their configuration. Prefetched memory need
            // not exist. Everything that is written except memory is named, and the tiles are
            // released.
            unsafe {
                asm!(
                    "xor {configured:e}, {configured:e}",
                    "2:",
                    configure!("{upper}", "{configured}"),
                    "mov {next}, [{piece} + {NEXT}]",
                    "lea {segment}, [{piece} + {SEGMENTS}]",
                    "cmp qword ptr [{piece} + {LOWER}], 0",
                    "jne 4f",
                    // So few rows stall on their own columns, which are prefetched: a line of each
                    // half, for 16 steps.
                    segments!(
                        upper,
                        $instruction,
                        prefetch_columns!(0 64 128 192 256 320 384 448 512 576 640 704 768 832 896 960
                            1024 1088 1152 1216 1280 1344 1408 1472 1536 1600 1664 1728 1792 1856 1920 1984)
                    ),
                    "jmp 9f",
                    "4:",
                    segments!(both, $instruction, prefetch_next!()),
                    "9:",
                    "mov {segment}, [{piece} + {EPILOGUE}]",
                    "test {segment}, {segment}",
                    "jz 9f",
                    load_epilogue!("{segment}"),
                    "mov {registers}, [{piece} + {ROWS}]",
                    "mov {upper}, [{piece} + {SUMS}]",
                    "mov {lower}, [{piece} + {RESULT}]",
                    "mov {left_row_step}, [{piece} + {ROW_SCALE}]",
                    "4:",
                    finish_row!($sums, "{segment}", "{upper}", "{lower}", "{left_row_step}"),
                    "dec {registers}",
                    "jnz 4b",
                    "9:",
                    "add {piece}, {PIECE_SIZE}",
                    "cmp {piece}, {end}",
                    "jne 2b",
                    "tilerelease",
                    "vzeroupper",
                    piece = inout(reg) pieces.start => _,
                    end = in(reg) pieces.end,
                    configured = out(reg) _,
                    segment = out(reg) _,
                    registers = out(reg) _,
                    upper = out(reg) _,
                    lower = out(reg) _,
                    left_row_step = out(reg) _,
                    right = out(reg) _,
                    right_step = out(reg) _,
                    register_step = out(reg) _,
                    next = out(reg) _,
                    ahead = const AHEAD,
                    CONFIGURATION = const offset_of!(Piece, configuration),
                    SEGMENTS = const offset_of!(Piece, segments),
                    SEGMENTS_END = const offset_of!(Piece, segments) + size_of::<[Segment; 2]>(),
                    SEGMENT_SIZE = const size_of::<Segment>(),
                    FROM = const offset_of!(Piece, ends.from),
                    TO = const offset_of!(Piece, ends.to),
                    NEXT = const offset_of!(Piece, next),
                    LOWER = const offset_of!(Piece, lower),
                    EPILOGUE = const offset_of!(Piece, epilogue),
                    ROWS = const offset_of!(Piece, rows),
                    SUMS = const offset_of!(Piece, sums),
                    RESULT = const offset_of!(Piece, result),
                    ROW_SCALE = const offset_of!(Piece, row_scale),
                    PIECE_SIZE = const size_of::<Piece>(),
                    SCALES = const offset_of!(Epilogue, scales),
                    CORRECTIONS = const offset_of!(Epilogue, corrections),
                    BIAS = const offset_of!(Epilogue, bias),
                    MASKS = const offset_of!(Epilogue, masks),
                    ADD = const offset_of!(Epilogue, add),
                    RESULT_ROW_STEP = const offset_of!(Epilogue, result_row_step),
                    ROW_SCALE_STEP = const offset_of!(Epilogue, row_scale_step),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
                    out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
                    out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                    out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
                    out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _,
                    out("zmm20") _, out("zmm21") _, out("k1") _, out("k2") _,
                    options(nostack),
                );
            }
        }
    };
}

multiply!(multiply_bf16, "tdpbf16ps", f32);
multiply!(multiply_int8, "tdpbusd", int8);

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn run_bf16(raw: &Raw<'_>) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if raw.rows <= few_rows::MAX_ROWS && raw.left_step == 1 {
            few_rows::run(raw);
            return true;
        }
        run(raw, multiply_bf16, sums_are_results(raw))
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[allow(unsafe_code)]
unsafe fn run_int8(raw: &Raw<'_>) -> bool {
    if raw.rows < MIN_ROWS_OF_INT8 {
        return false;
    }
    // SAFETY: guaranteed by the caller.
    unsafe { run(raw, multiply_int8, false) }
}

thread_local! {
    /// Copies of rows whose layout the tile registers do not read; reused from product to product.
    static COPY: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
    /// The sums of each tile; reused from product to product.
    static SUMS: Cell<Vec<Sums>> = const { Cell::new(Vec::new()) };
    /// Reused from product to product.
    static PIECES: Cell<Vec<Piece>> = const { Cell::new(Vec::new()) };
}

/// Multiplies all rows and returns true, or returns false if neither the words of a row nor those
/// of a step are contiguous. If the sums are results, no epilogue is applied to them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn run(raw: &Raw<'_>, multiply: Multiply, sums_are_results: bool) -> bool {
    if raw.left_step != 1 && raw.left_row_step != 1 {
        return false;
    }
    let mut copy = COPY.take();
    let mut right_rest = [Line::default(); 2 * SIDE];
    let mut pieces = PIECES.take();
    let mut sums = SUMS.take();
    let epilogue = Epilogue::new(raw);
    // SAFETY: guaranteed by the caller, which checked every bound.
    unsafe {
        let (segments, used) = segments(raw, raw.rows, &mut copy, &mut right_rest);
        push_pieces(
            raw,
            &segments[..used],
            if sums_are_results {
                None
            } else {
                Some(&epilogue)
            },
            sized(&mut sums, raw.rows.div_ceil(ROWS)).as_mut_ptr(),
            &mut pieces,
        );
        multiply(&pieces);
    }
    pieces.clear();
    COPY.set(copy);
    PIECES.set(pieces);
    SUMS.set(sums);
    true
}

/// Appends the products of all tiles over a block of registers of steps, then over the next block.
/// `sums` has room for the sums of each tile. Without an epilogue, the sums are results.
fn push_pieces(
    raw: &Raw<'_>,
    segments: &[Segment],
    epilogue: Option<&Epilogue>,
    sums: *mut Sums,
    pieces: &mut Vec<Piece>,
) {
    let whole = segments[0];
    let registers = whole.registers + segments.len() - 1;
    let tiles = raw.rows.div_ceil(ROWS);
    let blocks = match tiles {
        ..=FEW_TILES => 1,
        _ => registers.div_ceil(REGISTERS_OF_BLOCK),
    };
    let mut next = raw.next;
    let mut first = 0;
    for block in 0..blocks {
        let end = first + (registers - first).div_ceil(blocks - block);
        let (is_first, is_last) = (block == 0, block + 1 == blocks);
        for index in 0..tiles {
            let tile = Tile::new(raw, index);
            let sums = sums.wrapping_add(index);
            let (apart, result) = (Place::apart(&tile, sums), Place::in_result(raw, &tile));
            let from = match raw.finish.bias {
                _ if !is_first => apart,
                Some(bias) if epilogue.is_none() => Place::of_all_rows(bias.as_ptr().cast()),
                None if epilogue.is_none() && raw.finish.add => result,
                _ => Place::of_all_rows(NOTHING.as_ptr()),
            };
            let to = if is_last && epilogue.is_none() {
                result
            } else {
                apart
            };
            let mut of_tile = [
                whole.part(&tile, first..end.min(whole.registers)),
                Segment::NONE,
            ];
            // INVARIANT: the last block is not the rest alone: if there are several blocks, each
            // has at least four registers.
            if let Some(rest) = segments.get(1).filter(|_| is_last) {
                of_tile[1] = rest.part(&tile, 0..1);
            }
            pieces.push(Piece {
                configuration: &raw const CONFIGURATIONS[tile.upper + tile.lower],
                segments: of_tile,
                ends: Ends { from, to },
                next,
                lower: tile.lower,
                epilogue: match epilogue {
                    Some(epilogue) if is_last => epilogue,
                    _ => null(),
                },
                rows: tile.upper + tile.lower,
                sums: sums.cast(),
                result: result.upper.cast(),
                row_scale: row_scale(raw, tile.first),
            });
            next = next.wrapping_byte_add((end - first) * AHEAD_PER_REGISTER);
        }
        first = end;
    }
}

/// Returns whether the addend can be the initial value of the sums, without any other epilogue.
fn sums_are_results(raw: &Raw<'_>) -> bool {
    let finish = &raw.finish;
    raw.columns == PANEL && finish.row_scales.is_none() && !(finish.add && finish.bias.is_some())
}

/// A tile of up to 32 rows.
struct Tile {
    first: usize,
    /// The numbers of rows in the upper and in the lower registers.
    upper: usize,
    lower: usize,
}

impl Tile {
    fn new(raw: &Raw<'_>, index: usize) -> Self {
        let first = index * ROWS;
        let (upper, lower) = halves(ROWS.min(raw.rows - first));
        Self {
            first,
            upper,
            lower,
        }
    }
}

/// All steps of the first tile, without its lower rows, and the number of segments: one of whole
/// registers, and a copy of the remaining steps, padded with zeros.
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
    // SAFETY: guaranteed by the caller, which checked every bound.
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

/// Copies the last words of the rows, one line for each.
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
        // SAFETY: guaranteed by the caller: the row has these words.
        unsafe {
            let words = raw.left.add(row * raw.left_row_step + raw.steps - rest);
            let words = _mm512_maskz_loadu_epi32(mask, words.cast());
            _mm512_storeu_si512(line.0.as_mut_ptr().cast(), words);
        }
    }
    copy.as_ptr().cast()
}

/// Copies rows whose steps are contiguous, so that the words of each row are contiguous, padded to
/// whole registers.
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
            // SAFETY: guaranteed by the caller: these steps of these rows exist, side by side.
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

/// Transposes a block by exchanging squares of increasing size beside the diagonal.
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

/// The words of two rows after squares of size `side` were exchanged. Words of the second row are
/// numbered from 16 on.
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

/// The mask of the first words of a vector.
fn mask(words: usize) -> u16 {
    u16::MAX >> (SIDE - words)
}

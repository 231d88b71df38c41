//! Products of bf16 and of int8 in tile registers.
//!
//! MR x NR is 32 rows by 32 columns: four tile registers of sums, two of rows and two of columns. The
//! assembly lists them ([`super::assembly`]).
//!
//! The tile registers round sums of bf16 in another order than the processor's dot product. The
//! result for a prompt must not depend on the number of other prompts, so [`few_rows`] rounds as
//! the tile registers do. Sums of int8 are exact in both. Few rows of int8 are faster in vectors:
//! besides reading the weights, configuring the tiles and passing the sums through memory take
//! time.
//!
//! The entry points have the contract of [`GemmArgs`]. They are called through [`Kernel`] only,
//! which checks it. `tests/batches.rs` compares the two ways of bf16.

use std::arch::asm;
use std::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_maskz_loadu_epi32, _mm512_permutex2var_epi32,
    _mm512_setzero_si512, _mm512_storeu_si512,
};
use std::cell::Cell;
use std::mem::offset_of;
use std::ops::Range;
use std::ptr::null;

use super::assembly::{
    PREFETCH_PER_REGISTER, columns, configure, epilogue_of_row, load_epilogue, prefetch_columns,
    prefetch_next, rows, segments, sums, sums_of_row,
};

use super::few_rows;
use super::tiles::{AmxEpilogue, Configuration, SIDE, mask, row_scale, sums_are_results};
use crate::cpu::buffer_pool::resize_at_least;
use crate::cpu::cache_line::{LINE, Line};
use crate::cpu::gemm::format::PANEL;
use crate::cpu::gemm::kernel::args::GemmArgs;
use crate::cpu::gemm::kernel::avx512;
use crate::cpu::gemm::kernel::entry::{FEW_TILES, Kernel};
use crate::cpu::gemm::prefetch::PREFETCH_DISTANCE;

/// The number of rows that are multiplied together: two registers of them.
const ROWS: usize = 2 * SIDE;

/// The number of tile registers of 16 words over which all rows are multiplied before the next
/// block. The words of their columns and those of a tile's rows take 16 KiB each and stay in the
/// first-level cache; sums stay in the second-level cache. With all words at once, both operands
/// would come from the second level, which takes up to a fifth longer.
const REGISTERS_OF_BLOCK: usize = 8;

/// The minimum number of int8 rows; fewer rows are multiplied in vectors.
const MIN_ROWS_OF_INT8: usize = ROWS;

pub(crate) const BF16_KERNEL: Kernel = avx512::BF16_KERNEL.with_all_rows(run_bf16);
pub(crate) const INT8_KERNEL: Kernel = avx512::INT8_KERNEL.with_all_rows(run_int8);

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
}

/// The number of upper rows and of lower rows of a tile.
const fn halves(rows: usize) -> (usize, usize) {
    if rows <= SIDE {
        (rows, 0)
    } else {
        (rows.div_ceil(2), rows / 2)
    }
}

/// A part of the words of the rows and columns, in whole registers, in the layout that the assembly reads. Distances are in
/// bytes.
#[derive(Clone, Copy)]
#[repr(C)]
struct Segment {
    registers: usize,
    upper: *const u32,
    lower: *const u32,
    lhs_row_stride: usize,
    rhs: *const u32,
    rhs_k_stride: usize,
}

impl Segment {
    const NONE: Self = Self {
        registers: 0,
        upper: null(),
        lower: null(),
        lhs_row_stride: 0,
        rhs: null(),
        rhs_k_stride: 0,
    };

    /// A range of registers for a tile; `self` has all registers, for the first tile.
    fn part(self, tile: &Tile, registers: Range<usize>) -> Self {
        let Self {
            lhs_row_stride,
            rhs,
            rhs_k_stride,
            ..
        } = self;
        let first = SIDE * registers.start;
        let upper = self
            .upper
            .wrapping_add(first)
            .wrapping_byte_add(tile.first * lhs_row_stride);
        Self {
            registers: registers.len(),
            upper,
            lower: upper.wrapping_byte_add(tile.upper * lhs_row_stride),
            rhs: rhs.wrapping_byte_add(first * rhs_k_stride),
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
    row_stride: usize,
}

impl Place {
    /// The location of numbers that all rows share and that are only read.
    fn of_all_rows(numbers: *const u32) -> Self {
        Self {
            upper: numbers.cast_mut(),
            lower: numbers.cast_mut(),
            row_stride: 0,
        }
    }

    fn in_result(args: &GemmArgs<'_>, tile: &Tile) -> Self {
        let first = tile.first * args.dst_row_stride;
        let row_stride = size_of::<f32>() * args.dst_row_stride;
        Self::of(tile, args.dst.wrapping_add(first).cast(), row_stride)
    }

    fn apart(tile: &Tile, sums: *mut Sums) -> Self {
        Self::of(tile, sums.cast(), size_of::<[u32; PANEL]>())
    }

    /// The rows of a tile from `upper` on. A tile without lower rows does not access `lower`, which
    /// may be out of bounds.
    fn of(tile: &Tile, upper: *mut u32, row_stride: usize) -> Self {
        Self {
            upper,
            lower: upper.wrapping_byte_add(tile.upper * row_stride),
            row_stride,
        }
    }
}

/// The sums of a tile's rows before the epilogue.
#[derive(Clone, Default)]
#[repr(C, align(64))]
struct Sums([[u32; PANEL]; ROWS]);

/// The initial values of sums that begin at zero.
static NOTHING: [u32; PANEL] = [0; PANEL];

/// The product of a tile's rows over some registers of words, in the layout that the assembly
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
    epilogue: *const AmxEpilogue,
    rows: usize,
    /// The sums of the first row; `result` and `row_scale` point to the first row too.
    sums: *const u32,
    result: *mut f32,
    row_scale: *const f32,
}

/// Multiplies the pieces one after the other.
///
/// # Safety
/// The processor supports AMX and AVX-512, and the process may use the tiles. The pointers of each
/// piece reach the rows and columns of its configuration.
type Multiply = unsafe fn(&[Piece]);

macro_rules! multiply {
    ($name:ident, $instruction:literal, $sums:ident) => {
        /// # Safety
        /// That of [`Multiply`].
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        #[allow(unsafe_code)]
        unsafe fn $name(pieces: &[Piece]) {
            if pieces.is_empty() {
                return;
            }
            let pieces = pieces.as_ptr_range();
            // SAFETY: the caller guarantees the tiles and what the pieces' pointers reach.
            // Prefetched memory need not exist. Everything that is written except memory is named,
            // and the tiles are released.
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
                    // half, for 16 words.
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
                    "mov {lhs_row_stride}, [{piece} + {ROW_SCALE}]",
                    "4:",
                    epilogue_of_row!($sums, "{segment}", "{upper}", "{lower}", "{lhs_row_stride}"),
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
                    lhs_row_stride = out(reg) _,
                    rhs = out(reg) _,
                    rhs_k_stride = out(reg) _,
                    register_stride = out(reg) _,
                    next = out(reg) _,
                    prefetch_distance = const PREFETCH_DISTANCE,
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
                    SCALES = const offset_of!(AmxEpilogue, scales),
                    CORRECTIONS = const offset_of!(AmxEpilogue, corrections),
                    BIAS = const offset_of!(AmxEpilogue, bias),
                    MASKS = const offset_of!(AmxEpilogue, masks),
                    ACCUMULATE = const offset_of!(AmxEpilogue, accumulate),
                    RESULT_ROW_STRIDE = const offset_of!(AmxEpilogue, result_row_stride),
                    ROW_SCALE_STRIDE = const offset_of!(AmxEpilogue, row_scale_stride),
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

/// # Safety
/// The invariants of [`GemmArgs`], and `n` is more than half a panel.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn run_bf16(args: &GemmArgs<'_>) -> bool {
    // SAFETY: both functions have the same contract, with the number of rows and the stride that the
    // condition checks.
    unsafe {
        if args.m <= few_rows::MAX_ROWS && args.lhs_k_stride == 1 {
            few_rows::run(args);
            return true;
        }
        run(args, multiply_bf16, sums_are_results(args))
    }
}

/// # Safety
/// The invariants of [`GemmArgs`], and `n` is more than half a panel.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[allow(unsafe_code)]
unsafe fn run_int8(args: &GemmArgs<'_>) -> bool {
    if args.m < MIN_ROWS_OF_INT8 {
        return false;
    }
    // SAFETY: `run` has the same contract.
    unsafe { run(args, multiply_int8, false) }
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
/// of a column of rows are contiguous. If the sums are results, no epilogue is applied to them.
///
/// # Safety
/// The invariants of [`GemmArgs`], and `n` is more than half a panel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn run(args: &GemmArgs<'_>, multiply: Multiply, sums_are_results: bool) -> bool {
    if args.lhs_k_stride != 1 && args.lhs_row_stride != 1 {
        return false;
    }
    let mut copy = COPY.take();
    let mut rhs_rest = [Line::default(); 2 * SIDE];
    let mut pieces = PIECES.take();
    let mut sums = SUMS.take();
    let epilogue = AmxEpilogue::new(args);
    // SAFETY: the pieces reach the words of invariants 2 and 3, padded by copies to whole registers,
    // and the results of 4; 6 for the instructions.
    unsafe {
        let (segments, used) = segments(args, args.m, &mut copy, &mut rhs_rest);
        push_pieces(
            args,
            &segments[..used],
            if sums_are_results {
                None
            } else {
                Some(&epilogue)
            },
            resize_at_least(&mut sums, args.m.div_ceil(ROWS)).as_mut_ptr(),
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

/// Appends the products of all tiles over a block of registers of words, then over the next block.
/// `sums` has room for the sums of each tile. Without an epilogue, the sums are results.
fn push_pieces(
    args: &GemmArgs<'_>,
    segments: &[Segment],
    epilogue: Option<&AmxEpilogue>,
    sums: *mut Sums,
    pieces: &mut Vec<Piece>,
) {
    let whole = segments[0];
    let registers = whole.registers + segments.len() - 1;
    let tiles = args.m.div_ceil(ROWS);
    let blocks = match tiles {
        ..=FEW_TILES => 1,
        _ => registers.div_ceil(REGISTERS_OF_BLOCK),
    };
    let mut next = args.next;
    let mut first = 0;
    for block in 0..blocks {
        let end = first + (registers - first).div_ceil(blocks - block);
        let (is_first, is_last) = (block == 0, block + 1 == blocks);
        for index in 0..tiles {
            let tile = Tile::new(args, index);
            let sums = sums.wrapping_add(index);
            let (apart, result) = (Place::apart(&tile, sums), Place::in_result(args, &tile));
            let from = match args.epilogue.bias {
                _ if !is_first => apart,
                Some(bias) if epilogue.is_none() => Place::of_all_rows(bias.as_ptr().cast()),
                None if epilogue.is_none() && args.epilogue.accumulate => result,
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
                row_scale: row_scale(args, tile.first),
            });
            next = next.wrapping_byte_add((end - first) * PREFETCH_PER_REGISTER);
        }
        first = end;
    }
}

/// A tile of up to 32 rows.
struct Tile {
    first: usize,
    /// The numbers of rows in the upper and in the lower registers.
    upper: usize,
    lower: usize,
}

impl Tile {
    fn new(args: &GemmArgs<'_>, index: usize) -> Self {
        let first = index * ROWS;
        let (upper, lower) = halves(ROWS.min(args.m - first));
        Self {
            first,
            upper,
            lower,
        }
    }
}

/// All words of the first tile, without its lower rows, and the number of segments: one of whole
/// registers, and a copy of the remaining words, padded with zeros.
///
/// # Safety
/// The invariants of [`GemmArgs`]; `n` is more than half a panel and `rows` at most `m`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn segments(
    args: &GemmArgs<'_>,
    rows: usize,
    copy: &mut Vec<Line>,
    rhs_rest: &mut [Line; 2 * SIDE],
) -> ([Segment; 2], usize) {
    let (whole, rest) = (args.k / SIDE, args.k % SIDE);
    // SAFETY: invariants 2 and 3 for the words below `k`; a panel of columns is readable. The copies
    // hold a panel each.
    unsafe {
        let (lhs, lhs_stride, lhs_rest, lhs_rest_stride);
        if args.lhs_k_stride == 1 {
            (lhs, lhs_stride) = (args.lhs, args.lhs_row_stride);
            (lhs_rest, lhs_rest_stride) = (copy_rest(args, rows, copy), LINE);
        } else {
            lhs_stride = args.k.next_multiple_of(SIDE);
            lhs = copy_side_by_side(args, rows, copy);
            (lhs_rest, lhs_rest_stride) = (lhs.add(whole * SIDE), lhs_stride);
        }
        for p in 0..rest {
            let words = args.rhs.add((whole * SIDE + p) * args.rhs_k_stride);
            let lines = rhs_rest[2 * p..].as_mut_ptr().cast();
            words.copy_to_nonoverlapping(lines, PANEL);
        }
        let of_whole = Segment {
            registers: whole,
            upper: lhs,
            lower: lhs,
            lhs_row_stride: size_of::<u32>() * lhs_stride,
            rhs: args.rhs,
            rhs_k_stride: size_of::<u32>() * args.rhs_k_stride,
        };
        let of_rest = Segment {
            registers: 1,
            upper: lhs_rest,
            lower: lhs_rest,
            lhs_row_stride: size_of::<u32>() * lhs_rest_stride,
            rhs: rhs_rest.as_ptr().cast(),
            rhs_k_stride: size_of::<u32>() * PANEL,
        };
        match (whole, rest) {
            (_, 0) => ([of_whole; 2], 1),
            (0, _) => ([of_rest; 2], 1),
            _ => ([of_whole, of_rest], 2),
        }
    }
}

/// Copies the last words of the rows, one line for each.
///
/// # Safety
/// That of [`segments`], and `lhs_k_stride` is 1.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn copy_rest(args: &GemmArgs<'_>, rows: usize, copy: &mut Vec<Line>) -> *const u32 {
    let rest = args.k % SIDE;
    if rest == 0 {
        return args.lhs;
    }
    let mask = mask(rest);
    for (row, line) in resize_at_least(copy, rows).iter_mut().enumerate() {
        // SAFETY: invariant 2: the row has these words.
        unsafe {
            let words = args.lhs.add(row * args.lhs_row_stride + args.k - rest);
            let words = _mm512_maskz_loadu_epi32(mask, words.cast());
            _mm512_storeu_si512(line.0.as_mut_ptr().cast(), words);
        }
    }
    copy.as_ptr().cast()
}

/// Copies rows whose words of the same index are contiguous, so that the words of each row are
/// contiguous, padded to whole registers.
///
/// # Safety
/// That of [`segments`], and `lhs_row_stride` is 1.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn copy_side_by_side(args: &GemmArgs<'_>, rows: usize, copy: &mut Vec<Line>) -> *const u32 {
    let lines = args.k.div_ceil(SIDE);
    let copy = resize_at_least(copy, rows.next_multiple_of(SIDE) * lines);
    for first_row in (0..rows).step_by(SIDE) {
        let mask = mask(SIDE.min(rows - first_row));
        for line in 0..lines {
            let first = line * SIDE;
            let mut block = [_mm512_setzero_si512(); SIDE];
            // SAFETY: invariant 2: these words of these rows exist, side by side.
            unsafe {
                let words = args
                    .lhs
                    .add(first * args.lhs_k_stride + first_row * args.lhs_row_stride);
                for (p, words_of_rows) in block.iter_mut().take(args.k - first).enumerate() {
                    let words = words.add(p * args.lhs_k_stride);
                    *words_of_rows = _mm512_maskz_loadu_epi32(mask, words.cast());
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

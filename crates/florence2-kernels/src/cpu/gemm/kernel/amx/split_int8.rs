//! f32 products in AMX's int8 tile registers (the Ozaki scheme).
//!
//! Rows and columns are integers of three digits ([`crate::cpu::gemm::split_int8`]). The product of two
//! digits has a weight. The product of the first digits has the greatest weight; those of a first
//! and a second digit have the middle one. The sums of a weight are exact, and the sums of three
//! weights are computed. The omitted sums cause errors of either sign: a third of an f32 rounding
//! of the product of the vectors' lengths if the numbers have similar magnitudes, and ten roundings
//! or more if one number of each vector is far above the others. These six int8 products take about
//! two thirds of the time of five bf16 products, into which f32 can be split too.
//!
//! Registers 0 and 1 hold the sums of the greatest weight, one for each half of the columns, 2 and
//! 3 those of the middle weight, 4 and 5 those of the least. Register 6 holds digits of the rows,
//! and 7 digits of the columns.

use std::arch::asm;
use std::arch::x86_64::{
    __m512, __m512i, _mm512_add_epi32, _mm512_castsi512_ps, _mm512_cvtps_epi32, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_maskz_loadu_epi32, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_slli_epi32, _mm512_srli_epi32, _mm512_storeu_si512,
    _mm512_ternarylogic_epi32, _mm512_xor_si512,
};
use std::cell::Cell;
use std::mem::offset_of;
use std::ptr::null;

use super::assembly::{
    AHEAD_PER_REGISTER, configure, finish_row, load_epilogue, prefetch_next, sums_of_row,
};
use super::{Configuration, Epilogue, SIDE, mask, row_scale};
use crate::cpu::cache_line::{LINE, Line};
use crate::cpu::gemm::kernel::avx512::{Floats, Halves};
use crate::cpu::gemm::kernel::{Dot, Finish, Kernel, PANEL, Raw};
use crate::cpu::gemm::split_int8::{self, CARRY, DIGITS, NUMBERS, Unit};
use crate::cpu::simd::{Level, level};

pub(crate) const F32: Kernel = Kernel {
    left_words: split_int8::words,
    ..Kernel::new(run_f32, run_f32, usize::MAX)
};
pub(crate) const F16: Kernel = Kernel {
    columns_per_word: Halves::COLUMNS_PER_WORD,
    left_words: split_int8::words,
    ..Kernel::new(run_f16, run_f16, usize::MAX)
};

/// The number of registers of 64 steps whose columns' digits stay in the first-level cache while
/// all rows pass.
const REGISTERS_OF_BLOCK: usize = 4;

/// The weight of the least significant sums: products of a first digit (65536) and a third one.
const LEAST: f32 = 65536.0;

/// The digits of 64 steps of a panel, the first digits first: for every sixteenth step, a line for
/// each half of the columns.
type Columns = [[Line; 2 * SIDE]; DIGITS];

/// The sums of each weight: `[row][column]`.
#[derive(Default)]
#[repr(C, align(64))]
struct Sums([[[i32; PANEL]; SIDE]; DIGITS]);

/// The workspace of a product.
#[derive(Default)]
struct Buffers {
    columns: [Columns; REGISTERS_OF_BLOCK],
    /// The sums of the current tile, and of the previous tile, whose results are being written.
    sums: [Sums; 2],
}

thread_local! {
    static BUFFERS: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
    /// Reused from product to product.
    static PIECES: Cell<Vec<Piece>> = const { Cell::new(Vec::new()) };
}

/// The tile configuration for each number of rows.
static CONFIGURATIONS: [Configuration; SIDE + 1] = {
    let side = SIDE as u8;
    let mut configurations = [Configuration::of([side; 8]); SIDE + 1];
    let mut rows = 1;
    while rows <= side {
        let of_rows = [rows, rows, rows, rows, rows, rows, rows, side];
        configurations[rows as usize] = Configuration::of(of_rows);
        rows += 1;
    }
    configurations
};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn run_f16(raw: &Raw<'_>) {
    // SAFETY: guaranteed by the caller.
    unsafe { run::<Halves>(raw) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn run_f32(raw: &Raw<'_>) {
    // SAFETY: guaranteed by the caller.
    unsafe { run::<Floats>(raw) }
}

#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
unsafe fn run<D: Dot<Words = __m512i>>(raw: &Raw<'_>) {
    assert!(raw.left_step == 1, "rows beside each other");
    let (mut units, mut inverses) = ([0.0; PANEL], [0.0; PANEL]);
    // INVARIANT: f32 and f16 columns provide their largest magnitudes if rows are in digits.
    let largest = raw.largest.expect("the columns' largest");
    for ((unit, inverse), largest) in units.iter_mut().zip(&mut inverses).zip(largest) {
        let of_column = Unit::of(*largest);
        (*unit, *inverse) = (LEAST * of_column.value, of_column.inverse);
    }
    let registers = raw.steps.div_ceil(NUMBERS);
    let blocks = registers.div_ceil(REGISTERS_OF_BLOCK);
    let added = Raw {
        finish: Finish {
            add: true,
            bias: None,
            ..raw.finish
        },
        ..*raw
    };
    let mut buffers = BUFFERS.take().unwrap_or_default();
    let mut pieces = PIECES.take();
    let mut next = raw.next;
    let mut first = 0;
    // SAFETY: guaranteed by the caller, which checked every bound, and whose processor has the
    // registers.
    unsafe {
        for block in 0..blocks {
            let end = first + (registers - first).div_ceil(blocks - block);
            let columns = &mut buffers.columns[..end - first];
            write_columns::<D>(raw, first * NUMBERS, &inverses, columns);
            let raw = if block == 0 { raw } else { &added };
            pieces.clear();
            for first_row in (0..raw.rows).step_by(SIDE) {
                pieces.push(Piece::new(raw, first_row, first, next));
                next = next.wrapping_byte_add((end - first) * AHEAD_PER_REGISTER);
            }
            multiply(&mut Block::new(
                raw,
                &pieces,
                &units,
                columns,
                &mut buffers.sums,
            ));
            first = end;
        }
    }
    pieces.clear();
    PIECES.set(pieces);
    BUFFERS.set(Some(buffers));
}

/// Writes the digits of a row with a given largest magnitude, padded with zeros to a whole line.
/// Returns the unit.
#[allow(unsafe_code)]
pub(crate) fn encode_row(row: &[f32], largest: f32, words: &mut [u32]) -> f32 {
    assert!(level() == Level::Amx && words.len() >= split_int8::words(row.len()));
    let unit = Unit::of(largest);
    // SAFETY: the level has AVX-512; there are as many words as the row takes.
    unsafe { write_row(row, unit.inverse, words) };
    unit.value
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn write_row(row: &[f32], inverse: f32, words: &mut [u32]) {
    let inverses = _mm512_set1_ps(inverse);
    let lines = words.as_chunks_mut::<LINE>().0.as_chunks_mut::<DIGITS>().0;
    for (values, lines) in row.chunks(NUMBERS).zip(lines) {
        let mut numbers = [_mm512_setzero_si512(); 4];
        for (index, number) in numbers.iter_mut().enumerate() {
            let values = &values[values.len().min(index * SIDE)..];
            // SAFETY: the mask selects only existing values.
            *number = unsafe {
                match values.len() {
                    0 => *number,
                    1..SIDE => _mm512_maskz_loadu_epi32(mask(values.len()), values.as_ptr().cast()),
                    _ => _mm512_loadu_si512(values.as_ptr().cast()),
                }
            };
            *number = nearest(*number, inverses);
        }
        let words = digits_of(numbers);
        for digit in 0..DIGITS {
            // SAFETY: a line is a vector's worth.
            unsafe { _mm512_storeu_si512(lines[digit].as_mut_ptr().cast(), words[digit]) };
        }
    }
}

/// Up to 16 rows, in the layout that the assembly reads.
#[repr(C)]
struct Piece {
    configuration: *const Configuration,
    rows: usize,
    /// The digits of the first row; `result` and `row_scale` point to the first row too.
    left: *const u32,
    result: *mut f32,
    row_scale: *const f32,
    /// Prefetched during the product.
    next: *const u32,
}

impl Piece {
    /// The rows from `first_row` on, for the steps from register `first` on.
    fn new(raw: &Raw<'_>, first_row: usize, first: usize, next: *const u32) -> Self {
        let rows = SIDE.min(raw.rows - first_row);
        let digits = first_row * raw.left_row_step + first * DIGITS * LINE;
        Self {
            configuration: &raw const CONFIGURATIONS[rows],
            rows,
            left: raw.left.wrapping_add(digits),
            result: raw.result.wrapping_add(first_row * raw.result_row_step),
            row_scale: row_scale(raw, first_row),
            next,
        }
    }
}

/// A product over a block of registers of steps, in the layout that the assembly reads.
#[repr(C)]
struct Block {
    epilogue: Epilogue,
    /// The weights of the middle and of the greatest sums, relative to the least.
    weights: [f32; 2],
    piece: *const Piece,
    end: *const Piece,
    columns: *const Columns,
    registers: usize,
    /// Bytes from a row's digits to the next row's.
    left_row_step: usize,
    /// The number of rows of the previous tile that are finished with each register.
    rows_per_register: usize,
    /// The prefetch distance of results in bytes.
    result_ahead: usize,
    /// The destinations of the sums of this tile and of the next.
    sums: [*mut Sums; 2],
    /// The configuration in use.
    configured: *const Configuration,
    /// The number of registers of a tile that remain to be multiplied.
    remaining: usize,
}

impl Block {
    fn new(
        raw: &Raw<'_>,
        pieces: &[Piece],
        units: &[f32; PANEL],
        columns: &[Columns],
        sums: &mut [Sums; 2],
    ) -> Self {
        let epilogue = Epilogue {
            scales: *units,
            ..Epilogue::new(raw)
        };
        let pieces = pieces.as_ptr_range();
        let rows_per_register = SIDE.div_ceil(columns.len());
        Self {
            result_ahead: rows_per_register * epilogue.result_row_step,
            epilogue,
            weights: [256.0, 65536.0],
            piece: pieces.start,
            end: pieces.end,
            columns: columns.as_ptr(),
            registers: columns.len(),
            left_row_step: size_of::<u32>() * raw.left_row_step,
            rows_per_register,
            sums: sums.each_mut().map(|sums| &raw mut *sums),
            configured: null(),
            remaining: 0,
        }
    }
}

/// Multiplies the pieces of a block, of which there is at least one. The results of a tile are
/// written while the next tile is multiplied.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
#[allow(
    clippy::too_many_lines,
    reason = "tile state may not leave the asm! block"
)]
unsafe fn multiply(block: &mut Block) {
    // SAFETY: guaranteed by the caller: the processor has the tiles, and the pieces' pointers reach
    // the rows of their configuration, which have the digits of these steps, and their results.
    // Prefetched memory need not exist. Everything that is written except memory is named, and the
    // tiles are released.
    unsafe {
        asm!(
            load_epilogue!("{block}"),
            "vbroadcastss zmm18, dword ptr [{block} + {WEIGHTS}]",
            "vbroadcastss zmm19, dword ptr [{block} + {WEIGHTS} + 4]",
            "mov {piece}, [{block} + {PIECE}]",
            "mov {left_step}, [{block} + {LEFT_ROW_STEP}]",
            "mov {right_step:e}, 128",
            // There is no tile before the first.
            "xor {rows:e}, {rows:e}",
            "2:",
            configure!("{temporary}", "qword ptr [{block} + {CONFIGURED}]"),
            "mov {left}, [{piece} + {LEFT}]",
            "mov {right}, [{block} + {COLUMNS}]",
            "mov {next}, [{piece} + {NEXT}]",
            "mov {temporary}, [{block} + {REGISTERS}]",
            "mov [{block} + {REMAINING}], {temporary}",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "tilezero tmm5",
            "4:",
            prefetch_next!(),
            // No sums are updated twice in a row.
            "tileloadd tmm6, [{left} + {left_step} + 128]",
            "tileloadd tmm7, [{right} + {right_step}]",
            "tdpbssd tmm4, tmm6, tmm7",
            "tileloadd tmm7, [{right} + {right_step} + 64]",
            "tdpbssd tmm5, tmm6, tmm7",
            "tileloadd tmm6, [{left} + {left_step} + 64]",
            "tdpbssd tmm3, tmm6, tmm7",
            "tileloadd tmm7, [{right} + {right_step}]",
            "tdpbssd tmm2, tmm6, tmm7",
            "tileloadd tmm7, [{right} + {right_step} + 2048]",
            "tdpbssd tmm4, tmm6, tmm7",
            "tileloadd tmm7, [{right} + {right_step} + 2112]",
            "tdpbssd tmm5, tmm6, tmm7",
            "tileloadd tmm6, [{left} + {left_step}]",
            "tdpbssd tmm3, tmm6, tmm7",
            "tileloadd tmm7, [{right} + {right_step} + 2048]",
            "tdpbssd tmm2, tmm6, tmm7",
            "tileloadd tmm7, [{right} + {right_step} + 4096]",
            "tdpbssd tmm4, tmm6, tmm7",
            "tileloadd tmm7, [{right} + {right_step} + 4160]",
            "tdpbssd tmm5, tmm6, tmm7",
            "tileloadd tmm7, [{right} + {right_step}]",
            "tdpbssd tmm0, tmm6, tmm7",
            "tileloadd tmm7, [{right} + {right_step} + 64]",
            "tdpbssd tmm1, tmm6, tmm7",
            "add {left}, {LEFT_REGISTER}",
            "add {right}, {RIGHT_REGISTER}",
            // Finishes some rows of the previous tile.
            "mov {some}, [{block} + {ROWS_PER_REGISTER}]",
            "mov {temporary}, [{block} + {RESULT_AHEAD}]",
            "5:",
            "test {rows}, {rows}",
            "jz 6f",
            "prefetchw [{result} + {temporary}]",
            "prefetchw [{result} + {temporary} + 64]",
            finish_row!(digits, "{block}", "{sums}", "{result}", "{row_scale}"),
            "dec {rows}",
            "dec {some}",
            "jnz 5b",
            "6:",
            "dec qword ptr [{block} + {REMAINING}]",
            "jnz 4b",
            // This tile becomes the previous one.
            "mov {sums}, [{block} + {SUMS}]",
            "mov {temporary}, [{block} + {SUMS} + 8]",
            "mov [{block} + {SUMS}], {temporary}",
            "mov [{block} + {SUMS} + 8], {sums}",
            "tilestored [{sums} + {right_step}], tmm0",
            "tilestored [{sums} + {right_step} + 64], tmm1",
            "tilestored [{sums} + {right_step} + 2048], tmm2",
            "tilestored [{sums} + {right_step} + 2112], tmm3",
            "tilestored [{sums} + {right_step} + 4096], tmm4",
            "tilestored [{sums} + {right_step} + 4160], tmm5",
            "mov {rows}, [{piece} + {ROWS}]",
            "mov {result}, [{piece} + {RESULT}]",
            "mov {row_scale}, [{piece} + {ROW_SCALE}]",
            "add {piece}, {PIECE_SIZE}",
            "cmp {piece}, [{block} + {END}]",
            "jne 2b",
            "tilerelease",
            "7:",
            finish_row!(digits, "{block}", "{sums}", "{result}", "{row_scale}"),
            "dec {rows}",
            "jnz 7b",
            "vzeroupper",
            block = in(reg) block,
            piece = out(reg) _,
            left = out(reg) _,
            left_step = out(reg) _,
            right = out(reg) _,
            right_step = out(reg) _,
            next = out(reg) _,
            rows = out(reg) _,
            sums = out(reg) _,
            result = out(reg) _,
            row_scale = out(reg) _,
            some = out(reg) _,
            temporary = out(reg) _,
            LEFT_REGISTER = const size_of::<[Line; DIGITS]>(),
            RIGHT_REGISTER = const size_of::<Columns>(),
            CONFIGURATION = const offset_of!(Piece, configuration),
            ROWS = const offset_of!(Piece, rows),
            LEFT = const offset_of!(Piece, left),
            RESULT = const offset_of!(Piece, result),
            ROW_SCALE = const offset_of!(Piece, row_scale),
            NEXT = const offset_of!(Piece, next),
            PIECE_SIZE = const size_of::<Piece>(),
            WEIGHTS = const offset_of!(Block, weights),
            PIECE = const offset_of!(Block, piece),
            END = const offset_of!(Block, end),
            COLUMNS = const offset_of!(Block, columns),
            REGISTERS = const offset_of!(Block, registers),
            LEFT_ROW_STEP = const offset_of!(Block, left_row_step),
            ROWS_PER_REGISTER = const offset_of!(Block, rows_per_register),
            RESULT_AHEAD = const offset_of!(Block, result_ahead),
            SUMS = const offset_of!(Block, sums),
            CONFIGURED = const offset_of!(Block, configured),
            REMAINING = const offset_of!(Block, remaining),
            SCALES = const offset_of!(Block, epilogue.scales),
            CORRECTIONS = const offset_of!(Block, epilogue.corrections),
            BIAS = const offset_of!(Block, epilogue.bias),
            MASKS = const offset_of!(Block, epilogue.masks),
            ADD = const offset_of!(Block, epilogue.add),
            RESULT_ROW_STEP = const offset_of!(Block, epilogue.result_row_step),
            ROW_SCALE_STEP = const offset_of!(Block, epilogue.row_scale_step),
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

/// Writes the columns' digits of the steps from `first` on, with zeros after the last step.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
unsafe fn write_columns<D: Dot<Words = __m512i>>(
    raw: &Raw<'_>,
    first: usize,
    inverses: &[f32; PANEL],
    columns: &mut [Columns],
) {
    for half in 0..raw.columns.div_ceil(SIDE) {
        // SAFETY: guaranteed by the caller: these steps exist, with so many vectors of columns; a
        // line holds a whole vector.
        unsafe {
            let words = raw.right.add(half * SIDE / D::COLUMNS_PER_WORD);
            let inverses = _mm512_loadu_ps(inverses.as_ptr().add(half * SIDE));
            for (register, columns) in columns.iter_mut().enumerate() {
                for quad in 0..SIDE {
                    let mut numbers = [_mm512_setzero_si512(); 4];
                    for (index, number) in numbers.iter_mut().enumerate() {
                        let step = first + register * NUMBERS + index * SIDE + quad;
                        if step < raw.steps {
                            *number = D::load(words.add(step * raw.right_step), 0);
                        }
                        *number = nearest(*number, inverses);
                    }
                    let words = digits_of(numbers);
                    for digit in 0..DIGITS {
                        let line = columns[digit][2 * quad + half].0.as_mut_ptr();
                        _mm512_storeu_si512(line.cast(), words[digit]);
                    }
                }
            }
        }
    }
}

/// The nearest number of units, plus the constant that makes its digits signed.
#[inline]
#[target_feature(enable = "avx512f")]
fn nearest(values: __m512i, inverses: __m512) -> __m512i {
    let values = _mm512_mul_ps(_mm512_castsi512_ps(values), inverses);
    let carry = _mm512_set1_epi32(CARRY.cast_signed());
    _mm512_add_epi32(_mm512_cvtps_epi32(values), carry)
}

/// The digits of four vectors of numbers, side by side in words: the first digits first.
#[inline]
#[target_feature(enable = "avx512f")]
fn digits_of([a, b, c, d]: [__m512i; 4]) -> [__m512i; DIGITS] {
    /// Selects bits of the second operand where the mask is set, else bits of the third.
    const SELECT: i32 = 0xca;
    let bytes = _mm512_set1_epi32(0x00ff_00ff);
    let halves = _mm512_set1_epi32(0x0000_ffff);
    let signs = _mm512_set1_epi32(0x8080_8080_u32.cast_signed());
    // The third and first digits, and the second digits, of pairs of numbers.
    let outer = |a, b| _mm512_ternarylogic_epi32::<SELECT>(bytes, a, _mm512_slli_epi32::<8>(b));
    let inner = |a, b| _mm512_ternarylogic_epi32::<SELECT>(bytes, _mm512_srli_epi32::<8>(a), b);
    let lower = |a, b| _mm512_ternarylogic_epi32::<SELECT>(halves, a, _mm512_slli_epi32::<16>(b));
    let upper = |a, b| _mm512_ternarylogic_epi32::<SELECT>(halves, _mm512_srli_epi32::<16>(a), b);
    let (outer_ab, outer_cd) = (outer(a, b), outer(c, d));
    [
        upper(outer_ab, outer_cd),
        _mm512_xor_si512(lower(inner(a, b), inner(c, d)), signs),
        _mm512_xor_si512(lower(outer_ab, outer_cd), signs),
    ]
}

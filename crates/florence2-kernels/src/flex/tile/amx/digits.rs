//! f32 in AMX's registers of int8.
//!
//! Rows and columns are whole numbers of three digits ([`crate::flex::digits`]). Products of two digits
//! have a weight, as digits have: the first with the first has the greatest, the first with the second
//! and the second with the first the next. Sums of a weight are exact, and three are computed. What is
//! left out errs to either side: by a third of a rounding of f32 of the lengths' product where numbers are
//! alike in size, and by ten and more where one of each is far above the others. These six products of int8
//! take about two thirds of the time of five of bf16, into which f32 can be cut too.
//!
//! Registers 0 and 1 are the sums of the greatest weight, of either half of the columns, 2 and 3, 4 and
//! 5 those of the next; 6 has digits of the rows, and 7 of the columns.

use std::arch::asm;
use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_ET0, _MM_HINT_T1, _mm_prefetch, _mm512_add_epi32,
    _mm512_castsi512_ps, _mm512_cvtepi32_ps, _mm512_cvtps_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_maskz_loadu_epi32, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_slli_epi32, _mm512_srli_epi32, _mm512_storeu_si512,
    _mm512_ternarylogic_epi32, _mm512_xor_si512,
};
use std::cell::Cell;
use std::mem::swap;
use std::ops::Range;

use super::assembly::AHEAD_PER_REGISTER;
use super::{Configuration, SIDE, configure, mask};
use crate::flex::digits::{self, CARRY, DIGITS, NUMBERS, Unit};
use crate::flex::level::{Level, level};
use crate::flex::line::{LINE, Line};
use crate::flex::tile::avx512::{Floats, Halves};
use crate::flex::tile::{Dot, Finish, Kernel, PANEL, Raw, store_row};

pub(in crate::flex::tile) const F32: Kernel = Kernel {
    left_words: digits::words,
    ..Kernel::new(run_f32, run_f32, usize::MAX)
};
pub(in crate::flex::tile) const F16: Kernel = Kernel {
    columns_per_word: Halves::COLUMNS_PER_WORD,
    left_words: digits::words,
    ..Kernel::new(run_f16, run_f16, usize::MAX)
};

/// Registers of 64 steps whose columns' digits stay in the nearest cache while all rows pass.
const REGISTERS_OF_BLOCK: usize = 4;

/// What sums of the least weight stand for: products of a first digit, of 65536, and a third.
const LEAST: f32 = 65536.0;

/// Digits of 64 steps of a panel, the first ones first: of every sixteenth step, a line for either half
/// of the columns.
type Columns = [[Line; 2 * SIDE]; DIGITS];

/// Sums of each weight: `[row][column]`.
#[derive(Default)]
#[repr(C, align(64))]
struct Sums([[[i32; PANEL]; SIDE]; DIGITS]);

/// What a product works in.
#[derive(Default)]
struct Buffers {
    columns: [Columns; REGISTERS_OF_BLOCK],
    /// Of the tile that is multiplied, and of the one before, which is being finished.
    sums: [Sums; 2],
}

thread_local! {
    static BUFFERS: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

/// Of each number of rows.
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
    // SAFETY: of the caller.
    unsafe { run::<Halves>(raw) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn run_f32(raw: &Raw<'_>) {
    // SAFETY: of the caller.
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
    // INVARIANT: columns of f32 and f16 come with their largest where rows are in digits.
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
    let [mut sums, mut sums_before] = buffers.sums.each_mut();
    let mut before = None;
    let mut next = raw.next;
    let (mut configured, mut first) = (0, 0);
    // SAFETY: of the caller, which checked every bound, and whose processor has the registers.
    unsafe {
        for block in 0..blocks {
            let end = first + (registers - first).div_ceil(blocks - block);
            let columns = &mut buffers.columns[..end - first];
            write_columns::<D>(raw, first * NUMBERS, &inverses, columns);
            for first_row in (0..raw.rows).step_by(SIDE) {
                let tile = Tile {
                    raw: if block == 0 { raw } else { &added },
                    first: first_row,
                    rows: SIDE.min(raw.rows - first_row),
                };
                if tile.rows != configured {
                    configured = tile.rows;
                    configure(&CONFIGURATIONS[configured]);
                }
                let meanwhile = Meanwhile {
                    before,
                    sums: sums_before,
                    units: &units,
                    next,
                };
                multiply(&tile, first, columns, sums, &meanwhile);
                next = next.wrapping_byte_add(columns.len() * AHEAD_PER_REGISTER);
                before = Some(tile);
                swap(&mut sums, &mut sums_before);
            }
            first = end;
        }
        asm!("tilerelease", options(nomem, nostack));
        if let Some(before) = &before {
            before.finish(0..SIDE, sums_before, &units);
        }
    }
    BUFFERS.set(Some(buffers));
}

/// Writes the digits of a row whose largest magnitude is given, and zeros where it does not fill a line;
/// gives its unit.
#[allow(unsafe_code)]
pub(in crate::flex) fn encode_row(row: &[f32], largest: f32, words: &mut [u32]) -> f32 {
    assert!(level() == Level::Amx && words.len() >= digits::words(row.len()));
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
            // SAFETY: the mask has the values that there are.
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

/// Up to 16 rows, and what becomes of their sums.
#[derive(Clone, Copy)]
struct Tile<'a> {
    raw: &'a Raw<'a>,
    first: usize,
    rows: usize,
}

/// What is done while a tile is multiplied.
struct Meanwhile<'a> {
    /// The tile before it is finished, if there is one.
    before: Option<Tile<'a>>,
    sums: &'a Sums,
    units: &'a [f32; PANEL],
    /// These columns are asked for.
    next: *const u32,
}

/// Multiplies a tile's rows by the columns of some registers of steps, from the first on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn multiply(
    tile: &Tile<'_>,
    first: usize,
    columns: &[Columns],
    Sums(sums): &mut Sums,
    meanwhile: &Meanwhile<'_>,
) {
    let rows_per_register = SIDE.div_ceil(columns.len());
    let raw = tile.raw;
    // SAFETY: of the caller: the registers are configured for the tile's rows, which have the digits of
    // these steps. To ask for memory ahead never fails. The registers' numbers stay there from one piece
    // of assembly to the next, for nothing else uses them.
    unsafe {
        let left = raw
            .left
            .add(tile.first * raw.left_row_step + first * DIGITS * LINE);
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "tilezero tmm5",
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
            options(nomem, nostack, preserves_flags),
        );
        for (register, columns) in columns.iter().enumerate() {
            for line in 0..AHEAD_PER_REGISTER / size_of::<Line>() {
                let next = meanwhile
                    .next
                    .wrapping_byte_add(register * AHEAD_PER_REGISTER);
                _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(line * LINE).cast());
            }
            // Sums of a weight are never added to twice in a row.
            asm!(
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
                left = in(reg) left.add(register * DIGITS * LINE),
                left_step = in(reg) size_of::<u32>() * raw.left_row_step,
                right = in(reg) columns.as_ptr(),
                right_step = in(reg) size_of::<[Line; 2]>(),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(readonly, nostack, preserves_flags),
            );
            if let Some(before) = &meanwhile.before {
                let first = register * rows_per_register;
                let rows = first..SIDE.min(first + rows_per_register);
                before.ask_for_results(rows.end..rows.end + rows_per_register);
                before.finish(rows, meanwhile.sums, meanwhile.units);
            }
        }
        asm!(
            "tilestored [{sums} + {row_step}], tmm0",
            "tilestored [{sums} + {row_step} + 64], tmm1",
            "tilestored [{sums} + {row_step} + 2048], tmm2",
            "tilestored [{sums} + {row_step} + 2112], tmm3",
            "tilestored [{sums} + {row_step} + 4096], tmm4",
            "tilestored [{sums} + {row_step} + 4160], tmm5",
            sums = in(reg) sums.as_mut_ptr(),
            row_step = in(reg) size_of::<[i32; PANEL]>(),
            options(nostack, preserves_flags),
        );
    }
}

impl Tile<'_> {
    /// Asks for where the results of some of the rows belong.
    #[inline]
    #[allow(unsafe_code)]
    fn ask_for_results(&self, rows: Range<usize>) {
        let raw = self.raw;
        for row in rows {
            let result = raw
                .result
                .wrapping_add((self.first + row) * raw.result_row_step);
            // SAFETY: memory that is asked for need not exist.
            unsafe {
                _mm_prefetch::<_MM_HINT_ET0>(result.cast());
                _mm_prefetch::<_MM_HINT_ET0>(result.wrapping_add(SIDE).cast());
            }
        }
    }

    /// Writes the results of some of the rows, as far as there are.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    #[allow(unsafe_code)]
    unsafe fn finish(&self, rows: Range<usize>, sums: &Sums, units: &[f32; PANEL]) {
        for row in rows.start..rows.end.min(self.rows) {
            // SAFETY: of the caller, which checked every bound: a row's sums are two vectors of them.
            unsafe {
                let sums = [
                    finished(sums, row, 0, units),
                    finished(sums, row, SIDE, units),
                ];
                store_row::<Floats, 2>(&sums, self.raw, self.first + row, 0);
            }
        }
    }
}

/// What sums of all weights amount to, of a vector of columns from `column` on.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn finished(
    Sums([greatest, middle, least]): &Sums,
    row: usize,
    column: usize,
    units: &[f32; PANEL],
) -> __m512 {
    // SAFETY: of the caller: there is a vector of columns.
    unsafe {
        let greatest = _mm512_loadu_si512(greatest[row].as_ptr().add(column).cast());
        let middle = _mm512_loadu_si512(middle[row].as_ptr().add(column).cast());
        let least = _mm512_loadu_si512(least[row].as_ptr().add(column).cast());
        let sums = _mm512_fmadd_ps(
            _mm512_cvtepi32_ps(middle),
            _mm512_set1_ps(256.0),
            _mm512_cvtepi32_ps(least),
        );
        let sums = _mm512_fmadd_ps(_mm512_cvtepi32_ps(greatest), _mm512_set1_ps(65536.0), sums);
        _mm512_mul_ps(sums, _mm512_loadu_ps(units.as_ptr().add(column)))
    }
}

/// Writes the columns' digits of steps from the first on; zeros where there are no more steps.
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
        // SAFETY: of the caller: there are these steps of so many vectors of columns; a line is a vector's
        // worth.
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

/// The nearest number of units, with what makes its digits signed.
#[inline]
#[target_feature(enable = "avx512f")]
fn nearest(values: __m512i, inverses: __m512) -> __m512i {
    let values = _mm512_mul_ps(_mm512_castsi512_ps(values), inverses);
    let carry = _mm512_set1_epi32(CARRY.cast_signed());
    _mm512_add_epi32(_mm512_cvtps_epi32(values), carry)
}

/// The digits of four vectors of numbers, beside each other in words: the first ones first.
#[inline]
#[target_feature(enable = "avx512f")]
fn digits_of([a, b, c, d]: [__m512i; 4]) -> [__m512i; DIGITS] {
    /// Of both, bit by bit: the second's where there is none in the mask.
    const SELECT: i32 = 0xca;
    let bytes = _mm512_set1_epi32(0x00ff_00ff);
    let halves = _mm512_set1_epi32(0x0000_ffff);
    let signs = _mm512_set1_epi32(0x8080_8080_u32.cast_signed());
    // Third and first digits, and second ones, of pairs of numbers.
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

//! f32 in AMX's registers of bf16.
//!
//! Cut after every eighth of its 24 bits, an f32 is the sum of three bf16, and an f16, with its 11
//! bits, of two. Products of the parts are exact in f32, and so are all of them together but for those
//! that are left out: the third part of a row's value with a second or third of a column's, and the
//! second with a third. They are less than an f32's rounding on average. Five products of f16's
//! columns, or six of f32's, take half the time of one in vectors.

use std::arch::asm;
use std::arch::x86_64::{
    __m512i, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_or_si512,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_srli_epi32, _mm512_storeu_si512, _mm512_sub_ps,
};
use std::cell::Cell;

use super::assembly::{ask_for_next, columns, rows, sums};
use super::{Ends, SIDE, for_each_tile};
use crate::flex::line::Line;
use crate::flex::rows::sized;
use crate::flex::split::{self, UPPER_HALF, VALUES};
use crate::flex::tile::avx512::{Floats, Halves, Pairs};
use crate::flex::tile::{Dot, Kernel, PANEL, Raw};

pub(in crate::flex::tile) const F32: Kernel = Kernel {
    left_words: split::words,
    ..Kernel::new(run_f32, run_f32, usize::MAX)
};
pub(in crate::flex::tile) const F16: Kernel = Kernel {
    columns_per_word: Halves::COLUMNS_PER_WORD,
    left_words: split::words,
    ..Kernel::new(run_f16, run_f16, usize::MAX)
};

/// A part of 32 steps of a panel: of each pair of steps a line for either half of the columns.
type Part = [Line; 2 * SIDE];

/// What a tile multiplies, as the assembly reads it. Distances are in bytes.
#[repr(C)]
struct Factors {
    /// Of 32 values each.
    registers: usize,
    upper: *const u32,
    lower: *const u32,
    left_row_step: usize,
    right: *const Line,
}

/// The last is what is asked for ahead.
type Multiply = unsafe fn(&Factors, &Ends, *const u32);

/// What a third part of the columns' values adds.
macro_rules! third {
    (2, $rows:ident) => {
        ""
    };
    (3, $rows:ident) => {
        concat!(columns!(4096, 4160), "\n", rows!($rows, "tdpbf16ps", again))
    };
}

macro_rules! multiply {
    ($name:ident, $parts:tt, $rows:ident) => {
        #[allow(unsafe_code)]
        unsafe fn $name(factors: &Factors, ends: &Ends, next: *const u32) {
            // SAFETY: of the caller: the registers are configured for rows and columns that the
            // factors' and the ends' pointers reach. To ask for memory ahead never fails.
            unsafe {
                asm!(
                    sums!(load, $rows),
                    "mov {registers}, [{factors}]",
                    "mov {upper}, [{factors} + 8]",
                    "mov {lower}, [{factors} + 16]",
                    "mov {left_row_step}, [{factors} + 24]",
                    "mov {right}, [{factors} + 32]",
                    "2:",
                    ask_for_next!(),
                    columns!(0, 64),
                    rows!($rows, "tdpbf16ps", 128),
                    rows!($rows, "tdpbf16ps", 0),
                    rows!($rows, "tdpbf16ps", 64),
                    columns!(2048, 2112),
                    rows!($rows, "tdpbf16ps", again),
                    rows!($rows, "tdpbf16ps", 0),
                    third!($parts, $rows),
                    "add {upper}, 192",
                    "add {lower}, 192",
                    "add {right}, {right_register_step}",
                    "dec {registers}",
                    "jnz 2b",
                    sums!(store, $rows),
                    factors = in(reg) factors,
                    ends = in(reg) ends,
                    right_step = in(reg) size_of::<[u32; PANEL]>(),
                    right_register_step = const $parts * size_of::<Part>(),
                    registers = out(reg) _,
                    upper = out(reg) _,
                    lower = out(reg) _,
                    left_row_step = out(reg) _,
                    right = out(reg) _,
                    next = inout(reg) next => _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

multiply!(multiply_by_two, 2, both);
multiply!(multiply_upper_by_two, 2, upper);
multiply!(multiply_by_three, 3, both);
multiply!(multiply_upper_by_three, 3, upper);

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn run_f16(raw: &Raw<'_>) {
    // SAFETY: of the caller.
    unsafe { run::<Halves, 2>(raw, multiply_by_two, multiply_upper_by_two) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn run_f32(raw: &Raw<'_>) {
    // SAFETY: of the caller.
    unsafe { run::<Floats, 3>(raw, multiply_by_three, multiply_upper_by_three) }
}

thread_local! {
    /// A panel's parts, kept from use to use.
    static PARTS: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
unsafe fn run<D: Dot<Words = __m512i>, const COUNT: usize>(
    raw: &Raw<'_>,
    both_halves: Multiply,
    upper_half: Multiply,
) {
    assert!(raw.left_step == 1, "rows beside each other");
    let registers = raw.steps.div_ceil(VALUES);
    let mut parts = PARTS.take();
    let lines = registers * COUNT * size_of::<Part>() / size_of::<Line>();
    // SAFETY: of the caller, which checked every bound.
    unsafe {
        split_columns::<D, COUNT>(raw, sized(&mut parts, lines).as_chunks_mut().0);
        let row_step = size_of::<u32>() * raw.left_row_step;
        for_each_tile::<Pairs>(raw, registers, 1, true, |tile, _, ends| {
            let upper = raw.left.wrapping_byte_add(tile.first * row_step);
            let factors = Factors {
                registers,
                upper,
                lower: upper.wrapping_byte_add(tile.upper * row_step),
                left_row_step: row_step,
                right: parts.as_ptr(),
            };
            match tile.lower {
                0 => upper_half(&factors, ends, tile.next),
                _ => both_halves(&factors, ends, tile.next),
            }
        });
    }
    PARTS.set(parts);
}

/// Writes the parts of 32 steps of all columns after each other, pairs of steps as words; zeros where
/// there are no more steps.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
unsafe fn split_columns<D: Dot<Words = __m512i>, const COUNT: usize>(
    raw: &Raw<'_>,
    parts: &mut [Part],
) {
    for (register, parts) in parts.chunks_exact_mut(COUNT).enumerate() {
        for pair in 0..SIDE {
            let step = register * VALUES + 2 * pair;
            for half in 0..raw.columns.div_ceil(SIDE) {
                // SAFETY: of the caller: there are these steps of so many vectors of columns.
                let values = [step, step + 1].map(|step| unsafe {
                    if step < raw.steps {
                        let columns = half * SIDE / D::COLUMNS_PER_WORD;
                        D::load(raw.right.add(step * raw.right_step + columns))
                    } else {
                        _mm512_setzero_si512()
                    }
                });
                // SAFETY: the level is the caller's; a line is a vector's worth.
                unsafe {
                    for (part, words) in parts.iter_mut().zip(cut::<COUNT>(values)) {
                        let line = part[2 * pair + half].0.as_mut_ptr();
                        _mm512_storeu_si512(line.cast(), words);
                    }
                }
            }
        }
    }
}

/// The parts of two vectors of f32, those of the first in the lower halves of words.
#[inline]
#[target_feature(enable = "avx512f")]
fn cut<const COUNT: usize>([first, second]: [__m512i; 2]) -> [__m512i; COUNT] {
    let upper_half = _mm512_set1_epi32(UPPER_HALF.cast_signed());
    let (mut first, mut second) = (_mm512_castsi512_ps(first), _mm512_castsi512_ps(second));
    let mut words = [_mm512_setzero_si512(); COUNT];
    for word in &mut words {
        let lower = _mm512_and_si512(_mm512_castps_si512(first), upper_half);
        let upper = _mm512_and_si512(_mm512_castps_si512(second), upper_half);
        *word = _mm512_or_si512(_mm512_srli_epi32::<16>(lower), upper);
        first = _mm512_sub_ps(first, _mm512_castsi512_ps(lower));
        second = _mm512_sub_ps(second, _mm512_castsi512_ps(upper));
    }
    words
}

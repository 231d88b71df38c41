//! f32 products in AMX's int8 tile registers (the Ozaki scheme).
//!
//! Rows and columns are integers of three slices ([`crate::cpu::gemm::split_int8`]). The product of
//! two slices has a weight. The product of the first slices has the greatest weight; those of a
//! first and a second slice have the middle one. The sums of a weight are exact, and the sums of
//! three weights are computed. The omitted sums cause errors of either sign: a third of an f32
//! rounding of the product of the vectors' lengths if the values have similar magnitudes, and ten
//! roundings or more if one value of each vector is far above the others. These six int8 products
//! take about two thirds of the time of five bf16 products, into which f32 can be split too.
//!
//! MR x NR is 16 rows by 32 columns. Tile registers 0 and 1 hold the sums of the greatest weight, one
//! for each half of the columns, 2 and 3 those of the middle weight, 4 and 5 those of the least.
//! Register 6 holds slices of the rows, and 7 slices of the columns.
//!
//! The entry points have the contract of [`GemmArgs`]. They are called through [`Kernel`] only,
//! which checks it.

use std::arch::asm;
use std::arch::x86_64::{__m512i, _mm512_loadu_ps, _mm512_setzero_si512, _mm512_storeu_si512};
use std::cell::Cell;
use std::mem::offset_of;
use std::ptr::null;

use super::assembly::{
    PREFETCH_PER_REGISTER, configure, epilogue_of_row, load_epilogue, prefetch_next, sums_of_row,
};
use super::tiles::{AmxEpilogue, Configuration, SIDE, row_scale};
use crate::cpu::cache_line::{LINE, Line};
use crate::cpu::gemm::epilogue::Epilogue;
use crate::cpu::gemm::format::PANEL;
use crate::cpu::gemm::kernel::args::GemmArgs;
use crate::cpu::gemm::kernel::avx512::{F16, F32};
use crate::cpu::gemm::kernel::entry::Kernel;
use crate::cpu::gemm::kernel::microkernel::Dot;
use crate::cpu::gemm::split_int8::{self, GROUP, SLICES, Scale, round_scaled, slices_of};

pub(crate) const F32_KERNEL: Kernel =
    Kernel::new(run_f32, run_f32, usize::MAX).with_words(F32::COLUMNS_PER_WORD, split_int8::words);
pub(crate) const F16_KERNEL: Kernel =
    Kernel::new(run_f16, run_f16, usize::MAX).with_words(F16::COLUMNS_PER_WORD, split_int8::words);

/// The number of groups of 64 values whose columns' slices stay in the first-level cache while all
/// rows pass. One group is a tile register.
const REGISTERS_OF_BLOCK: usize = 4;

/// The weight of the least significant sums: products of a first slice (65536) and a third one.
const LEAST: f32 = 65536.0;

/// The slices of 64 values of every column of a panel, the first slices first: for every sixteenth
/// value, a line for each half of the columns.
type Columns = [[Line; 2 * SIDE]; SLICES];

/// The sums of each weight: `[row][column]`.
#[derive(Default)]
#[repr(C, align(64))]
struct Sums([[[i32; PANEL]; SIDE]; SLICES]);

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

/// # Safety
/// The invariants of [`GemmArgs`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn run_f16(args: &GemmArgs<'_>) {
    // SAFETY: `run` has the same contract.
    unsafe { run::<F16>(args) }
}

/// # Safety
/// The invariants of [`GemmArgs`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn run_f32(args: &GemmArgs<'_>) {
    // SAFETY: `run` has the same contract.
    unsafe { run::<F32>(args) }
}

/// Multiplies all rows, one block of columns' slices after the other.
///
/// # Safety
/// The invariants of [`GemmArgs`].
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
unsafe fn run<D: Dot<Words = __m512i>>(args: &GemmArgs<'_>) {
    assert!(args.lhs_k_stride == 1, "rows beside each other");
    let (mut scales, mut inverses) = ([0.0; PANEL], [0.0; PANEL]);
    // INVARIANT: f32 and f16 columns provide their largest magnitudes for rows in split int8.
    let column_max = args.column_max.expect("the columns' largest magnitudes");
    for ((scale, inverse), max_abs) in scales.iter_mut().zip(&mut inverses).zip(column_max) {
        let of_column = Scale::of(*max_abs);
        (*scale, *inverse) = (LEAST * of_column.value, of_column.inverse);
    }
    let registers = args.k.div_ceil(GROUP);
    let blocks = registers.div_ceil(REGISTERS_OF_BLOCK);
    let added = GemmArgs {
        epilogue: Epilogue {
            accumulate: true,
            bias: None,
            ..args.epilogue
        },
        ..*args
    };
    let mut buffers = BUFFERS.take().unwrap_or_default();
    let mut pieces = PIECES.take();
    let mut next = args.next;
    let mut first = 0;
    // SAFETY: invariants 2 and 3 for the slices of the rows and the words of the columns, 4 and 5 for
    // the results, 6 for the instructions. `with_words` declares the number of words of a row.
    unsafe {
        for block in 0..blocks {
            let end = first + (registers - first).div_ceil(blocks - block);
            let columns = &mut buffers.columns[..end - first];
            write_columns::<D>(args, first * GROUP, &inverses, columns);
            let args = if block == 0 { args } else { &added };
            pieces.clear();
            for first_row in (0..args.m).step_by(SIDE) {
                pieces.push(Piece::new(args, first_row, first, next));
                next = next.wrapping_byte_add((end - first) * PREFETCH_PER_REGISTER);
            }
            multiply(&mut Block::new(
                args,
                &pieces,
                &scales,
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

/// Up to 16 rows, in the layout that the assembly reads.
#[repr(C)]
struct Piece {
    configuration: *const Configuration,
    rows: usize,
    /// The slices of the first row; `result` and `row_scale` point to the first row too.
    lhs: *const u32,
    result: *mut f32,
    row_scale: *const f32,
    /// Prefetched during the product.
    next: *const u32,
}

impl Piece {
    /// The rows from `first_row` on, for the values from group `first` on.
    fn new(args: &GemmArgs<'_>, first_row: usize, first: usize, next: *const u32) -> Self {
        let rows = SIDE.min(args.m - first_row);
        let words = first_row * args.lhs_row_stride + first * SLICES * LINE;
        Self {
            configuration: &raw const CONFIGURATIONS[rows],
            rows,
            lhs: args.lhs.wrapping_add(words),
            result: args.dst.wrapping_add(first_row * args.dst_row_stride),
            row_scale: row_scale(args, first_row),
            next,
        }
    }
}

/// A product over a block of groups, in the layout that the assembly reads.
#[repr(C)]
struct Block {
    epilogue: AmxEpilogue,
    /// The weights of the middle and of the greatest sums, relative to the least.
    weights: [f32; 2],
    piece: *const Piece,
    end: *const Piece,
    columns: *const Columns,
    registers: usize,
    /// Bytes from a row's slices to the next row's.
    lhs_row_stride: usize,
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
        args: &GemmArgs<'_>,
        pieces: &[Piece],
        scales: &[f32; PANEL],
        columns: &[Columns],
        sums: &mut [Sums; 2],
    ) -> Self {
        let epilogue = AmxEpilogue {
            scales: *scales,
            ..AmxEpilogue::new(args)
        };
        let pieces = pieces.as_ptr_range();
        let rows_per_register = SIDE.div_ceil(columns.len());
        Self {
            result_ahead: rows_per_register * epilogue.result_row_stride,
            epilogue,
            weights: [256.0, 65536.0],
            piece: pieces.start,
            end: pieces.end,
            columns: columns.as_ptr(),
            registers: columns.len(),
            lhs_row_stride: size_of::<u32>() * args.lhs_row_stride,
            rows_per_register,
            sums: sums.each_mut().map(|sums| &raw mut *sums),
            configured: null(),
            remaining: 0,
        }
    }
}

/// Multiplies the pieces of a block, of which there is at least one. The results of a tile are
/// written while the next tile is multiplied.
///
/// # Safety
/// The processor supports AMX and AVX-512, and the process may use the tiles. The pointers of each
/// piece reach the rows of its configuration: the slices of the block's groups, the results and the
/// scales. `block.columns` has the slices of the block's groups.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
#[allow(
    clippy::too_many_lines,
    reason = "tile state may not leave the asm! block"
)]
unsafe fn multiply(block: &mut Block) {
    // SAFETY: the caller guarantees the tiles and what the pieces' pointers reach. Prefetched memory
    // need not exist. Everything that is written except memory is named, and the tiles are released.
    unsafe {
        asm!(
            load_epilogue!("{block}"),
            "vbroadcastss zmm18, dword ptr [{block} + {WEIGHTS}]",
            "vbroadcastss zmm19, dword ptr [{block} + {WEIGHTS} + 4]",
            "mov {piece}, [{block} + {PIECE}]",
            "mov {lhs_stride}, [{block} + {LHS_ROW_STRIDE}]",
            "mov {rhs_k_stride:e}, 128",
            // There is no tile before the first.
            "xor {rows:e}, {rows:e}",
            "2:",
            configure!("{temporary}", "qword ptr [{block} + {CONFIGURED}]"),
            "mov {lhs}, [{piece} + {LHS}]",
            "mov {rhs}, [{block} + {COLUMNS}]",
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
            "tileloadd tmm6, [{lhs} + {lhs_stride} + 128]",
            "tileloadd tmm7, [{rhs} + {rhs_k_stride}]",
            "tdpbssd tmm4, tmm6, tmm7",
            "tileloadd tmm7, [{rhs} + {rhs_k_stride} + 64]",
            "tdpbssd tmm5, tmm6, tmm7",
            "tileloadd tmm6, [{lhs} + {lhs_stride} + 64]",
            "tdpbssd tmm3, tmm6, tmm7",
            "tileloadd tmm7, [{rhs} + {rhs_k_stride}]",
            "tdpbssd tmm2, tmm6, tmm7",
            "tileloadd tmm7, [{rhs} + {rhs_k_stride} + 2048]",
            "tdpbssd tmm4, tmm6, tmm7",
            "tileloadd tmm7, [{rhs} + {rhs_k_stride} + 2112]",
            "tdpbssd tmm5, tmm6, tmm7",
            "tileloadd tmm6, [{lhs} + {lhs_stride}]",
            "tdpbssd tmm3, tmm6, tmm7",
            "tileloadd tmm7, [{rhs} + {rhs_k_stride} + 2048]",
            "tdpbssd tmm2, tmm6, tmm7",
            "tileloadd tmm7, [{rhs} + {rhs_k_stride} + 4096]",
            "tdpbssd tmm4, tmm6, tmm7",
            "tileloadd tmm7, [{rhs} + {rhs_k_stride} + 4160]",
            "tdpbssd tmm5, tmm6, tmm7",
            "tileloadd tmm7, [{rhs} + {rhs_k_stride}]",
            "tdpbssd tmm0, tmm6, tmm7",
            "tileloadd tmm7, [{rhs} + {rhs_k_stride} + 64]",
            "tdpbssd tmm1, tmm6, tmm7",
            "add {lhs}, {LHS_REGISTER}",
            "add {rhs}, {RHS_REGISTER}",
            // Finishes some rows of the previous tile.
            "mov {some}, [{block} + {ROWS_PER_REGISTER}]",
            "mov {temporary}, [{block} + {RESULT_AHEAD}]",
            "5:",
            "test {rows}, {rows}",
            "jz 6f",
            "prefetchw [{result} + {temporary}]",
            "prefetchw [{result} + {temporary} + 64]",
            epilogue_of_row!(split_int8, "{block}", "{sums}", "{result}", "{row_scale}"),
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
            "tilestored [{sums} + {rhs_k_stride}], tmm0",
            "tilestored [{sums} + {rhs_k_stride} + 64], tmm1",
            "tilestored [{sums} + {rhs_k_stride} + 2048], tmm2",
            "tilestored [{sums} + {rhs_k_stride} + 2112], tmm3",
            "tilestored [{sums} + {rhs_k_stride} + 4096], tmm4",
            "tilestored [{sums} + {rhs_k_stride} + 4160], tmm5",
            "mov {rows}, [{piece} + {ROWS}]",
            "mov {result}, [{piece} + {RESULT}]",
            "mov {row_scale}, [{piece} + {ROW_SCALE}]",
            "add {piece}, {PIECE_SIZE}",
            "cmp {piece}, [{block} + {END}]",
            "jne 2b",
            "tilerelease",
            "7:",
            epilogue_of_row!(split_int8, "{block}", "{sums}", "{result}", "{row_scale}"),
            "dec {rows}",
            "jnz 7b",
            "vzeroupper",
            block = in(reg) block,
            piece = out(reg) _,
            lhs = out(reg) _,
            lhs_stride = out(reg) _,
            rhs = out(reg) _,
            rhs_k_stride = out(reg) _,
            next = out(reg) _,
            rows = out(reg) _,
            sums = out(reg) _,
            result = out(reg) _,
            row_scale = out(reg) _,
            some = out(reg) _,
            temporary = out(reg) _,
            LHS_REGISTER = const size_of::<[Line; SLICES]>(),
            RHS_REGISTER = const size_of::<Columns>(),
            CONFIGURATION = const offset_of!(Piece, configuration),
            ROWS = const offset_of!(Piece, rows),
            LHS = const offset_of!(Piece, lhs),
            RESULT = const offset_of!(Piece, result),
            ROW_SCALE = const offset_of!(Piece, row_scale),
            NEXT = const offset_of!(Piece, next),
            PIECE_SIZE = const size_of::<Piece>(),
            WEIGHTS = const offset_of!(Block, weights),
            PIECE = const offset_of!(Block, piece),
            END = const offset_of!(Block, end),
            COLUMNS = const offset_of!(Block, columns),
            REGISTERS = const offset_of!(Block, registers),
            LHS_ROW_STRIDE = const offset_of!(Block, lhs_row_stride),
            ROWS_PER_REGISTER = const offset_of!(Block, rows_per_register),
            RESULT_AHEAD = const offset_of!(Block, result_ahead),
            SUMS = const offset_of!(Block, sums),
            CONFIGURED = const offset_of!(Block, configured),
            REMAINING = const offset_of!(Block, remaining),
            SCALES = const offset_of!(Block, epilogue.scales),
            CORRECTIONS = const offset_of!(Block, epilogue.corrections),
            BIAS = const offset_of!(Block, epilogue.bias),
            MASKS = const offset_of!(Block, epilogue.masks),
            ACCUMULATE = const offset_of!(Block, epilogue.accumulate),
            RESULT_ROW_STRIDE = const offset_of!(Block, epilogue.result_row_stride),
            ROW_SCALE_STRIDE = const offset_of!(Block, epilogue.row_scale_stride),
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

/// Writes the columns' slices of the values from `first` on, with zeros after the last value.
///
/// # Safety
/// The invariants of [`GemmArgs`].
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
unsafe fn write_columns<D: Dot<Words = __m512i>>(
    args: &GemmArgs<'_>,
    first: usize,
    inverses: &[f32; PANEL],
    columns: &mut [Columns],
) {
    for half in 0..args.n.div_ceil(SIDE) {
        // SAFETY: invariant 3 for the vectors of columns below `k`; a line holds a vector.
        unsafe {
            let words = args.rhs.add(half * SIDE / D::COLUMNS_PER_WORD);
            let inverses = _mm512_loadu_ps(inverses.as_ptr().add(half * SIDE));
            for (register, columns) in columns.iter_mut().enumerate() {
                for quad in 0..SIDE {
                    let mut integers = [_mm512_setzero_si512(); 4];
                    for (index, integer) in integers.iter_mut().enumerate() {
                        let p = first + register * GROUP + index * SIDE + quad;
                        if p < args.k {
                            *integer = D::load(words.add(p * args.rhs_k_stride), 0);
                        }
                        *integer = round_scaled(*integer, inverses);
                    }
                    let slices = slices_of(integers);
                    for slice in 0..SLICES {
                        let line = columns[slice][2 * quad + half].0.as_mut_ptr();
                        _mm512_storeu_si512(line.cast(), slices[slice]);
                    }
                }
            }
        }
    }
}

//! The parts that all AMX kernels share: the tile configuration, and the epilogue in the layout that
//! the assembly reads.

use crate::cpu::gemm::format::PANEL;
use crate::cpu::gemm::kernel::args::GemmArgs;

/// The number of rows of a register, and of words in each of its rows.
pub(crate) const SIDE: usize = 16;

/// A tile configuration, in the layout that the processor reads.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configuration {
    /// The configuration of registers with the given numbers of rows, in full width.
    pub(crate) const fn of([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
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

/// The epilogue of sums: the values added to them and their factors, in the layout that the
/// assembly reads.
#[repr(C, align(64))]
pub(crate) struct AmxEpilogue {
    /// The factors of the columns.
    pub(crate) scales: [f32; PANEL],
    /// int8 only: subtracted from the sums of the columns.
    pub(crate) corrections: [i32; PANEL],
    pub(crate) bias: [f32; PANEL],
    /// The masks of the existing columns, for each half.
    pub(crate) masks: [u16; 2],
    /// Non-zero if the results are added to the existing values.
    pub(crate) accumulate: u32,
    /// Bytes from a row's results to the next row's.
    pub(crate) result_row_stride: usize,
    /// Bytes from a row's factor to the next row's.
    pub(crate) row_scale_stride: usize,
}

/// The factor of rows without scales.
static ONE: f32 = 1.0;

impl AmxEpilogue {
    pub(crate) fn new(args: &GemmArgs<'_>) -> Self {
        let source = &args.epilogue;
        let columns = u32::MAX >> (PANEL - args.n);
        let mut epilogue = Self {
            scales: [1.0; PANEL],
            corrections: [0; PANEL],
            bias: [0.0; PANEL],
            masks: [columns as u16, (columns >> SIDE) as u16],
            accumulate: u32::from(source.accumulate),
            result_row_stride: size_of::<f32>() * args.dst_row_stride,
            row_scale_stride: match source.row_scales {
                Some(_) => size_of::<f32>(),
                None => 0,
            },
        };
        if let Some(bias) = source.bias {
            epilogue.bias[..args.n].copy_from_slice(&bias[..args.n]);
        }
        if let Some(quantised) = source.quantised {
            epilogue.scales = *quantised.scales;
            epilogue.corrections = *quantised.corrections;
        }
        epilogue
    }
}

/// A pointer to the factor of a row.
pub(crate) fn row_scale(args: &GemmArgs<'_>, row: usize) -> *const f32 {
    args.epilogue
        .row_scales
        .map_or(&raw const ONE, |scales| &raw const scales[row])
}

/// Returns whether the addend can be the initial value of the sums, without any other epilogue.
pub(crate) fn sums_are_results(args: &GemmArgs<'_>) -> bool {
    let epilogue = &args.epilogue;
    args.n == PANEL
        && epilogue.row_scales.is_none()
        && !(epilogue.accumulate && epilogue.bias.is_some())
}

/// The mask of the first words of a vector.
pub(crate) fn mask(words: usize) -> u16 {
    u16::MAX >> (SIDE - words)
}

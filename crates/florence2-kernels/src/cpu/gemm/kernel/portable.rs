//! Plain loops for any processor.
//!
//! MR x NR is 4 rows by 8 columns. The baseline of x86-64 keeps the sums in 8 of its 16 registers of
//! 4 columns. The multiply-add rounds twice.
//!
//! The entry point has the contract of [`GemmArgs`]. It is called through [`Kernel`] only, which
//! checks it. florence2-core's `tests/fused.rs` compares its products with burn's.

use super::args::GemmArgs;
use super::entry::Kernel;
use super::microkernel::{Dot, RowEpilogue, for_rows};
use super::widened::{Widened, widen};
use crate::cpu::gemm::epilogue::Quantised;

/// MR.
const MAX_ROWS: usize = 4;

pub(crate) const F32_KERNEL: Kernel = Kernel::new(run::<F32, false>, run::<F32, true>, MAX_ROWS);
pub(crate) const BF16_AS_F32_KERNEL: Kernel =
    Kernel::new(run::<Bf16x2, false>, run::<Bf16x2, true>, MAX_ROWS)
        .widening::<Bf16x2>(widen::<Bf16x2>, &F32_KERNEL);
pub(crate) const INT8_AS_F32_KERNEL: Kernel =
    Kernel::new(run::<Int8, false>, run::<Int8, true>, MAX_ROWS)
        .widening::<Int8>(widen::<Int8>, &F32_KERNEL);

/// # Safety
/// The invariants of [`GemmArgs`], and `m <= MAX_ROWS`.
#[allow(unsafe_code)]
unsafe fn run<D: Dot, const PREFETCH: bool>(args: &GemmArgs<'_>) {
    for column in (0..args.n).step_by(D::LANES) {
        // SAFETY: the caller guarantees the invariants. 8 columns from a multiple of 8 below `n` on
        // are inside the width of invariant 3.
        unsafe { for_rows!(args, column, D, 1, PREFETCH, [1 2 3 4]) }
    }
}

/// f32 columns.
struct F32;

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl Dot for F32 {
    type Words = [f32; 8];
    type Sums = [f32; 8];
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(words: *const u32, _value: usize) -> [f32; 8] {
        // SAFETY: the caller guarantees a vector.
        unsafe { words.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn broadcast(word: *const u32) -> [f32; 8] {
        // SAFETY: the caller guarantees a word.
        unsafe { [*word.cast(); 8] }
    }

    #[inline(always)]
    unsafe fn dot(mut sums: [f32; 8], lhs: [f32; 8], rhs: [f32; 8]) -> [f32; 8] {
        for ((sum, lhs), rhs) in sums.iter_mut().zip(lhs).zip(rhs) {
            *sum += lhs * rhs;
        }
        sums
    }

    #[inline(always)]
    unsafe fn store(mut sums: [f32; 8], epilogue: &RowEpilogue<'_>, column: usize, dst: *mut f32) {
        // SAFETY: the caller guarantees a vector of the bias and of the result.
        unsafe {
            if let Some(Quantised { scales, .. }) = epilogue.quantised {
                for (sum, scale) in sums.iter_mut().zip(&scales[column..]) {
                    *sum *= scale;
                }
            }
            let before = match epilogue.accumulate {
                true => Self::load(dst.cast(), 0),
                false => [0.0; 8],
            };
            for ((sum, bias), before) in sums
                .iter_mut()
                .zip(Self::load(epilogue.bias.cast(), 0))
                .zip(before)
            {
                *sum = *sum * epilogue.row_scale + bias + before;
            }
            dst.cast::<[f32; 8]>().write_unaligned(sums);
        }
    }
}

/// Pairs of bf16 columns, widened to f32 one at a time.
struct Bf16x2;

#[allow(unsafe_code, clippy::inline_always)]
impl Widened for Bf16x2 {
    type Into = F32;
    const VALUES: usize = 2;

    #[inline(always)]
    unsafe fn widen(words: *const u32, value: usize) -> [f32; 8] {
        // SAFETY: the caller guarantees a vector of words.
        let words = unsafe { words.cast::<[u32; 8]>().read_unaligned() };
        words.map(|pair| f32::from_bits(pair >> (16 * value) << 16))
    }
}

/// int8 columns, widened to f32 one of a word at a time.
struct Int8;

#[allow(unsafe_code, clippy::inline_always)]
impl Widened for Int8 {
    type Into = F32;
    const VALUES: usize = 4;

    #[inline(always)]
    unsafe fn widen(words: *const u32, value: usize) -> [f32; 8] {
        // SAFETY: the caller guarantees a vector of words.
        let words = unsafe { words.cast::<[u32; 8]>().read_unaligned() };
        words.map(|quad| f32::from(quad.to_le_bytes()[value].cast_signed()))
    }
}

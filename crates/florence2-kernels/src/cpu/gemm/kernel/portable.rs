//! Any machine: microkernels of 4 rows by 8 columns.

use super::widened::{Widened, widen};
use super::{Dot, End, Kernel, Quantised, Raw, for_rows};

const MAX_ROWS: usize = 4;

pub(crate) const F32: Kernel = Kernel::new(run::<Floats, false>, run::<Floats, true>, MAX_ROWS);
pub(crate) const BF16_AS_F32: Kernel =
    Kernel::new(run::<Pairs, false>, run::<Pairs, true>, MAX_ROWS)
        .widening::<Pairs>(widen::<Pairs>);
pub(crate) const INT8_AS_F32: Kernel =
    Kernel::new(run::<Bytes, false>, run::<Bytes, true>, MAX_ROWS)
        .widening::<Bytes>(widen::<Bytes>);

#[allow(unsafe_code)]
unsafe fn run<D: Dot, const ASKS: bool>(raw: &Raw<'_>) {
    for column in (0..raw.columns).step_by(D::LANES) {
        // SAFETY: guaranteed by the caller.
        unsafe { for_rows!(raw, column, D, 1, ASKS, [1 2 3 4]) }
    }
}

#[derive(Clone, Copy)]
struct Floats;

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl Dot for Floats {
    type Words = [f32; 8];
    type Sums = [f32; 8];
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(words: *const u32, _value: usize) -> [f32; 8] {
        // SAFETY: guaranteed by the caller, as below.
        unsafe { words.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn broadcast(word: *const u32) -> [f32; 8] {
        // SAFETY: as above.
        unsafe { [*word.cast(); 8] }
    }

    #[inline(always)]
    unsafe fn dot(mut sums: [f32; 8], left: [f32; 8], right: [f32; 8]) -> [f32; 8] {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
        sums
    }

    #[inline(always)]
    unsafe fn store(mut sums: [f32; 8], end: &End<'_>, column: usize, result: *mut f32) {
        // SAFETY: as above; bias and result have a vector's columns, which are inside the panel.
        unsafe {
            if let Some(Quantised { scales, .. }) = end.quantised {
                for (sum, scale) in sums.iter_mut().zip(&scales[column..]) {
                    *sum *= scale;
                }
            }
            let before = match end.add {
                true => Self::load(result.cast(), 0),
                false => [0.0; 8],
            };
            for ((sum, bias), before) in sums
                .iter_mut()
                .zip(Self::load(end.bias.cast(), 0))
                .zip(before)
            {
                *sum = *sum * end.scale + bias + before;
            }
            result.cast::<[f32; 8]>().write_unaligned(sums);
        }
    }
}

/// Pairs of bf16.
#[derive(Clone, Copy)]
struct Pairs;

#[allow(unsafe_code, clippy::inline_always)]
impl Widened for Pairs {
    type Into = Floats;
    const VALUES: usize = 2;

    #[inline(always)]
    unsafe fn widen(words: *const u32, value: usize) -> [f32; 8] {
        // SAFETY: guaranteed by the caller.
        let words = unsafe { words.cast::<[u32; 8]>().read_unaligned() };
        words.map(|pair| f32::from_bits(pair >> (16 * value) << 16))
    }
}

/// int8 values.
#[derive(Clone, Copy)]
struct Bytes;

#[allow(unsafe_code, clippy::inline_always)]
impl Widened for Bytes {
    type Into = Floats;
    const VALUES: usize = 4;

    #[inline(always)]
    unsafe fn widen(words: *const u32, value: usize) -> [f32; 8] {
        // SAFETY: guaranteed by the caller.
        let words = unsafe { words.cast::<[u32; 8]>().read_unaligned() };
        words.map(|quad| f32::from(quad.to_le_bytes()[value].cast_signed()))
    }
}

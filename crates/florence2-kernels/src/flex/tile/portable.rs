//! Any machine: 4 rows times 8 columns.

use super::{Dot, End, Kernel, Raw, for_rows};

pub(super) const F32: Kernel = Kernel::new(run_f32::<false>, run_f32::<true>, 4);

#[allow(unsafe_code)]
unsafe fn run_f32<const ASKS: bool>(raw: &Raw<'_>) {
    for column in (0..raw.columns).step_by(Floats::LANES) {
        // SAFETY: of the caller.
        unsafe { for_rows!(raw, column, Floats, 1, ASKS, [1 2 3 4]) }
    }
}

#[derive(Clone, Copy)]
struct Floats;

#[allow(unsafe_code, clippy::inline_always)]
impl Dot for Floats {
    type Words = [f32; 8];
    type Sums = [f32; 8];
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(words: *const u32) -> [f32; 8] {
        // SAFETY: of the caller, as below.
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
    unsafe fn store(mut sums: [f32; 8], end: &End<'_>, _column: usize, result: *mut f32) {
        // SAFETY: as above; bias and result have a vector's columns.
        unsafe {
            let before = match end.add {
                true => Self::load(result.cast()),
                false => [0.0; 8],
            };
            for ((sum, bias), before) in
                sums.iter_mut().zip(Self::load(end.bias.cast())).zip(before)
            {
                *sum = *sum * end.scale + bias + before;
            }
            result.cast::<[f32; 8]>().write_unaligned(sums);
        }
    }
}

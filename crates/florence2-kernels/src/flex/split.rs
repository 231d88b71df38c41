//! f32 cut into three bf16, whose sum it is: its 24 bits after every eighth.

use super::level::vectorised;
use super::line::LINE;

/// Parts of a value.
const PARTS: usize = 3;

/// Values whose parts lie in a line each, one after the other.
pub(super) const VALUES: usize = 2 * LINE;

/// The bits of an f32 that are a bf16's.
pub(super) const UPPER_HALF: u32 = 0xffff_0000;

/// Words of so many values.
pub(super) fn words(values: usize) -> usize {
    values.div_ceil(VALUES) * PARTS * LINE
}

/// Writes a row's parts, and zeros where it does not fill a line.
pub(super) fn encode_row(row: &[f32], words: &mut [u32]) {
    vectorised(
        #[inline(always)]
        |_| {
            let mut words = words.chunks_exact_mut(PARTS * LINE);
            let (whole, rest) = row.as_chunks();
            for (values, words) in whole.iter().zip(&mut words) {
                cut(*values, words);
            }
            if !rest.is_empty()
                && let Some(words) = words.next()
            {
                let mut values = [0.0; VALUES];
                values[..rest.len()].copy_from_slice(rest);
                cut(values, words);
            }
        },
    );
}

/// Writes the values' parts, a line of each.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be vectorised with its caller"
)]
fn cut(mut values: [f32; VALUES], words: &mut [u32]) {
    let (parts, _) = bytemuck::cast_slice_mut::<_, u16>(words).as_chunks_mut::<VALUES>();
    for part in parts {
        for (value, part) in values.iter_mut().zip(part) {
            let bits = value.to_bits() & UPPER_HALF;
            *part = (bits >> 16) as u16;
            *value -= f32::from_bits(bits);
        }
    }
}

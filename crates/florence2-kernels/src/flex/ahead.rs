//! Memory that is asked for before it is read, so that it is on its way meanwhile: on x86-64, where it was
//! measured.

#[cfg(target_arch = "x86_64")]
use super::line::LINE;

/// How far ahead of a step's words others are asked for, in bytes. On the processor on which it was
/// measured, 4 to 16 KiB took a fifth to a quarter off a decoder's tokens; with 10, steps of int8 take 3 %
/// less than with 6, and the others as long. Vectors ask for it in the second cache, of which they hardly
/// wait: the first has fewer lines on their way at a time, and steps took up to a sixth longer. AMX's
/// registers do wait for the second, and ask for it in the first.
#[cfg(target_arch = "x86_64")]
pub(super) const AHEAD: usize = 10 << 10;

/// Asks for words that are read later.
#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code)]
pub(super) fn ask_for(words: &[u32]) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    for line in words.chunks(LINE) {
        // SAFETY: a line's first word is there.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn ask_for(_words: &[u32]) {}

/// Asks for so many lines of what lies [`AHEAD`] of a step's words.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for its caller's instruction set"
)]
pub(super) fn ask_for_lines(words: *const u32, lines: usize) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    let ahead = words.wrapping_byte_add(AHEAD);
    for line in 0..lines {
        // SAFETY: memory that is asked for need not exist.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(line * LINE).cast()) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn ask_for_lines(_words: *const u32, _lines: usize) {}

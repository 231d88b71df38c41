//! Words by the cache line.

/// Words of a cache line.
pub(super) const LINE: usize = 16;

/// A cache line of words, which does not straddle two.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u32; LINE]);

// SAFETY: a line is its 16 words: no padding, any bits.
#[allow(unsafe_code)]
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl bytemuck::Pod for Line {}

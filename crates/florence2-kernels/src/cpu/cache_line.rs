//! Words grouped by cache line.

/// Words per cache line.
pub(crate) const LINE: usize = 16;

/// An aligned cache line of words.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u32; LINE]);

// SAFETY: a line consists of words, for which zeros are valid.
#[allow(unsafe_code)]
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: a line consists of its 16 words: it has no padding, and any bits are valid.
#[allow(unsafe_code)]
unsafe impl bytemuck::Pod for Line {}

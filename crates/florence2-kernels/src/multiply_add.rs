//! Fused multiply-add, if the machine has it.

/// The multiply-add of a SIMD level. The compiler never fuses the two operations by itself, because
/// the fused instruction rounds once instead of twice.
#[derive(Clone, Copy)]
pub(crate) struct MultiplyAdd {
    fused: bool,
}

impl MultiplyAdd {
    /// Two instructions, for any machine.
    pub(crate) const PORTABLE: Self = Self { fused: false };
    /// One instruction.
    #[cfg(feature = "flex")]
    pub(crate) const FUSED: Self = Self { fused: true };

    /// `a * b + c`.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "it must be compiled for its caller's instruction set"
    )]
    pub(crate) fn of(self, a: f32, b: f32, c: f32) -> f32 {
        match self.fused {
            true => a.mul_add(b, c),
            false => a * b + c,
        }
    }
}

//! Multiplying and adding in one instruction, where the machine has it.

/// How a level multiplies and adds: left to itself, the compiler never makes one instruction of
/// the two, because that rounds once rather than twice.
#[derive(Clone, Copy)]
pub(crate) struct MultiplyAdd {
    fused: bool,
}

impl MultiplyAdd {
    /// In two instructions, as any machine can.
    pub(crate) const PORTABLE: Self = Self { fused: false };
    /// In one.
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

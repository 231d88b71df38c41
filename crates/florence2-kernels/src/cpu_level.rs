//! The error for an unusable SIMD level.

use std::fmt;

/// A SIMD level that the CPU backend cannot use; see `set_cpu_level`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuLevelError {
    /// The source of the name: `FLORENCE2_CPU_LEVEL`, the environment variable, or `cpu_level`.
    pub setting: &'static str,
    /// The name that was found.
    pub found: String,
    /// A description of the accepted levels.
    pub expected: String,
}

impl CpuLevelError {
    #[cfg(feature = "flex")]
    pub(crate) fn new(
        setting: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            setting,
            found: found.into(),
            expected: expected.into(),
        }
    }
}

impl fmt::Display for CpuLevelError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            found,
            expected,
        } = self;
        write!(formatter, "{setting}: found `{found}`, expected {expected}")
    }
}

impl std::error::Error for CpuLevelError {}

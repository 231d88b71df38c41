//! The error of a SIMD level.

use std::fmt;

/// A SIMD level that the CPU backend cannot use: see `set_cpu_level`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuLevelError {
    /// What named the level: `FLORENCE2_CPU_LEVEL`, the environment variable, or `cpu_level`.
    pub setting: &'static str,
    /// The name.
    pub found: String,
    /// The names that are accepted.
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

//! Information about the library and the machine that it runs on.

use serde::Serialize;
use serde_json::Value;

/// Information about the library and the machine for a bug report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SystemInfo {
    /// The version of the library.
    pub version: &'static str,
    /// The operating system, by Rust's name.
    pub os: &'static str,
    /// The processor's architecture, by Rust's name.
    pub arch: &'static str,
    /// The level of SIMD instructions that the device `cpu` uses.
    pub simd_level: String,
    /// The number of threads of the models that have no threads of their own.
    pub threads: usize,
    /// The Cargo features of this build.
    pub features: Vec<&'static str>,
    /// The [devices](crate::devices).
    pub devices: Vec<String>,
}

impl SystemInfo {
    /// Collects the information.
    #[allow(
        clippy::new_without_default,
        reason = "the result depends on the machine"
    )]
    pub fn new() -> Self {
        let features = [
            ("flex", cfg!(feature = "flex")),
            ("ndarray", cfg!(feature = "ndarray")),
            ("cuda", cfg!(feature = "cuda")),
            ("rocm", cfg!(feature = "rocm")),
            ("wgpu", cfg!(feature = "wgpu")),
            ("metal", cfg!(feature = "metal")),
            ("vulkan", cfg!(feature = "vulkan")),
            ("demo", cfg!(feature = "demo")),
            ("hub", cfg!(feature = "hub")),
            ("mimalloc", cfg!(feature = "mimalloc")),
        ];
        let features = features.into_iter().filter(|(_, is_built)| *is_built);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            simd_level: simd_level(),
            threads: crate::threads::process_threads(),
            features: features.map(|(name, _)| name).collect(),
            devices: crate::devices(),
        }
    }

    /// Converts the information to a JSON object.
    pub fn to_json(&self) -> Value {
        // INVARIANT: strings, numbers and lists of them serialise to JSON.
        serde_json::to_value(self).expect("JSON")
    }
}

#[cfg(feature = "flex")]
fn simd_level() -> String {
    match florence2_kernels::cpu_level() {
        Ok(level) => level.to_owned(),
        Err(error) => error.to_string(),
    }
}

#[cfg(not(feature = "flex"))]
fn simd_level() -> String {
    "none".to_owned()
}

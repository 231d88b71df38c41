//! The version and the platforms of packages.

use std::path::PathBuf;

use crate::target::Target;

pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The names of a platform in the packages.
pub(super) struct Platform {
    pub(super) triple: &'static str,
    pub(super) archive: &'static str,
    /// The platform tag of the wheel.
    pub(super) wheel: &'static str,
    pub(super) debian: Option<Debian>,
}

/// Debian's names of an architecture.
pub(super) struct Debian {
    pub(super) architecture: &'static str,
    pub(super) multiarch: &'static str,
}

pub(super) const PLATFORMS: [Platform; 3] = [
    Platform {
        triple: "x86_64-unknown-linux-gnu",
        archive: "linux-x86_64",
        wheel: "manylinux_2_17_x86_64.manylinux2014_x86_64",
        debian: Some(Debian {
            architecture: "amd64",
            multiarch: "x86_64-linux-gnu",
        }),
    },
    Platform {
        triple: "aarch64-unknown-linux-gnu",
        archive: "linux-aarch64",
        wheel: "manylinux_2_17_aarch64.manylinux2014_aarch64",
        debian: Some(Debian {
            architecture: "arm64",
            multiarch: "aarch64-linux-gnu",
        }),
    },
    Platform {
        triple: "x86_64-pc-windows-gnu",
        archive: "windows-x86_64",
        wheel: "win_amd64",
        debian: None,
    },
];

/// The files of a platform that the packages contain, stripped.
pub(super) struct Files {
    pub(super) target: Target,
    /// The folder of the libraries.
    pub(super) parts: PathBuf,
    pub(super) program: PathBuf,
    pub(super) third_party: String,
}

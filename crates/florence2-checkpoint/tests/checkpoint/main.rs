//! Weights files of every format and many kinds of damage, which `tests/fixtures/weights_files.py` makes.
#![allow(clippy::unwrap_used)]

mod files;
mod mutations;
mod parts;
mod truncations;

use std::path::{Path, PathBuf};

/// The files of `weights_files.py`. A binary that was built elsewhere finds them by
/// `FLORENCE2_REPOSITORY`.
fn fixtures() -> PathBuf {
    let repository = std::env::var_os("FLORENCE2_REPOSITORY").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        PathBuf::from,
    );
    repository.join("tests/fixtures/weights-files")
}

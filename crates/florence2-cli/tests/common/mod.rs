//! The command as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the command, without a way to the network.
pub(crate) fn florence2(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_florence2"))
        .args(arguments)
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .env("HF_HOME", "/nonexistent")
        .env_remove("HF_HUB_CACHE")
        .output()
        .unwrap()
}

pub(crate) fn demo_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model")
}

pub(crate) fn scene() -> PathBuf {
    demo_model().join("scenes/scene-1.png")
}

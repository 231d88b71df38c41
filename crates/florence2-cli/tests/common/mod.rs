//! Runs the command as a user does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs the command without access to the network.
pub(crate) fn florence2(arguments: &[&str]) -> Output {
    florence2_into(arguments, Stdio::piped())
}

/// Like [`florence2`], with standard output redirected to `output`.
pub(crate) fn florence2_into(arguments: &[&str], output: Stdio) -> Output {
    Command::new(env!("CARGO_BIN_EXE_florence2"))
        .args(arguments)
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .env("HF_HOME", "/nonexistent")
        .env_remove("HF_HUB_CACHE")
        .env_remove("HUGGINGFACE_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("TRANSFORMERS_OFFLINE")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap()
}

pub(crate) fn demo_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model")
}

pub(crate) fn scene() -> PathBuf {
    demo_model().join("scenes/scene-1.png")
}

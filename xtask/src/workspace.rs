//! The workspace's folders, and the reading, writing and starting of programs in it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A task's error message, on one line.
pub(crate) type Failure = String;

/// Returns the workspace's folder.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    // INVARIANT: this crate is a folder of the workspace.
    xtask.parent().expect("a workspace around").to_owned()
}

/// Returns cargo's target directory. A relative path in `CARGO_TARGET_DIR` is relative to [`root`],
/// the folder in which `dist` and `header` start cargo.
pub(crate) fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR");
    root().join(named.unwrap_or_else(|| "target".into()))
}

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

pub(crate) fn write(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, contents).map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs a command in a folder and returns its standard output.
pub(crate) fn output(command: &mut Command, folder: &Path) -> Result<String, Failure> {
    let output = command
        .current_dir(folder)
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        String::from_utf8(output.stdout).map_err(|error| format!("{command:?}: {error}"))
    } else {
        let reason = String::from_utf8_lossy(&output.stderr);
        Err(format!("{command:?}: {}", reason.trim()))
    }
}

//! `cargo xtask`: the project's build tasks.

#[cfg(test)]
mod boundary;
mod dist;
mod header;
mod licences;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's build tasks.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Writes include/florence2.h and tests/c/florence2_test_hooks.h from the crate florence2-ffi.
    Header {
        /// Writes nothing, and fails if a committed header is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Builds libflorence2 and installs it for C toolchains: lib/, include/, pkg-config and CMake.
    Dist {
        /// The output folder; by default, dist/ in cargo's target directory.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Features of the crate florence2-ffi, such as demo.
        #[arg(long, value_delimiter = ',')]
        features: Vec<String>,
    },
}

/// A task's error message, on one line.
type Failure = String;

fn main() -> ExitCode {
    let done = match Xtask::parse().task {
        Task::Header { check: true } => header::check(),
        Task::Header { check: false } => header::write(),
        Task::Dist { out, features } => {
            dist::dist(&out.unwrap_or_else(|| target().join("dist")), &features)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the workspace's folder.
fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    // INVARIANT: this crate is a folder of the workspace.
    xtask.parent().expect("a workspace around").to_owned()
}

/// Returns cargo's target directory. A relative path in `CARGO_TARGET_DIR` is relative to [`root`],
/// the folder in which `dist` and `header` start cargo.
fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR");
    root().join(named.unwrap_or_else(|| "target".into()))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, contents).map_err(|error| format!("{}: {error}", path.display()))
}

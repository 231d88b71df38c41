//! `cargo xtask`: the project's build tasks.

#[cfg(test)]
mod boundary;
mod build;
mod cycles;
mod dist;
mod files;
mod header;
mod licences;
mod options;
mod package;
mod portable;
mod python_api;
mod target;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use target::Target;
use workspace::{Failure, root, target};

/// The project's build tasks.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Writes include/florence2.h, tests/c/florence2_test_hooks.h and the declarations of the Python
    /// binding from the crate florence2-ffi.
    Header {
        /// Writes nothing, and fails if a committed file is out of date.
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
        /// The platform, such as x86_64-pc-windows-gnu; by default, this one. A build for another
        /// platform runs in the root of packaging/toolchain.sh.
        #[arg(long)]
        target: Option<String>,
    },
    /// Builds everything that a release publishes: archives of the C library and the command, Debian
    /// packages, wheels, the source, the SBOM and checksums.
    Package {
        /// A platform, which may be given several times; by default, all.
        #[arg(long = "target")]
        targets: Vec<String>,
        /// The output folder; by default, packages/ in cargo's target directory.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Writes every list of generation options, and the header, from
    /// crates/florence2-core/generation_options.toml.
    Options {
        /// Writes nothing, and fails if a list is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Fails if a crate has an import cycle between its files, and prints the names that form it.
    Cycles {
        /// The folder of the workspace to check; by default, this one.
        #[arg(long)]
        root: Option<PathBuf>,
    },
}

fn distribute(
    out: Option<PathBuf>,
    features: &[String],
    triple: Option<&str>,
) -> Result<(), Failure> {
    let target = match triple {
        Some(triple) => Target::named(triple)?,
        None => Target::host(),
    };
    dist::dist(
        &target,
        &out.unwrap_or_else(|| workspace::target().join("dist")),
        features,
    )
}

fn main() -> ExitCode {
    let done = match Xtask::parse().task {
        Task::Header { check: true } => header::check(),
        Task::Header { check: false } => header::write(),
        Task::Dist {
            out,
            features,
            target: triple,
        } => distribute(out, &features, triple.as_deref()),
        Task::Package { targets, out } => {
            package::package(&targets, &out.unwrap_or_else(|| target().join("packages")))
        }
        Task::Options { check: true } => options::check(&root()),
        Task::Options { check: false } => options::write(&root()).and_then(|()| header::write()),
        Task::Cycles { root: folder } => cycles::check(&folder.unwrap_or_else(root)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

//! The platforms that libflorence2 is built for: names of files, and how programs for each are started.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::{Failure, root, target};

/// The operating systems whose files differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    Linux,
    MacOs,
    Windows,
}

/// A platform. `triple` is `None` for a native build of the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) triple: Option<&'static str>,
    pub(crate) system: System,
    /// Tools of another platform run in the root of `packaging/toolchain.sh`.
    cross: bool,
    /// The prefix of the names of binutils' programs.
    tools: &'static str,
    /// The linker that rustc starts by default.
    pub(crate) linker: &'static str,
}

/// The platforms that packages are made for.
const TARGETS: [Target; 3] = [
    Target {
        triple: Some("x86_64-unknown-linux-gnu"),
        system: System::Linux,
        cross: !cfg!(all(target_os = "linux", target_arch = "x86_64")),
        tools: "",
        linker: "cc",
    },
    Target {
        triple: Some("aarch64-unknown-linux-gnu"),
        system: System::Linux,
        cross: true,
        tools: "aarch64-linux-gnu-",
        linker: "aarch64-linux-gnu-gcc",
    },
    Target {
        triple: Some("x86_64-pc-windows-gnu"),
        system: System::Windows,
        cross: true,
        tools: "x86_64-w64-mingw32-",
        linker: "x86_64-w64-mingw32-gcc",
    },
];

impl Target {
    /// A native build of the host.
    pub(crate) fn host() -> Self {
        let system = if cfg!(target_os = "macos") {
            System::MacOs
        } else if cfg!(windows) {
            System::Windows
        } else {
            System::Linux
        };
        Self {
            triple: None,
            system,
            cross: false,
            tools: "",
            linker: "cc",
        }
    }

    /// All platforms that packages are made for.
    pub(crate) fn all() -> Vec<Self> {
        TARGETS.to_vec()
    }

    pub(crate) fn named(triple: &str) -> Result<Self, Failure> {
        let found = TARGETS.iter().find(|target| target.triple == Some(triple));
        found.copied().ok_or_else(|| {
            let known: Vec<&str> = TARGETS.iter().filter_map(|target| target.triple).collect();
            format!(
                "--target: found `{triple}`, expected one of {}",
                known.join(", ")
            )
        })
    }

    /// The target folder of cargo. Builds for other platforms have their own, because the root of
    /// `packaging/toolchain.sh` has another rustc.
    pub(crate) fn cargo_target(&self) -> PathBuf {
        if self.cross {
            target().join("cross")
        } else {
            target()
        }
    }

    /// The folder in which cargo places the products.
    pub(crate) fn release(&self) -> PathBuf {
        match (self.cross, self.triple) {
            (true, Some(triple)) => self.cargo_target().join(triple).join("release"),
            _ => self.cargo_target().join("release"),
        }
    }

    /// A folder for files that a task derives from the products.
    pub(crate) fn work(&self, task: &str) -> PathBuf {
        target().join(task).join(self.triple.unwrap_or("host"))
    }

    /// `--target` of cargo, for builds for another platform.
    pub(crate) fn cargo_arguments(&self) -> Vec<&'static str> {
        match (self.cross, self.triple) {
            (true, Some(triple)) => vec!["--target", triple],
            _ => Vec::new(),
        }
    }

    /// Returns a command that runs in the workspace's folder: on the host, or in the root of
    /// `packaging/toolchain.sh` for another platform.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        if !self.cross {
            let mut command = Command::new(program);
            without_package(&mut command).current_dir(root());
            return command;
        }
        let mut command = Command::new(root().join("packaging/toolchain.sh"));
        without_package(&mut command);
        command.env("SEEN", target());
        command.arg(root()).arg("env");
        let folder = self.cargo_target();
        command.arg(format!("CARGO_TARGET_DIR={}", folder.display()));
        command.arg(program);
        command
    }

    /// One of binutils' programs, which write the time to libraries for Windows.
    pub(crate) fn tool(&self, name: &str) -> Command {
        // Native tools have no prefix.
        let mut command = self.command(format!("{}{name}", self.tools));
        command.env("SOURCE_DATE_EPOCH", "0");
        command
    }

    /// cargo, as it is started for this platform.
    pub(crate) fn cargo(&self) -> Command {
        self.command(self.cargo_program())
    }

    pub(crate) fn cargo_program(&self) -> &'static str {
        if self.cross { "cargo" } else { env!("CARGO") }
    }

    /// The name of the shared library that cargo builds.
    pub(crate) fn shared_library(&self) -> &'static str {
        match self.system {
            System::Linux => "libflorence2.so",
            System::MacOs => "libflorence2.dylib",
            System::Windows => "florence2.dll",
        }
    }

    /// The name of the command.
    pub(crate) fn program(&self) -> &'static str {
        match self.system {
            System::Windows => "florence2.exe",
            _ => "florence2",
        }
    }
}

/// Removes the variables that `cargo run` sets for xtask. Build scripts of dependencies read them, so
/// that cargo would run these scripts again.
fn without_package(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn an_unknown_triple_is_an_error_that_lists_the_known_ones() {
        let refused = Target::named("sparc64-unknown-linux-gnu").unwrap_err();
        assert_eq!(
            refused,
            "--target: found `sparc64-unknown-linux-gnu`, expected one of x86_64-unknown-linux-gnu, \
             aarch64-unknown-linux-gnu, x86_64-pc-windows-gnu"
        );
    }
}

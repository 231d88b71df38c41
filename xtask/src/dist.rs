//! The distribution for C toolchains: `lib/`, `include/`, and the files of pkg-config and CMake.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::licences::third_party;
use crate::workspace::{Failure, read, root, target, write};

const PKG_CONFIG: &str = include_str!("florence2.pc");
const PKG_CONFIG_STATIC: &str = include_str!("florence2-static.pc");
const CMAKE_CONFIG: &str = include_str!("florence2Config.cmake");
const CMAKE_VERSION: &str = include_str!("florence2ConfigVersion.cmake");

/// Builds the library with these features and copies its files to `folder`.
pub(crate) fn dist(folder: &Path, features: &[String]) -> Result<(), Failure> {
    build(features)?;
    let release = target().join("release");
    let lib = folder.join("lib");
    make_folder(&lib.join("pkgconfig"))?;
    make_folder(&lib.join("cmake/florence2"))?;

    let archive = lib.join("libflorence2.a");
    copy(&release.join("libflorence2.a"), &archive)?;
    run(Command::new("strip").arg("--strip-debug").arg(&archive))?;
    if cfg!(target_os = "linux") {
        localise_symbols(&archive)?;
    }
    let shared = lay_out_shared(&release, &lib)?;

    let include = folder.join("include");
    make_folder(&include)?;
    for header in ["include/florence2.h", "bindings/cpp/florence2.hpp"] {
        copy_into(&root().join(header), &include)?;
    }
    for (template, path) in [
        (PKG_CONFIG, "pkgconfig/florence2.pc"),
        (PKG_CONFIG_STATIC, "pkgconfig/florence2-static.pc"),
        (CMAKE_CONFIG, "cmake/florence2/florence2Config.cmake"),
        (
            CMAKE_VERSION,
            "cmake/florence2/florence2ConfigVersion.cmake",
        ),
    ] {
        let text = template
            .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
            .replace("@SHARED@", &shared)
            .replace("@POINTER_BYTES@", &size_of::<usize>().to_string());
        write(&lib.join(path), text.as_bytes())?;
    }
    let licences = folder.join("share/licenses/florence2");
    make_folder(&licences)?;
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        copy_into(&root().join(licence), &licences)?;
    }
    let third_party = third_party(features)?;
    write(&licences.join("THIRD-PARTY.txt"), third_party.as_bytes())
}

/// Turns the static library into one object that exports only the C API, so that a program can link
/// it beside another Rust library or another mimalloc.
fn localise_symbols(archive: &Path) -> Result<(), Failure> {
    let object = archive.with_file_name("libflorence2.o");
    let symbols = read(&root().join("tests/c/symbols.txt"))?;
    let mut link = Command::new("ld");
    // A linker would merge COMDAT groups with groups of the same names in other objects.
    link.args(["--relocatable", "--force-group-allocation"]);
    link.args(symbols.lines().map(|name| format!("--undefined={name}")));
    run(link.arg(archive).arg("--output").arg(&object))?;
    let mut localise = Command::new("objcopy");
    localise.args(["--wildcard", "--keep-global-symbol=florence2_*"]);
    // The link concatenates the standard library's bitcode. An `ar` with LLVM's plugin reads these
    // sections and aborts.
    localise.args(["--remove-section=.llvmbc", "--remove-section=.llvmcmd"]);
    run(localise.arg("--strip-unneeded").arg(&object))?;
    remove(archive)?;
    run(Command::new("ar").arg("crs").arg(archive).arg(&object))?;
    remove(&object)
}

fn remove(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn build(features: &[String]) -> Result<(), Failure> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--package", "florence2-ffi"]);
    // Shares the dependencies with the builds of the command and the tests.
    cargo.args(["--package", "workspace-hack"]);
    if !features.is_empty() {
        cargo.args(["--features", &features.join(",")]);
    }
    run(cargo.current_dir(root()))
}

/// Copies the stripped shared library under its SONAME, and links the name that linkers use to it.
/// Returns the file's name.
fn lay_out_shared(release: &Path, lib: &Path) -> Result<String, Failure> {
    let plain = format!("{DLL_PREFIX}florence2{DLL_SUFFIX}");
    let abi = abi_version()?;
    let versioned = match std::env::consts::OS {
        "macos" => format!("libflorence2.{abi}.dylib"),
        "windows" => plain.clone(),
        _ => format!("libflorence2.so.{abi}"),
    };
    let shared = lib.join(&versioned);
    copy(&release.join(&plain), &shared)?;
    // The strip of macOS has no long options.
    let symbols = if cfg!(target_os = "macos") {
        "-x"
    } else {
        "--strip-unneeded"
    };
    run(Command::new("strip").arg(symbols).arg(&shared))?;
    #[cfg(unix)]
    if plain != versioned {
        let link = lib.join(&plain);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&versioned, &link)
            .map_err(|error| format!("{}: {error}", link.display()))?;
    }
    Ok(versioned)
}

/// The value of `FLORENCE2_ABI_VERSION` in the header.
fn abi_version() -> Result<String, Failure> {
    let header = read(&root().join("include/florence2.h"))?;
    header
        .lines()
        .find_map(|line| line.strip_prefix("#define FLORENCE2_ABI_VERSION "))
        .map(ToOwned::to_owned)
        .ok_or_else(|| {
            "include/florence2.h: expected a line `#define FLORENCE2_ABI_VERSION`".to_owned()
        })
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to)
        .map(drop)
        .map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

fn copy_into(file: &Path, folder: &Path) -> Result<(), Failure> {
    // INVARIANT: every path that is copied ends with a file's name.
    copy(file, &folder.join(file.file_name().expect("a file's name")))
}

fn run(command: &mut Command) -> Result<(), Failure> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

//! Debian packages of the shared library, of its development files and of the command, by `dpkg-deb`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::archive::mode;
use super::platform::{Debian, Files, VERSION};
use crate::dist::{Layout, abi_version, lay_out};
use crate::files::{copy_into, empty_folder, entries, make_folder, rename, run};
use crate::workspace::{Failure, read, root, write as write_file};

/// Writes the three packages of an architecture.
pub(super) fn write(files: &Files, debian: &Debian, epoch: u64, out: &Path) -> Result<(), Failure> {
    let abi = abi_version()?;
    let folder = files.target.work("debian");
    empty_folder(&folder)?;
    let layout = Layout {
        libraries: format!("lib/{}", debian.multiarch),
        prefix: Some("/usr".to_owned()),
    };
    let development = folder.join("libflorence2-dev");
    let library = folder.join(format!("libflorence2-{abi}"));
    let command = folder.join("florence2");
    lay_out(
        &files.target,
        &files.parts,
        &layout,
        &development.join("usr"),
    )?;
    let shared = format!("usr/{}/libflorence2.so.{abi}", layout.libraries);
    make_folder(&library.join("usr").join(&layout.libraries))?;
    rename(&development.join(&shared), &library.join(&shared))?;
    copy_into(&files.program, &command.join("usr/bin"))?;
    control_files(&library, &abi)?;
    for package in [development, library, command] {
        pack(&package, files, debian, epoch, out)?;
    }
    Ok(())
}

/// Writes the lists by which other packages depend on the library, and by which dpkg updates the
/// linker's cache.
fn control_files(library: &Path, abi: &str) -> Result<(), Failure> {
    let control = library.join("DEBIAN");
    make_folder(&control)?;
    let version = debian_version();
    let dependency = format!("libflorence2 {abi} libflorence2-{abi} (>= {version})\n");
    write_file(&control.join("shlibs"), dependency.as_bytes())?;
    write_file(&control.join("triggers"), b"activate-noawait ldconfig\n")
}

/// Packs a folder. Its name is the package's.
fn pack(
    folder: &Path,
    files: &Files,
    debian: &Debian,
    epoch: u64,
    out: &Path,
) -> Result<(), Failure> {
    // INVARIANT: callers pass folders with names.
    let package = folder.file_name().expect("a folder's name");
    let package = package.to_string_lossy();
    let documents = folder.join("usr/share/doc").join(&*package);
    make_folder(&documents)?;
    let copyright = fill("copyright", debian, 0)?;
    write_file(&documents.join("copyright"), copyright.as_bytes())?;
    write_file(
        &documents.join("THIRD-PARTY.txt"),
        files.third_party.as_bytes(),
    )?;
    set_mode(folder, 0o755)?;
    let size = set_modes(&folder.join("usr"))?;
    let control = fill(&format!("{package}.control"), debian, size)?;
    copy_control(folder, &control)?;
    let name = format!("{package}_{VERSION}_{}.deb", debian.architecture);
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--build", "--root-owner-group", "-Zxz", "--threads-max=1"]);
    dpkg.env("SOURCE_DATE_EPOCH", epoch.to_string());
    run(dpkg
        .arg(folder)
        .arg(out.join(name))
        .stdout(std::process::Stdio::null()))
}

fn copy_control(folder: &Path, control: &str) -> Result<(), Failure> {
    let path = folder.join("DEBIAN");
    make_folder(&path)?;
    write_file(&path.join("control"), control.as_bytes())?;
    set_modes(&path).map(drop)
}

/// The version as Debian orders it: a pre-release precedes the release.
fn debian_version() -> String {
    VERSION.replace('-', "~")
}

/// Fills a template of `packaging/debian`.
fn fill(name: &str, debian: &Debian, bytes: u64) -> Result<String, Failure> {
    // The template's name contains the ABI's version, as the package's does.
    let template = read(&root().join("packaging/debian").join(name))?;
    let indented = |text: String| {
        let lines = text.lines().map(|line| {
            if line.trim().is_empty() {
                " .".to_owned()
            } else {
                format!(" {line}")
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    Ok(template
        .replace("@ABI@", &abi_version()?)
        .replace("@VERSION@", &debian_version())
        .replace("@ARCHITECTURE@", debian.architecture)
        .replace("@MAINTAINER@", env!("CARGO_PKG_AUTHORS"))
        .replace("@REPOSITORY@", env!("CARGO_PKG_REPOSITORY"))
        .replace("@INSTALLED_SIZE@", &bytes.div_ceil(1024).to_string())
        .replace(
            "@LICENSE_MIT@",
            &indented(read(&root().join("LICENSE-MIT"))?),
        ))
}

/// Sets the permissions of all files and folders, and returns the sum of the files' sizes.
pub(super) fn set_modes(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    set_mode(folder, 0o755)?;
    for path in entries(folder)? {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            bytes += set_modes(&path)?;
            continue;
        }
        set_mode(&path, deb_mode(&path))?;
        let metadata = fs::metadata(&path);
        bytes += metadata
            .map_err(|error| format!("{}: {error}", path.display()))?
            .len();
    }
    Ok(bytes)
}

/// Debian's shared libraries are not executable.
fn deb_mode(path: &Path) -> u32 {
    let name = path.to_string_lossy();
    if name.contains(".so.") {
        0o644
    } else {
        mode(&name)
    }
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> Result<(), Failure> {
    Err("Debian packages can be made on Unix only".to_owned())
}

//! Copies, links and folders, and the starting of programs, with errors that name the path or the command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::Failure;

/// Variables that make pip print errors only.
pub(crate) const PIP_ENVIRONMENT: [(&str, &str); 2] = [
    ("PIP_ROOT_USER_ACTION", "ignore"),
    ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
];

pub(crate) fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Creates a folder, without the files that it contained before.
pub(crate) fn empty_folder(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    make_folder(path)
}

pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::rename(from, to).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to)
        .map(drop)
        .map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

/// Copies a file under its name. Creates the folder.
pub(crate) fn copy_into(file: &Path, folder: &Path) -> Result<(), Failure> {
    make_folder(folder)?;
    // INVARIANT: every path that is copied ends with a file's name.
    copy(file, &folder.join(file.file_name().expect("a file's name")))
}

/// Copies the files of a folder, which contains no folders.
pub(crate) fn copy_files(from: &Path, to: &Path) -> Result<(), Failure> {
    for file in entries(from)? {
        copy_into(&file, to)?;
    }
    Ok(())
}

/// The paths in a folder, sorted.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failure = |error| format!("{}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failure)? {
        paths.push(entry.map_err(failure)?.path());
    }
    paths.sort();
    Ok(paths)
}

pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Creates or replaces a symbolic link, where the system has them.
#[cfg(unix)]
pub(crate) fn link(original: &str, link: &Path) -> Result<(), Failure> {
    let _ = fs::remove_file(link);
    std::os::unix::fs::symlink(original, link)
        .map_err(|error| format!("{}: {error}", link.display()))
}

#[cfg(not(unix))]
pub(crate) fn link(original: &str, link: &Path) -> Result<(), Failure> {
    copy(&link.with_file_name(original), link)
}

pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

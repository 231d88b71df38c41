//! The wheel of a platform, by the build of bindings/python.

use std::path::Path;
use std::process::Command;

use super::deb::set_modes;
use super::platform::Files;
use crate::dist::write_licences;
use crate::files::{PIP_ENVIRONMENT, copy_into, empty_folder, entries, run};
use crate::workspace::{Failure, read, root, write as write_file};

/// The files of the build, apart from the modules.
const PROJECT: [&str; 2] = ["README.md", "setup.py"];

/// The line of `pyproject.toml` after which the licence files are listed. Only wheels that are
/// published contain them.
const LICENCE: &str = "license = \"MIT OR Apache-2.0\"\n";
const LICENCE_FILES: &str = "license-files = [\"LICENSE-*\", \"THIRD-PARTY.txt\"]\n";

/// The build's requirement in `pyproject.toml`, and its one version for published wheels, which state it.
const SETUPTOOLS: &str = "\"setuptools>=77\"";
const PINNED_SETUPTOOLS: &str = "\"setuptools==80.9.0\"";

/// Builds the wheel from a folder that contains the files of the package only.
pub(super) fn write(files: &Files, platform: &str, epoch: u64, out: &Path) -> Result<(), Failure> {
    let folder = files.target.work("wheel");
    source(files, &folder)?;
    // The wheel contains the permissions of the files, also of those that setuptools writes.
    set_modes(&folder)?;
    let mut pip = Command::new("sh");
    pip.args(["-c", "umask 022; exec \"$@\"", "sh"]);
    pip.args(["python3", "-m", "pip", "wheel", "--quiet", "--no-deps"]);
    pip.envs(PIP_ENVIRONMENT);
    pip.arg("--wheel-dir").arg(out).arg(&folder);
    pip.env("FLORENCE2_WHEEL_PLATFORM", platform);
    pip.env("SOURCE_DATE_EPOCH", epoch.to_string());
    run(&mut pip)
}

/// Copies the sources of the wheel to a folder.
fn source(files: &Files, folder: &Path) -> Result<(), Failure> {
    empty_folder(folder)?;
    let python = root().join("bindings/python");
    for file in PROJECT {
        copy_into(&python.join(file), folder)?;
    }
    let project = read(&python.join("pyproject.toml"))?;
    if !project.contains(LICENCE) {
        return Err(format!(
            "bindings/python/pyproject.toml: expected the line `{}`",
            LICENCE.trim()
        ));
    }
    if !project.contains(SETUPTOOLS) {
        return Err(format!(
            "bindings/python/pyproject.toml: expected the requirement {SETUPTOOLS}"
        ));
    }
    let project = project.replacen(LICENCE, &format!("{LICENCE}{LICENCE_FILES}"), 1);
    let project = project.replacen(SETUPTOOLS, PINNED_SETUPTOOLS, 1);
    write_file(&folder.join("pyproject.toml"), project.as_bytes())?;
    let package = folder.join("src/florence2");
    for path in entries(&python.join("src/florence2"))? {
        if path.extension().is_some_and(|extension| extension == "py") || path.ends_with("py.typed")
        {
            copy_into(&path, &package)?;
        }
    }
    let library = files.target.shared_library();
    copy_into(&files.parts.join(library), &package)?;
    write_licences(folder, &files.third_party)
}

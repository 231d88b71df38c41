//! The wheel of a platform, by the build of bindings/python.

use std::path::Path;
use std::process::Command;

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

/// Builds the wheel from a folder that contains the files of the package only.
pub(super) fn write(files: &Files, platform: &str, epoch: u64, out: &Path) -> Result<(), Failure> {
    let folder = files.target.work("wheel");
    source(files, &folder)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "wheel", "--quiet", "--no-deps"]);
    pip.envs(PIP_ENVIRONMENT);
    pip.arg("--wheel-dir").arg(out).arg(&folder);
    pip.env("FLORENCE2_WHEEL_PLATFORM", platform);
    pip.env("SOURCE_DATE_EPOCH", epoch.to_string());
    run(&mut pip)
}

/// Copies what the wheel is built from.
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
    let project = project.replacen(LICENCE, &format!("{LICENCE}{LICENCE_FILES}"), 1);
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

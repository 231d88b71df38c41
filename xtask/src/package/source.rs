//! The archive of the source.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::archive::create_gzip;
use super::platform::VERSION;
use crate::workspace::{Failure, root};

/// The name of the archive.
pub(super) fn name() -> String {
    format!("florence2-{VERSION}.src.tar.gz")
}

/// Writes the files of the last commit, with its time.
pub(super) fn write(out: &Path) -> Result<(), Failure> {
    let path = out.join(name());
    let mut git = Command::new("git");
    // Without it, the user's configuration determines the permissions.
    git.args(["-c", "tar.umask=0022", "archive", "--format=tar"]);
    git.arg(format!("--prefix=florence2-{VERSION}/"))
        .arg("HEAD");
    let archive = git
        .current_dir(root())
        .output()
        .map_err(|error| format!("{git:?}: {error}"))?;
    if !archive.status.success() {
        let reason = String::from_utf8_lossy(&archive.stderr);
        return Err(format!("{git:?}: {}", reason.trim()));
    }
    let mut gzip = create_gzip(&path)?;
    gzip.write_all(&archive.stdout)
        .and_then(|()| gzip.finish().map(drop))
        .map_err(|error| format!("{}: {error}", path.display()))
}

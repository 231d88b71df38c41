//! Files that are either written completely or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Replaces a file, durably: after a crash, it has either the old or the new contents.
pub(crate) fn write_atomic(path: &Path, contents: &[u8]) -> io::Result<()> {
    florence2_checkpoint::write_atomic(path, contents).map_err(|error| match error {
        florence2_checkpoint::Error::Write { source, .. } => source,
        other => io::Error::other(other),
    })?;
    sync_parent(path)
}

/// Writes a file and waits until it is on the disk. A full disk may be reported only then.
pub(crate) fn write_synced(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// Waits until the names of the folder that contains `path` are on the disk.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Waits until the names of a folder are on the disk, on systems and file systems that support it.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match File::open(folder)?.sync_all() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

//! Files that are replaced as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// A file that is written under a temporary name in the folder of its path. [`Self::finish`] renames
/// it. If it is dropped before, the temporary file is removed. Until the rename, an earlier file of
/// the path is unchanged, whether an error occurs, the disk is full or the process is killed.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    path: PathBuf,
    partial: PathBuf,
    /// `None` after [`Self::finish`].
    file: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Creates the temporary file.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}-{count}.tmp", std::process::id()));
        let file = File::create(&partial).map_err(|source| write_error(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            partial: partial.into(),
            file: Some(BufWriter::new(file)),
        })
    }

    /// Moves the position of the next write. Positions that are never written are zeros.
    pub(crate) fn seek(&mut self, position: u64) -> Result<()> {
        self.run(|file| file.seek(SeekFrom::Start(position)).map(drop))
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.run(|file| file.write_all(bytes))
    }

    /// Writes everything to the disk, then gives the file its name.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.run(|file| {
            file.flush()?;
            // Without it, some file systems store the new name before the contents.
            file.get_ref().sync_all()
        })?;
        // Windows does not rename an open file.
        let file = self.file.take();
        drop(file);
        fs::rename(&self.partial, &self.path).map_err(|source| {
            let error = write_error(&self.path, source);
            remove(&self.partial);
            error
        })
    }

    /// The error for the path of the file.
    pub(crate) fn malformed(&self, reason: impl std::fmt::Display) -> Error {
        Error::malformed(self.path.display().to_string(), reason)
    }

    fn run(
        &mut self,
        operation: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<()> {
        // INVARIANT: only `finish`, which consumes this value, takes the file.
        let file = self.file.as_mut().expect("an unfinished file");
        operation(file).map_err(|source| write_error(&self.path, source))
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else {
            return;
        };
        // The buffered bytes of an unfinished file are not written.
        drop(file.into_parts());
        remove(&self.partial);
    }
}

/// Removes a temporary file. The error that made it useless is the one to report.
fn remove(partial: &Path) {
    let _ = fs::remove_file(partial);
}

fn write_error(path: &Path, source: io::Error) -> Error {
    Error::Write {
        path: path.to_owned(),
        source,
    }
}

/// Writes a file as a whole or not at all: under a temporary name in the same folder, flushed to the
/// disk, then renamed. An earlier file of the path is unchanged unless the call succeeds.
///
/// # Errors
/// [`Error::Write`] with the path, for example if the folder does not exist or the disk is full.
pub fn write_atomic(path: &Path, contents: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(contents)?;
    file.finish()
}

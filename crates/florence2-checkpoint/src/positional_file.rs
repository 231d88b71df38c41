//! Reads at any position of a file, by any number of threads at once.

use std::io;
use std::path::Path;

/// A file that is read by position.
#[cfg(any(unix, windows))]
pub(crate) struct PositionalFile(std::fs::File);

#[cfg(any(unix, windows))]
impl PositionalFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        std::fs::File::open(path).map(Self)
    }

    /// Fills `bytes` from the position `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before, and the errors of the system.
    #[cfg(unix)]
    pub(crate) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, bytes, offset)
    }

    /// Fills `bytes` from the position `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before, and the errors of the system.
    #[cfg(windows)]
    pub(crate) fn read_exact_at(&self, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.0, bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    bytes = &mut bytes[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A file that is read by position. The system has no positional reads, so every read opens the
/// file anew.
#[cfg(not(any(unix, windows)))]
pub(crate) struct PositionalFile(std::path::PathBuf);

#[cfg(not(any(unix, windows)))]
impl PositionalFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        std::fs::File::open(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Fills `bytes` from the position `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before, and the errors of the system.
    pub(crate) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = std::fs::File::open(&self.0)?;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(bytes)
    }
}

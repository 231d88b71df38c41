//! The folders of one repository in the cache, in the layout of huggingface_hub:
//! `models--ORG--NAME/{blobs,refs,snapshots,.no_exist}` and `.locks/models--ORG--NAME`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::checksum::is_commit;
use super::contents::Snapshot;

/// Time between two attempts to lock a file.
pub(super) const LOCK_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two warnings about a lock that another process holds.
const LOCK_WARNING: Duration = Duration::from_secs(10);

/// One repository in the cache.
pub(super) struct Repository {
    folder: PathBuf,
    locks: PathBuf,
}

impl Repository {
    pub(super) fn new(cache: &Path, id: &str) -> Self {
        let name = format!("models--{}", id.replace('/', "--"));
        Self {
            locks: cache.join(".locks").join(&name),
            folder: cache.join(name),
        }
    }

    /// The commit of a revision: the revision itself, or its entry in `refs`.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        let commit = commit.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    pub(super) fn snapshot(&self, commit: &str) -> Snapshot {
        Snapshot {
            folder: self.folder.join("snapshots").join(commit),
            absent: self.folder.join(".no_exist").join(commit),
        }
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Locks a blob against other processes and threads until the file is dropped. The lock is
    /// huggingface_hub's. `waiting` is called while another process holds it. `None` if the file
    /// system has no locks.
    pub(super) fn lock(&self, etag: &str, waiting: &mut dyn FnMut()) -> io::Result<Option<File>> {
        let path = self.locks.join(format!("{etag}.lock"));
        create_parent(&path)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o664);
        let file = options.open(&path)?;
        let mut warned = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    log::warn!("{}: the file system does not support locks", path.display());
                    return Ok(None);
                }
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => {}
            }
            if warned.elapsed() >= LOCK_WARNING {
                log::warn!(
                    "{}: waiting for the lock of another process",
                    path.display()
                );
                warned = Instant::now();
            }
            waiting();
            std::thread::sleep(LOCK_INTERVAL);
        }
    }

    /// Records the commit of a revision in `refs`.
    pub(super) fn write_ref(&self, revision: &str, commit: &str) -> io::Result<()> {
        if self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        write_atomic(&path, |file| file.write_all(commit.as_bytes()))
    }
}

/// Adds a blob to a snapshot as huggingface_hub does: as a symbolic link, otherwise as the file
/// itself if it is new, otherwise as a copy.
pub(super) fn link(blob: &Path, name: &Path, symlinks: bool, is_new: bool) -> io::Result<()> {
    create_parent(name)?;
    remove_if_present(name)?;
    if symlinks {
        match link_to_blob(blob, name) {
            Ok(()) => return Ok(()),
            Err(error) => log::debug!("{}: no symbolic link: {error}", name.display()),
        }
    }
    if is_new {
        return fs::rename(blob, name);
    }
    write_atomic(name, |file| {
        io::copy(&mut File::open(blob)?, file).map(drop)
    })
}

/// Creates the symbolic link `name`, and checks that it leads to the blob. Windows can be configured
/// not to follow links on network drives, and on some file systems a link cannot be created although
/// no error is returned.
fn link_to_blob(blob: &Path, name: &Path) -> io::Result<()> {
    // Windows does not follow a link whose path contains `/`.
    let blobs: PathBuf = ["..", "..", "blobs"].iter().collect();
    match symlink(&blobs.join(blob.file_name().unwrap_or_default()), name) {
        // Another process created the same link.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => created?,
    }
    name.metadata().map(drop).inspect_err(|_| {
        // The first error is the one to report.
        let _ = remove_if_present(name);
    })
}

#[cfg(unix)]
fn symlink(target: &Path, name: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, name)
}

#[cfg(windows)]
fn symlink(target: &Path, name: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, name)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_target: &Path, _name: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn remove_if_present(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn create_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Writes a file under a temporary name and renames it, so that readers never find a part of it.
fn write_atomic(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    create_parent(path)?;
    let unique = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}-{}.tmp", unique.0, unique.1));
    let written = File::create(&partial).and_then(|mut file| write(&mut file));
    let renamed = written.and_then(|()| fs::rename(&partial, path));
    if renamed.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&partial);
    }
    renamed
}

//! The download of one file: it is locked, resumed, verified, and linked into the snapshot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use super::cache::{LOCK_INTERVAL, Repository, create_parent, link, remove_if_present};
use super::checksum::{is_etag, is_intact};
use super::client::{Client, Failure, RepositoryFile, Retries};
use super::settings::Hub;

/// Bytes per request, so that the time limit of a response bounds the speed and not the size.
const PART_SIZE: u64 = 64 << 20;
const BUFFER_SIZE: usize = 1 << 18;

/// Progress of one file's download.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct DownloadProgress<'a> {
    /// The file's name.
    pub file: &'a str,
    /// The number of bytes in the cache.
    pub received: u64,
    /// The size of the whole file in bytes.
    pub size: u64,
    /// The time that this call has waited for another process that downloads the file. `None` if
    /// there is no such process.
    pub waited: Option<Duration>,
}

/// Downloads files of one commit into the cache.
pub(super) struct Downloader<'a> {
    pub(super) hub: &'a Hub,
    pub(super) client: &'a Client<'a>,
    pub(super) repository: &'a Repository,
    pub(super) commit: &'a str,
    pub(super) snapshot: &'a Path,
}

impl Downloader<'_> {
    /// Completes a file of the snapshot. A file with the right content is kept; a file or blob with
    /// a wrong content is replaced.
    pub(super) fn fetch(
        &self,
        file: &RepositoryFile,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<(), String> {
        let etag = file.etag().filter(|etag| is_etag(etag));
        let etag = etag.ok_or(
            "found no checksum of the file in the hub's response, expected a SHA-256 or git hash",
        )?;
        let size = file
            .size
            .ok_or("found no size of the file in the hub's response, expected a number of bytes")?;
        let target = Target {
            name: &file.name,
            etag,
            size,
        };
        let name = self.snapshot.join(&file.name);
        let blob = self.repository.blob(etag);
        if target.is_intact(&name).map_err(|error| at(&name, &error))? {
            target.report(size, None, progress);
            return Ok(());
        }
        let incomplete = blob.with_extension("incomplete");
        let mut waited = Duration::ZERO;
        // Another process holds the lock and writes the file.
        let mut waiting = || {
            let received = incomplete.metadata().map_or(0, |file| file.len());
            waited += LOCK_INTERVAL;
            target.report(received.min(size), Some(waited), progress);
        };
        let lock = self.repository.lock(etag, &mut waiting);
        let _lock = lock.map_err(|error| format!("the cache could not be locked: {error}"))?;
        // While this process waited, another one may have completed the file. Without symbolic links,
        // the blob is no longer there.
        if target.is_intact(&name).map_err(|error| at(&name, &error))? {
            return Ok(());
        }
        let is_new = !target.is_intact(&blob).map_err(|error| at(&blob, &error))?;
        if is_new {
            self.download(&target, &blob, progress)?;
        }
        link(&blob, &name, self.hub.symlinks, is_new).map_err(|error| at(&name, &error))
    }

    /// Downloads a blob to a file beside its path, verifies it and renames it. A resumed file with
    /// a wrong checksum is downloaded once more.
    fn download(
        &self,
        target: &Target<'_>,
        blob: &Path,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<(), String> {
        let incomplete = blob.with_extension("incomplete");
        let failed = |error: io::Error| at(&incomplete, &error);
        create_parent(&incomplete).map_err(failed)?;
        loop {
            let mut output = Output::open(&incomplete, target.size).map_err(failed)?;
            let was_resumed = output.received > 0;
            self.receive(target, &mut output, progress)?;
            drop(output);
            if target.is_intact(&incomplete).map_err(failed)? {
                break;
            }
            // A wrong file must not be resumed.
            remove_if_present(&incomplete).map_err(failed)?;
            if !was_resumed {
                return Err(format!(
                    "found content with a wrong checksum, expected {}; the file was removed",
                    target.etag
                ));
            }
            log::warn!(
                "{}: found content with a wrong checksum, the download is restarted",
                target.name
            );
        }
        match fs::rename(&incomplete, blob) {
            // Without working locks, another process may have renamed the same file.
            Err(_) if target.is_intact(blob).unwrap_or(false) => Ok(()),
            renamed => renamed.map_err(|error| at(blob, &error)),
        }
    }

    fn receive(
        &self,
        target: &Target<'_>,
        output: &mut Output,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<(), String> {
        let url = self.client.file_url(self.commit, target.name);
        let mut retries = self.client.retries();
        loop {
            target.report(output.received, None, progress);
            if output.received >= target.size {
                return Ok(());
            }
            let part = self.part(&url, target, output, &mut retries, progress);
            if let Err(failure) = part {
                let waited = retries.wait(failure);
                waited.map_err(|last| self.client.message(last))?;
            }
        }
    }

    /// Downloads one part, and appends it to the bytes received before.
    fn part(
        &self,
        url: &str,
        target: &Target<'_>,
        output: &mut Output,
        retries: &mut Retries,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<(), Failure> {
        let from = output.received;
        let to = target.size.min(from + PART_SIZE) - 1;
        let is_whole = from == 0 && to + 1 == target.size;
        let range = (!is_whole).then_some((from, to));
        let mut response = self.client.get(url, range)?;
        let end = if response.status() == 206 {
            check_start(url, response.headers(), from)?;
            to + 1
        } else {
            // The server ignores ranges and sends the whole file.
            output.restart().map_err(|error| output.failed(&error))?;
            target.size
        };
        let mut buffer = vec![0; BUFFER_SIZE];
        let mut body = response.body_mut().as_reader();
        loop {
            let read = body.read(&mut buffer);
            let count = read.map_err(|error| Failure::of_transport(url, error.into()))?;
            if count == 0 {
                break;
            }
            if output.received + count as u64 > end {
                let expected = end - from;
                output.restart().map_err(|error| output.failed(&error))?;
                let reason = format!("{url}: found more bytes than the {expected} expected");
                return Err(Failure::Transient(reason, None));
            }
            let written = output.write(&buffer[..count]);
            written.map_err(|error| output.failed(&error))?;
            retries.reset();
            target.report(output.received, None, progress);
        }
        if output.received < end {
            let found = output.received;
            let reason = format!(
                "{url}: found the end of the response at byte {found}, expected it at byte {end}"
            );
            return Err(Failure::Transient(reason, None));
        }
        Ok(())
    }
}

/// Rejects a range that starts at another byte, which would be written to the wrong position.
fn check_start(url: &str, headers: &ureq::http::HeaderMap, from: u64) -> Result<(), Failure> {
    let range = headers
        .get("content-range")
        .and_then(|range| range.to_str().ok());
    let start = range.and_then(|range| {
        let (start, _) = range.strip_prefix("bytes ")?.split_once('-')?;
        start.parse::<u64>().ok()
    });
    match start {
        Some(start) if start != from => Err(Failure::Transient(
            format!("{url}: found a range from byte {start}, expected byte {from}"),
            None,
        )),
        _ => Ok(()),
    }
}

/// The file to download.
struct Target<'a> {
    name: &'a str,
    etag: &'a str,
    size: u64,
}

impl Target<'_> {
    fn is_intact(&self, path: &Path) -> io::Result<bool> {
        let size = path.metadata().map(|file| file.len());
        Ok(size.is_ok_and(|size| size == self.size) && is_intact(path, self.etag)?)
    }

    fn report(
        &self,
        received: u64,
        waited: Option<Duration>,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) {
        progress(DownloadProgress {
            file: self.name,
            received,
            size: self.size,
            waited,
        });
    }
}

/// The incomplete file. Bytes are written at their own positions, so that two processes on a file
/// system without locks write the same bytes to the same positions.
struct Output {
    path: std::path::PathBuf,
    file: File,
    received: u64,
}

impl Output {
    /// Opens the file of an interrupted download, or a new file.
    fn open(path: &Path, size: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        let received = file.metadata()?.len();
        let mut output = Self {
            path: path.to_owned(),
            file,
            received,
        };
        if received > size {
            output.restart()?;
        }
        Ok(output)
    }

    fn restart(&mut self) -> io::Result<()> {
        self.received = 0;
        self.file.set_len(0)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.received))?;
        self.file.write_all(bytes)?;
        self.received += bytes.len() as u64;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::Permanent(at(&self.path, error))
    }
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

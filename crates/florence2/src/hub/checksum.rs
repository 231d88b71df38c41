//! The hashes by which the hub names commits and contents, and the verification of files.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Returns true if a text is a full commit hash.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

/// Returns true if a text is the name of a blob: the SHA-256 of a large file, or git's SHA-1 of a
/// small one.
pub(super) fn is_etag(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns true if a file exists and its content has the checksum in an etag.
pub(super) fn is_intact(path: &Path, etag: &str) -> io::Result<bool> {
    let size = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        metadata => metadata?.len(),
    };
    let found = if etag.len() == 64 {
        digest(Sha256::new(), path)?
    } else {
        digest(Sha1::new_with_prefix(format!("blob {size}\0")), path)?
    };
    Ok(etag.eq_ignore_ascii_case(&found))
}

/// Returns true if every link of a snapshot leads to content with the checksum in its blob's name.
pub(super) fn is_snapshot_intact(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // A file without a link has no checksum in the cache.
        let Ok(blob) = fs::read_link(&path) else {
            continue;
        };
        let etag = blob.file_name().and_then(|name| name.to_str());
        if let Some(etag) = etag.filter(|etag| is_etag(etag))
            && !is_intact(&path, etag)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn digest(mut hasher: impl Digest, path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let mut hex = String::new();
    for byte in hasher.finalize() {
        // INVARIANT: writing to a string cannot fail.
        write!(hex, "{byte:02x}").expect("a string is writable");
    }
    Ok(hex)
}

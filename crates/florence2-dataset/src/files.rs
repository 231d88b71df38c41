//! Files and folders of a data set.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::error::{Error, Result};
use crate::report::{Finding, FindingKind, Source};

/// Suffixes of the image formats that are decoded.
const IMAGE_EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"];

/// Reads a file that the data set depends on, without a byte order mark.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::Malformed`] if it is no regular file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() {
            "a folder"
        } else {
            "a special file"
        };
        return Err(Error::Malformed {
            path: path.to_owned(),
            found: found.to_owned(),
            expected: "a file".to_owned(),
        });
    }
    let mut bytes = fs::read(path).map_err(unreadable)?;
    let mark = bytes.len() - without_byte_order_mark(&bytes).len();
    bytes.drain(..mark);
    Ok(bytes)
}

/// The text after a UTF-8 byte order mark, which some editors on Windows write.
pub(crate) fn without_byte_order_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Decodes UTF-8.
///
/// # Errors
/// What was found.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        format!(
            "a byte that is not UTF-8 after {} bytes",
            error.valid_up_to()
        )
    })
}

/// Returns the reason why a path is not a regular file; `None` if it is one.
pub(crate) fn missing(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => None,
        Ok(metadata) if metadata.is_dir() => Some("a folder".to_owned()),
        Ok(_) => Some("a special file".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("no file".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// The finding for an image that is not a regular file; `None` if it is one.
pub(crate) fn missing_image(source: &Source, image: &Path) -> Option<Finding> {
    let reason = missing(image)?;
    Some(Finding::error(
        source.clone(),
        FindingKind::MissingImage,
        format!("{reason} at {}", image.display()),
        "an image",
    ))
}

/// All files in a folder and its subfolders with one of some extensions (lower case, without dot),
/// sorted by path. Loops of symbolic links and unreadable folders are findings.
pub(crate) fn walk(
    folder: &Path,
    extensions: &[&str],
    findings: &mut Vec<Finding>,
) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name();
    for entry in entries {
        match entry {
            Ok(entry) if entry.file_type().is_file() => {
                if has_extension(entry.path(), extensions) {
                    files.push(entry.into_path());
                }
            }
            Ok(_) => {}
            Err(error) => {
                let path = error.path().unwrap_or(folder);
                findings.push(Finding::error(
                    Source::file(path),
                    FindingKind::File,
                    walk_error(&error),
                    "a readable file or folder",
                ));
            }
        }
    }
    files
}

fn walk_error(error: &walkdir::Error) -> String {
    match error.loop_ancestor() {
        Some(ancestor) => format!("a loop of symbolic links to {}", ancestor.display()),
        None => match error.io_error() {
            Some(error) => error.to_string(),
            None => error.to_string(),
        },
    }
}

/// All images in a folder and its subfolders, as [`walk`].
pub(crate) fn images(folder: &Path, findings: &mut Vec<Finding>) -> Vec<PathBuf> {
    walk(folder, &IMAGE_EXTENSIONS, findings)
}

/// Returns whether a file has the extension of an image.
pub(crate) fn is_image(path: &Path) -> bool {
    has_extension(path, &IMAGE_EXTENSIONS)
}

/// Returns whether a file has one of some extensions (lower case, without dot), in any case.
pub(crate) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| extensions.contains(&extension.to_ascii_lowercase().as_str()))
}

/// The files of a folder itself with an extension, sorted; none if the folder cannot be read.
pub(crate) fn with_extension(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files
        .filter(|file| file.is_file() && has_extension(file, extensions))
        .collect();
    files.sort();
    files
}

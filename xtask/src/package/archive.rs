//! Archives whose bytes depend on the names and contents of the files only.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use tar::{EntryType, Header};

use super::zip;
use crate::files::{entries, read_bytes};
use crate::workspace::{Failure, write};

/// A file, folder or link in an archive.
struct Entry {
    /// The path in the archive, with `/` between names.
    name: String,
    contents: Contents,
}

enum Contents {
    Folder,
    Link(PathBuf),
    File { path: PathBuf, mode: u32 },
}

/// Writes a folder, under its name, as a compressed tar archive.
pub(super) fn tar_gz(folder: &Path, archive: &Path, epoch: u64) -> Result<(), Failure> {
    let failure = |error| format!("{}: {error}", archive.display());
    let mut tar = tar::Builder::new(create_gzip(archive)?);
    for entry in tree(folder)? {
        let mut header = Header::new_gnu();
        header.set_mtime(epoch);
        match entry.contents {
            Contents::Folder => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                let name = format!("{}/", entry.name);
                tar.append_data(&mut header, name, std::io::empty())
                    .map_err(failure)?;
            }
            Contents::Link(original) => {
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                tar.append_link(&mut header, entry.name, original)
                    .map_err(failure)?;
            }
            Contents::File { path, mode } => {
                header.set_entry_type(EntryType::Regular);
                let bytes = read_bytes(&path)?;
                header.set_mode(mode);
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, entry.name, bytes.as_slice())
                    .map_err(failure)?;
            }
        }
    }
    let gzip = tar.into_inner().map_err(failure)?;
    gzip.finish().map(drop).map_err(failure)
}

/// Creates a file in the format of gzip, without a time stamp and a name.
pub(super) fn create_gzip(path: &Path) -> Result<GzEncoder<File>, Failure> {
    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(GzBuilder::new().mtime(0).write(file, Compression::best()))
}

/// Writes a folder, under its name, as a zip archive.
pub(super) fn zip(folder: &Path, path: &Path, epoch: u64) -> Result<(), Failure> {
    let mut archive = zip::Archive::new(epoch);
    for entry in tree(folder)? {
        match entry.contents {
            Contents::Folder => archive.folder(&format!("{}/", entry.name)),
            Contents::Link(_) => {
                return Err(format!(
                    "{}: found a symbolic link, which zip archives for Windows cannot contain",
                    entry.name
                ));
            }
            Contents::File { path: file, mode } => archive
                .file(&entry.name, &read_bytes(&file)?, mode)
                .map_err(|error| format!("{}: {error}", path.display()))?,
        }
    }
    write(path, &archive.finish())
}

/// A folder and everything below it, sorted by path.
fn tree(folder: &Path) -> Result<Vec<Entry>, Failure> {
    // INVARIANT: callers pass folders with names.
    let name = folder.file_name().expect("a folder's name");
    let mut found = Vec::new();
    walk(folder, &name.to_string_lossy(), &mut found)?;
    Ok(found)
}

fn walk(folder: &Path, name: &str, found: &mut Vec<Entry>) -> Result<(), Failure> {
    found.push(Entry {
        name: name.to_owned(),
        contents: Contents::Folder,
    });
    for path in entries(folder)? {
        let inner = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name}/{inner}");
        let failure = |error| format!("{}: {error}", path.display());
        let kind = fs::symlink_metadata(&path).map_err(failure)?.file_type();
        if kind.is_symlink() {
            let original = fs::read_link(&path).map_err(failure)?;
            found.push(Entry {
                name,
                contents: Contents::Link(original),
            });
        } else if kind.is_dir() {
            walk(&path, &name, found)?;
        } else {
            let mode = mode(&name);
            found.push(Entry {
                name,
                contents: Contents::File { path, mode },
            });
        }
    }
    Ok(())
}

/// The permissions of a file: those of a program for shared libraries and for all files in `bin`.
pub(super) fn mode(name: &str) -> u32 {
    let is_program = Path::new(name)
        .parent()
        .is_some_and(|folder| folder.ends_with("bin"));
    let is_shared = name.contains(".so.");
    if is_program || is_shared {
        0o755
    } else {
        0o644
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    /// Writes the same files in a folder of `parent`, in this order and with this age.
    fn sample(parent: &Path, names: &[&str], age: u64) -> std::path::PathBuf {
        let folder = parent.join("sample-1");
        for name in names {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            let time = SystemTime::now() - Duration::from_secs(age);
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
        folder
    }

    #[test]
    fn archives_depend_on_names_and_contents_only() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let names = ["bin/florence2", "lib/a", "lib/libflorence2.so.1", "share/b"];
        let reversed: Vec<&str> = names.into_iter().rev().collect();
        for (folder, (names, age)) in folders.iter().zip([(&names[..], 0), (&reversed, 100)]) {
            let sample = sample(folder.path(), names, age);
            super::tar_gz(&sample, &folder.path().join("tar.gz"), 1_000_000_000).unwrap();
            super::zip(&sample, &folder.path().join("zip"), 1_000_000_000).unwrap();
        }
        for name in ["tar.gz", "zip"] {
            let [first, second] = folders
                .each_ref()
                .map(|folder| fs::read(folder.path().join(name)).unwrap());
            assert!(!first.is_empty());
            assert_eq!(first, second, "{name}");
        }
    }

    #[test]
    fn programs_and_shared_libraries_are_executable() {
        assert_eq!(super::mode("x/bin/florence2"), 0o755);
        assert_eq!(super::mode("x/lib/libflorence2.so.1"), 0o755);
        assert_eq!(super::mode("x/lib/libflorence2.a"), 0o644);
    }
}

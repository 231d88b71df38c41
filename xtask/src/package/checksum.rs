//! Checksums of packages.

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest, Sha256, Sha512};

use crate::files::{entries, read_bytes};
use crate::workspace::{Failure, write as write_file};

/// Writes `SHA256SUMS` for all files of a folder, in the format of `sha256sum`.
pub(super) fn write(folder: &Path) -> Result<(), Failure> {
    let mut list = String::new();
    for path in entries(folder)? {
        if path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // INVARIANT: a String can be written to.
            writeln!(list, "{}  {name}", sha256(&path)?).expect("a string");
        }
    }
    write_file(&folder.join("SHA256SUMS"), list.as_bytes())
}

pub(super) fn sha256(path: &Path) -> Result<String, Failure> {
    Ok(hexadecimal(&Sha256::digest(read_bytes(path)?)))
}

pub(super) fn sha512(path: &Path) -> Result<String, Failure> {
    Ok(hexadecimal(&Sha512::digest(read_bytes(path)?)))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string");
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_list_is_that_of_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b"), "").unwrap();
        std::fs::write(folder.path().join("a"), "abc").unwrap();
        super::write(folder.path()).unwrap();
        let list = std::fs::read_to_string(folder.path().join("SHA256SUMS")).unwrap();
        assert_eq!(
            list,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b\n"
        );
    }
}

//! The Homebrew formula and the vcpkg port, from the templates in `packaging/`.

use std::path::Path;

use super::checksum::{sha256, sha512};
use super::platform::VERSION;
use super::source;
use crate::files::{empty_folder, entries};
use crate::workspace::{Failure, read, root, write as write_file};

/// Fills the templates. A folder with a template that requires an archive that was not made is left
/// out, with a message.
pub(super) fn write(out: &Path) -> Result<(), Failure> {
    fill_folder("homebrew", out, out)?;
    fill_folder("vcpkg", out, &out.join("vcpkg"))
}

fn fill_folder(name: &str, packages: &Path, out: &Path) -> Result<(), Failure> {
    let folder = root().join("packaging").join(name);
    let mut filled = Vec::new();
    for path in entries(&folder)? {
        let failure = |failure| format!("{}: {failure}", path.display());
        match fill(&read(&path)?, packages).map_err(failure)? {
            Filled::Text(text) => filled.push((path, text)),
            Filled::Missing(package) => {
                println!("packaging/{name}: left out, because it requires {package}");
                return Ok(());
            }
        }
    }
    if out != packages {
        empty_folder(out)?;
    }
    for (path, text) in filled {
        write_file(
            &out.join(path.file_name().unwrap_or_default()),
            text.as_bytes(),
        )?;
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Filled {
    Text(String),
    /// The template names the checksum of this package, which is absent.
    Missing(String),
}

/// Replaces `@VERSION@`, `@REPOSITORY@`, `@SHA256@` (of the source), `@SHA256:PACKAGE@` and
/// `@SHA512:PACKAGE@`.
fn fill(template: &str, packages: &Path) -> Result<Filled, Failure> {
    let mut text = template
        .replace("@VERSION@", VERSION)
        .replace("@REPOSITORY@", env!("CARGO_PKG_REPOSITORY"))
        .replace("@SHA256@", &format!("@SHA256:{}@", source::name()));
    for (marker, checksum) in [
        ("@SHA256:", sha256 as fn(&Path) -> Result<String, Failure>),
        ("@SHA512:", sha512),
    ] {
        while let Some((before, rest)) = text.split_once(marker) {
            let Some((package, after)) = rest.split_once('@') else {
                return Err(format!("found `{marker}` without a second @"));
            };
            let path = packages.join(package);
            if !path.is_file() {
                return Ok(Filled::Missing(package.to_owned()));
            }
            text = format!("{before}{}{after}", checksum(&path)?);
        }
    }
    Ok(Filled::Text(text))
}

#[cfg(test)]
mod tests {
    use super::{Filled, VERSION, fill};

    #[test]
    fn checksums_are_those_of_the_packages() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(format!("a-{VERSION}.zip")), "abc").unwrap();
        let filled = fill("@VERSION@ @SHA256:a-@VERSION@.zip@\n", folder.path()).unwrap();
        let checksum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(filled, Filled::Text(format!("{VERSION} {checksum}\n")));
        let missing = fill("@SHA512:b.zip@", folder.path()).unwrap();
        assert_eq!(missing, Filled::Missing("b.zip".to_owned()));
    }
}

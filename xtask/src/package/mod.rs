//! Everything that a release publishes.

mod archive;
mod checksum;
mod deb;
mod epoch;
mod platform;
mod sbom;
mod source;
mod templates;
mod wheel;
mod zip;

use std::path::Path;

use platform::{Files, PLATFORMS, VERSION};

use crate::build::{LIBRARY, build};
use crate::dist::{self, Layout, write_licences};
use crate::files::{copy_files, copy_into, empty_folder, entries};
use crate::licences::{Linked, Package, packages, third_party};
use crate::portable::{self, Product};
use crate::target::{System, Target};
use crate::workspace::{Failure, root};

/// Features of the library in all packages: the demo model answers without a download.
const FEATURES: &str = "demo";

/// The packages that the command is built from.
const COMMAND: [&str; 2] = ["florence2-cli", "workspace-hack"];

/// The documentation in the archives: the readme, the examples in C and C++, and a scene for them.
const DOCUMENTS: [&str; 2] = ["README.md", "assets/demo-model/scenes/scene-1.png"];
const EXAMPLES: [&str; 2] = ["c", "cpp"];

/// The prefixes of the names of packages.
const PREFIXES: [&str; 2] = ["florence2", "libflorence2"];

/// Variables that would change the packages.
const VARIABLES: [&str; 4] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CFLAGS",
];

/// Makes all packages of the targets, or of all platforms, in the folder `out`.
pub(crate) fn package(triples: &[String], out: &Path) -> Result<(), Failure> {
    let targets = match triples {
        [] => Target::all(),
        _ => triples
            .iter()
            .map(|triple| Target::named(triple))
            .collect::<Result<_, _>>()?,
    };
    refuse_variables()?;
    let epoch = epoch::epoch()?;
    let out = std::path::absolute(out).map_err(|error| format!("{}: {error}", out.display()))?;
    refuse_other_files(&out)?;
    empty_folder(&out)?;
    let mut linked = Vec::new();
    for target in targets {
        let files = build_files(target)?;
        package_platform(&files, epoch, &out)?;
        linked.extend(dependencies(&target)?);
    }
    sbom::write(linked, epoch, &out)?;
    source::write(&out)?;
    templates::write(&out)?;
    checksum::write(&out)
}

/// Fails if a variable is set that would change the packages.
fn refuse_variables() -> Result<(), Failure> {
    let set: Vec<&str> = VARIABLES
        .into_iter()
        .filter(|name| std::env::var_os(name).is_some())
        .collect();
    if set.is_empty() {
        return Ok(());
    }
    Err(format!(
        "environment: found {}, expected none of them, because the packages would differ",
        set.join(", ")
    ))
}

/// Fails if a folder, which is going to be emptied, contains other files than packages.
fn refuse_other_files(folder: &Path) -> Result<(), Failure> {
    if !folder.exists() {
        return Ok(());
    }
    let mut others = Vec::new();
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_package = match &*name {
            "vcpkg" => path.join("portfile.cmake").is_file(),
            "SHA256SUMS" => path.is_file(),
            _ => path.is_file() && PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
        };
        if !is_package {
            others.push(name.into_owned());
        }
    }
    if others.is_empty() {
        return Ok(());
    }
    Err(format!(
        "--out {}: found {}, expected an absent folder, or one that contains packages alone, which are replaced",
        folder.display(),
        others.join(", ")
    ))
}

/// Builds the library and the command, and strips them.
fn build_files(target: Target) -> Result<Files, Failure> {
    let features = [FEATURES.to_owned()];
    let library = Product {
        packages: &LIBRARY,
        features: &features,
        file: target.shared_library(),
    };
    let command = Product {
        packages: &COMMAND,
        features: &[],
        file: target.program(),
    };
    // One after the other: the features of the command would be the library's too.
    build(&target, &COMMAND, &[])?;
    let linked_command = portable::link(&target, &command)?;
    let program = target.work("command").join(target.program());
    copy_into(&linked_command, &target.work("command"))?;
    dist::strip_shared(&target, &program)?;
    build(&target, &LIBRARY, &features)?;
    let shared = portable::link(&target, &library)?;
    let parts = dist::prepare(&target, &shared)?;
    Ok(Files {
        target,
        parts,
        program,
        third_party: third_party(&selection(&target, &features))?,
    })
}

/// The crates that are linked into the packages of a platform.
fn dependencies(target: &Target) -> Result<Vec<Package>, Failure> {
    packages(&selection(target, &[FEATURES.to_owned()]))
}

fn selection<'a>(target: &Target, features: &'a [String]) -> Linked<'a> {
    Linked {
        triple: target.triple,
        packages: &["florence2-ffi", "florence2-cli"],
        features,
    }
}

/// Makes the archive, the Debian packages and the wheel of a platform.
fn package_platform(files: &Files, epoch: u64, out: &Path) -> Result<(), Failure> {
    let platform = PLATFORMS
        .iter()
        .find(|platform| Some(platform.triple) == files.target.triple)
        // INVARIANT: both tables list the same triples, as a test checks.
        .expect("a platform");
    let name = format!("florence2-{VERSION}-{}", platform.archive);
    let folder = files.target.work("archive").join(&name);
    archive_folder(files, &folder)?;
    match files.target.system {
        System::Windows => archive::zip(&folder, &out.join(format!("{name}.zip")), epoch)?,
        _ => archive::tar_gz(&folder, &out.join(format!("{name}.tar.gz")), epoch)?,
    }
    if let Some(debian) = &platform.debian {
        deb::write(files, debian, epoch, out)?;
    }
    wheel::write(files, platform.wheel, epoch, out)
}

/// Copies the contents of the archive of the C library and the command to a folder.
fn archive_folder(files: &Files, folder: &Path) -> Result<(), Failure> {
    empty_folder(folder)?;
    dist::lay_out(&files.target, &files.parts, &Layout::relocatable(), folder)?;
    copy_into(&files.program, &folder.join("bin"))?;
    write_licences(&folder.join("share/licenses/florence2"), &files.third_party)?;
    let documents = folder.join("share/doc/florence2");
    for file in DOCUMENTS {
        copy_into(&root().join(file), &documents)?;
    }
    for language in EXAMPLES {
        let example = Path::new("examples").join(language);
        copy_files(&root().join(&example), &documents.join(&example))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{PLATFORMS, Target, refuse_other_files};

    #[test]
    fn other_files_in_the_output_folder_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let check = || refuse_other_files(folder.path());
        assert_eq!(check(), Ok(()));
        for name in [
            "SHA256SUMS",
            "florence2-0.1.0.cdx.json",
            "libflorence2-1_0.1.0_amd64.deb",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(check(), Ok(()));
        std::fs::write(folder.path().join("photo.jpg"), "").unwrap();
        // A clone of the repository.
        std::fs::create_dir(folder.path().join("libflorence2")).unwrap();
        let failure = check().unwrap_err();
        assert!(
            failure.contains("found libflorence2, photo.jpg, expected"),
            "{failure}"
        );
        assert_eq!(refuse_other_files(&folder.path().join("absent")), Ok(()));
    }

    #[test]
    fn every_target_has_names_in_packages() {
        let targets: Vec<_> = Target::all().iter().map(|target| target.triple).collect();
        let platforms: Vec<_> = PLATFORMS
            .iter()
            .map(|platform| Some(platform.triple))
            .collect();
        assert_eq!(targets, platforms);
    }
}

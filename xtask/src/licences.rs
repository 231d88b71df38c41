//! The licences of everything that is linked into the library, from the sources that Cargo has
//! downloaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::workspace::{Failure, output, read, root};

/// The prefixes of the names of licence files, in lower case.
const FILE_NAMES: [&str; 6] = [
    "license",
    "licence",
    "copying",
    "copyright",
    "notice",
    "unlicense",
];

/// Folders of a crate that are not linked into the library.
const OTHER_FOLDERS: [&str; 6] = ["benches", "docs", "examples", "target", "test", "tests"];

/// The maximum depth of the search for licences of bundled sources, such as mimalloc's.
const MAX_DEPTH: usize = 4;

/// The packages of the workspace that are linked, with their features and their platform.
pub(crate) struct Linked<'a> {
    /// The host's, if absent.
    pub(crate) triple: Option<&'a str>,
    pub(crate) packages: &'a [&'a str],
    /// Features of florence2-ffi.
    pub(crate) features: &'a [String],
}

/// A crate that is linked into the packages.
#[derive(Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: String,
    pub(crate) repository: String,
    pub(crate) authors: Vec<String>,
    pub(crate) folder: PathBuf,
}

/// The list of third-party crates that are linked into packages, and the texts of their licences,
/// each once.
pub(crate) fn third_party(linked: &Linked) -> Result<String, Failure> {
    let mut list = String::new();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut texts: Vec<String> = Vec::new();
    let mut number_of = |text: String| {
        *numbers.entry(text.clone()).or_insert_with(|| {
            texts.push(text);
            texts.len()
        })
    };
    for package in packages(linked)? {
        let mut entries: Vec<String> = Vec::new();
        for (file, text) in licence_files(&package.folder, 0)? {
            entries.push(format!("{file}: text {}", number_of(text)));
        }
        if entries.is_empty() {
            entries = standard_texts(&package)?
                .into_iter()
                .map(|(name, text)| format!("{name}: text {}", number_of(text)))
                .collect();
        }
        let Package {
            name,
            version,
            licence,
            repository,
            authors,
            ..
        } = &package;
        let authors = authors.join(", ");
        let entries = entries.join("\n    ");
        // INVARIANT: a String can be written to.
        write!(
            list,
            "{name} {version}\n    {licence}\n    {repository}\n    Authors: {authors}\n    {entries}\n\n"
        )
        .expect("a string");
    }
    let rust = number_of(rust_licences()?);
    write!(
        list,
        "The Rust standard library\n    MIT OR Apache-2.0\n    text {rust}\n"
    )
    .expect("a string");
    let mut document =
        format!("Third-party software in libflorence2, and its licences.\n\n{list}\n");
    for (index, text) in texts.iter().enumerate() {
        let number = index + 1;
        write!(document, "{:=<80}\nText {number}\n\n{text}\n", "").expect("a string");
    }
    Ok(document)
}

/// The crates that are linked into packages, without those of this workspace, sorted by name and
/// version.
pub(crate) fn packages(linked: &Linked) -> Result<Vec<Package>, Failure> {
    let triple = match linked.triple {
        Some(triple) => triple.to_owned(),
        None => host()?,
    };
    let features: Vec<String> = linked
        .features
        .iter()
        .map(|name| format!("florence2-ffi/{name}"))
        .collect();
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "--locked", "--target", &triple]);
    for package in linked.packages {
        tree.args(["--package", package]);
    }
    tree.args(["--edges", "normal,no-proc-macro", "--prefix", "none"]);
    tree.args(["--format", "{p}"]);
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--offline", "--locked", "--format-version", "1"]);
    // Without this option, Cargo requires the crates of all platforms.
    metadata.args(["--filter-platform", &triple]);
    if !features.is_empty() {
        tree.args(["--features", &features.join(",")]);
        metadata.args(["--features", &features.join(",")]);
    }
    let tree = output(&mut tree, &root())?;
    let linked: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| line.split_once(" v"))
        .map(|(name, rest)| (name, rest.split(' ').next().unwrap_or(rest)))
        .collect();
    let metadata = output(&mut metadata, &root())?;
    let metadata: Value =
        serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let all = metadata["packages"].as_array();
    let third_party = all
        .into_iter()
        .flatten()
        // Crates of the workspace have no source.
        .filter(|package| !package["source"].is_null())
        .map(package)
        .filter(|package| linked.contains(&(&package.name, &package.version)));
    let mut packages: Vec<Package> = third_party.collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(packages)
}

fn package(metadata: &Value) -> Package {
    let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
    let authors = metadata["authors"].as_array();
    let authors = authors.into_iter().flatten().filter_map(Value::as_str);
    Package {
        name: text("name"),
        version: text("version"),
        licence: text("license"),
        repository: text("repository"),
        authors: authors.map(ToOwned::to_owned).collect(),
        folder: Path::new(&text("manifest_path"))
            .parent()
            .map_or_else(PathBuf::new, Path::to_owned),
    }
}

/// The licence files in a folder: names and texts.
fn licence_files(folder: &Path, depth: usize) -> Result<Vec<(String, String)>, Failure> {
    let failure = |error| format!("{}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failure)? {
        paths.push(entry.map_err(failure)?.path());
    }
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let lower = name.to_lowercase();
        let is_source = path
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "py");
        if path.is_dir() {
            if depth < MAX_DEPTH && !OTHER_FOLDERS.contains(&lower.as_str()) {
                let inner = licence_files(&path, depth + 1)?;
                files.extend(
                    inner
                        .into_iter()
                        .map(|(file, text)| (format!("{name}/{file}"), text)),
                );
            }
        } else if !is_source && FILE_NAMES.iter().any(|prefix| lower.starts_with(prefix)) {
            let bytes =
                std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            files.push((name, String::from_utf8_lossy(&bytes).replace('\r', "")));
        }
    }
    Ok(files)
}

/// The texts for a crate's licence expression, for crates that are published without licence files.
fn standard_texts(package: &Package) -> Result<Vec<(String, String)>, Failure> {
    let holders = if package.authors.is_empty() {
        format!("the authors of {}", package.name)
    } else {
        package.authors.join(", ")
    };
    let mut texts = Vec::new();
    if package.licence.contains("Apache-2.0") {
        let text = read(&root().join("LICENSE-APACHE"))?;
        texts.push(("Apache-2.0".to_owned(), text));
    }
    if package.licence.contains("MIT") {
        let ours = read(&root().join("LICENSE-MIT"))?;
        let text: Vec<String> = ours
            .lines()
            .map(|line| match line.starts_with("Copyright") {
                true => format!("Copyright (c) {holders}"),
                false => line.to_owned(),
            })
            .collect();
        texts.push(("MIT".to_owned(), text.join("\n") + "\n"));
    }
    if texts.is_empty() {
        let Package {
            name,
            version,
            licence,
            ..
        } = package;
        return Err(format!(
            "{name} {version}: found no licence file and the licence `{licence}`, expected a file, MIT or Apache-2.0"
        ));
    }
    Ok(texts)
}

/// The licences of the Rust standard library, from the toolchain.
fn rust_licences() -> Result<String, Failure> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]), &root())?;
    let folder = Path::new(sysroot.trim()).join("share/doc/rust/licenses");
    let mut texts =
        String::from("The Rust standard library is licensed under MIT or Apache-2.0.\n");
    for name in ["MIT.txt", "Apache-2.0.txt"] {
        let path = folder.join(name);
        // A minimal toolchain has no documentation.
        let text = match path.exists() {
            true => read(&path)?,
            false => read(&root().join(match name {
                "MIT.txt" => "LICENSE-MIT",
                _ => "LICENSE-APACHE",
            }))?,
        };
        texts.push('\n');
        texts.push_str(&text);
    }
    Ok(texts)
}

/// The name of the platform that Rust builds for.
fn host() -> Result<String, Failure> {
    let version = output(Command::new("rustc").arg("-vV"), &root())?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(ToOwned::to_owned)
        .ok_or_else(|| "rustc -vV: expected a line `host: `".to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_linked_crate_has_a_licence_text() {
        let linked = super::Linked {
            triple: None,
            packages: &["florence2-ffi"],
            features: &[],
        };
        let document = super::third_party(&linked).unwrap();
        for expected in [
            "\nlibmimalloc-sys 0.",
            "\nburn-flex 0.21.0\n    MIT OR Apache-2.0\n",
            "c_src/mimalloc/v3/LICENSE: text ",
            "Microsoft Corporation, Daan Leijen",
            "\nThe Rust standard library\n",
        ] {
            assert!(document.contains(expected), "found no `{expected}`");
        }
        // Crates of the project itself, and crates that only the build uses.
        for other in ["\nflorence2-core 0.", "\nsyn "] {
            assert!(!document.contains(other), "found `{other}`");
        }
    }
}

//! The software bill of materials, in the format of CycloneDX.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::epoch::iso_8601;
use super::platform::VERSION;
use crate::licences::Package;
use crate::workspace::{Failure, read, root, write as write_file};

/// Writes the crates that are linked into the packages of all platforms.
pub(super) fn write(linked: Vec<Package>, epoch: u64, out: &Path) -> Result<(), Failure> {
    let checksums = checksums(&read(&root().join("Cargo.lock"))?)?;
    let document = document(linked, &checksums, epoch);
    // INVARIANT: a JSON value can be written.
    let text = serde_json::to_string_pretty(&document).expect("JSON") + "\n";
    write_file(
        &out.join(format!("florence2-{VERSION}.cdx.json")),
        text.as_bytes(),
    )
}

/// The SHA-256 checksums in `Cargo.lock`, by name and version.
fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>, Failure> {
    let lock: toml::Table = lock
        .parse()
        .map_err(|error| format!("Cargo.lock: {error}"))?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let text = |package: &toml::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    let checksums = packages.into_iter().flatten().filter_map(|package| {
        let checksum = text(package, "checksum")?;
        Some((
            (text(package, "name")?, text(package, "version")?),
            checksum,
        ))
    });
    Ok(checksums.collect())
}

fn document(
    mut linked: Vec<Package>,
    checksums: &BTreeMap<(String, String), String>,
    epoch: u64,
) -> Value {
    linked.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    linked.dedup_by(|a, b| (&a.name, &a.version) == (&b.name, &b.version));
    let components: Vec<Value> = linked
        .iter()
        .map(|package| component(package, checksums))
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": iso_8601(epoch),
            "component": {
                "type": "library",
                "bom-ref": "libflorence2",
                "name": "libflorence2",
                "version": VERSION,
                "licenses": [{ "expression": env!("CARGO_PKG_LICENSE") }],
            },
        },
        "components": components,
    })
}

fn component(package: &Package, checksums: &BTreeMap<(String, String), String>) -> Value {
    let Package { name, version, .. } = package;
    // Crates' versions may contain `+`, which a purl encodes.
    let url = format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"));
    let mut component = json!({
        "type": "library",
        "bom-ref": url,
        "name": name,
        "version": version,
        "purl": url,
    });
    if !package.authors.is_empty() {
        let authors = package.authors.iter().map(|name| json!({ "name": name }));
        component["authors"] = authors.collect();
    }
    if !package.licence.is_empty() {
        // Old manifests separate alternatives with a slash.
        let expression = package.licence.replace('/', " OR ").replace("  ", " ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    if !package.repository.is_empty() {
        component["externalReferences"] = json!([{ "type": "vcs", "url": package.repository }]);
    }
    if let Some(checksum) = checksums.get(&(name.clone(), version.clone())) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::{Package, checksums, document};

    #[test]
    fn components_have_urls_licences_and_checksums() {
        let package = Package {
            name: "a".to_owned(),
            version: "1.0.0+b".to_owned(),
            licence: "MIT/Apache-2.0".to_owned(),
            repository: "https://example.org/a".to_owned(),
            authors: Vec::new(),
            folder: std::path::PathBuf::new(),
        };
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0+b\"\nchecksum = \"0123\"\n\
                    [[package]]\nname = \"ours\"\nversion = \"1.0.0\"\n";
        let checksums = checksums(lock).unwrap();
        assert_eq!(checksums.len(), 1);
        // A crate of two platforms is listed once.
        let document = document(vec![package.clone(), package], &checksums, 0);
        let expected = serde_json::json!([{
            "type": "library",
            "bom-ref": "pkg:cargo/a@1.0.0%2Bb",
            "name": "a",
            "version": "1.0.0+b",
            "purl": "pkg:cargo/a@1.0.0%2Bb",
            "licenses": [{ "expression": "MIT OR Apache-2.0" }],
            "externalReferences": [{ "type": "vcs", "url": "https://example.org/a" }],
            "hashes": [{ "alg": "SHA-256", "content": "0123" }],
        }]);
        assert_eq!(document["components"], expected);
        assert_eq!(document["metadata"]["timestamp"], "1970-01-01T00:00:00Z");
    }
}

//! Functions that the writers of checkpoints and of adapters share.

use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};

/// Creates a folder and its parents unless they exist.
pub(super) fn create_folder(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(|source| Error::Write {
        path: directory.to_owned(),
        source,
    })
}

/// A JSON file with two spaces per level, as Python's `json.dumps(indent=2)` writes it.
pub(super) fn pretty_json(value: &Value) -> Vec<u8> {
    let mut json = format!("{value:#}").into_bytes();
    json.push(b'\n');
    json
}

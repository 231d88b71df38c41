//! Comparison with the reference implementations, from `tests/fixtures/metrics.py`.

mod caption;
mod detection;
mod mask;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Largest difference from a reference implementation.
const TOLERANCE: f64 = 1e-6;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/metrics")
        .join(name)
}

fn fixture<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let json = fs::read_to_string(path(name)).expect("the fixture is committed");
    let cases: Vec<T> =
        serde_json::from_str(&json).expect("the fixture is as its script writes it");
    assert!(!cases.is_empty(), "{name}");
    cases
}

#[track_caller]
fn assert_close(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() <= TOLERANCE,
        "{what}: found {found}, expected {expected}"
    );
}

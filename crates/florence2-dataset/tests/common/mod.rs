//! Data sets in temporary folders.

#![allow(dead_code, reason = "each test uses a part")]

use std::fs;
use std::path::{Path, PathBuf};

use florence2_dataset::{Dataset, DatasetOptions, Error, Finding, FindingKind, Report};
use image::{Rgb, RgbImage};
use tempfile::TempDir;

/// A folder with some files.
pub(crate) struct Folder {
    directory: TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        Self { directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file and creates its folder.
    pub(crate) fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = self.join(name);
        fs::create_dir_all(path.parent().expect("a file in the folder")).expect("a folder");
        fs::write(path, contents).expect("a file");
        self
    }

    /// Writes an image whose red and green channels are the column and the row.
    pub(crate) fn image(self, name: &str, width: u32, height: u32) -> Self {
        let path = self.join(name);
        fs::create_dir_all(path.parent().expect("a file in the folder")).expect("a folder");
        let pixel = |x, y| Rgb([x as u8, y as u8, 7]);
        RgbImage::from_fn(width, height, pixel)
            .save(path)
            .expect("an image");
        self
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn open(&self, options: &DatasetOptions) -> Result<Dataset, Error> {
        Dataset::open(self.path(), options)
    }

    /// A text with the folder's path removed.
    pub(crate) fn relative(&self, text: impl ToString) -> String {
        let folder = format!("{}/", self.path().display());
        text.to_string().replace(&folder, "")
    }

    /// The lines of a report's findings, with paths relative to the folder.
    pub(crate) fn findings(&self, report: &Report) -> Vec<String> {
        report
            .findings
            .iter()
            .map(|finding| self.relative(finding))
            .collect()
    }
}

/// Prefixes and suffixes of all examples.
pub(crate) fn texts(dataset: &Dataset) -> Vec<(&str, &str)> {
    let examples = dataset.examples().iter();
    examples
        .map(|example| (example.prefix.as_str(), example.suffix.as_str()))
        .collect()
}

pub(crate) fn kinds(findings: &[Finding]) -> Vec<FindingKind> {
    findings.iter().map(|finding| finding.kind).collect()
}

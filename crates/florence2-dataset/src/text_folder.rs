//! A folder of images, each with a `.txt` file of the same name.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::contents::Contents;
use crate::error::{Error, Result};
use crate::example::Example;
use crate::files::{images, missing, utf8, walk, without_byte_order_mark};
use crate::report::{Finding, FindingKind, Source};

/// Reads a folder and its subfolders. A text file is the suffix of its image.
///
/// # Errors
/// [`Error::Option`] without a prefix.
pub(crate) fn read_text_folder(folder: &Path, prefix: Option<&str>) -> Result<Contents> {
    let prefix = prefix.ok_or_else(|| Error::Option {
        option: "prefix",
        found: "none".to_owned(),
        expected:
            "a task token such as <CAPTION>, or a text, for a folder of images with .txt files"
                .to_owned(),
    })?;
    let mut contents = Contents::default();
    let images = images(folder, &mut contents.findings);
    for image in &images {
        let file = image.with_extension("txt");
        let source = Source::file(&file);
        match suffix(&file) {
            Ok(suffix) => {
                let example = Example::new(image, prefix, suffix, source);
                contents.examples.push(example);
            }
            Err((found, expected)) => contents.findings.push(Finding::error(
                source,
                FindingKind::Malformed,
                found,
                expected,
            )),
        }
    }
    let stems: HashSet<PathBuf> = images
        .iter()
        .map(|image| image.with_extension(""))
        .collect();
    // Loops have been reported with the images.
    for text in walk(folder, &["txt"], &mut Vec::new()) {
        if !stems.contains(&text.with_extension("")) {
            contents.findings.push(Finding::warning(
                Source::file(&text),
                FindingKind::MissingImage,
                "no image of the same name",
                "an image",
            ));
        }
    }
    Ok(contents)
}

/// The text of a file; otherwise what was found and what was expected.
fn suffix(file: &Path) -> Result<String, (String, &'static str)> {
    const EXPECTED: &str = "a text file of the image's name";
    if let Some(found) = missing(file) {
        return Err((found, EXPECTED));
    }
    let bytes = fs::read(file).map_err(|error| (error.to_string(), EXPECTED))?;
    let text = utf8(without_byte_order_mark(&bytes)).map_err(|found| (found, "UTF-8"))?;
    Ok(text.trim().to_owned())
}

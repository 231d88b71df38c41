//! Findings of readers and checks, and counts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The place of an entry: a file, and the line or the annotation in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Source {
    /// The file. Bytes of its path that are not UTF-8 are replaced.
    pub file: String,
    /// The line, counted from 1; `None` for formats without lines.
    pub line: Option<usize>,
    /// The entry within the file, such as `annotation 17` of a COCO file.
    pub entry: Option<String>,
}

impl Source {
    /// A whole file.
    pub fn file(file: &Path) -> Self {
        Self {
            file: file.display().to_string(),
            line: None,
            entry: None,
        }
    }

    /// A line of a file, counted from 1.
    pub fn line(file: &Path, line: usize) -> Self {
        Self {
            line: Some(line),
            ..Self::file(file)
        }
    }

    /// An entry of a file.
    pub fn entry(file: &Path, entry: impl Into<String>) -> Self {
        Self {
            entry: Some(entry.into()),
            ..Self::file(file)
        }
    }
}

impl fmt::Display for Source {
    /// `file`, `file:line` or `file: entry`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(entry) = &self.entry {
            write!(f, ": {entry}")?;
        }
        Ok(())
    }
}

/// The consequence of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The entry cannot be used. [`Dataset::open`](crate::Dataset::open) leaves it out, and
    /// [`Dataset::retain_valid`](crate::Dataset::retain_valid) removes examples with errors that
    /// [`check`](crate::check()) found.
    Error,
    /// The entry is used, but may be wrong.
    Warning,
}

/// The kind of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// A line or an entry has another form than its format requires: syntax, encoding, a missing key
    /// or a value of another type.
    Malformed,
    /// A file or a folder of the data set cannot be read, or forms a loop of symbolic links.
    File,
    /// An image is not there, or an annotation refers to an image that is not listed.
    MissingImage,
    /// An image cannot be decoded.
    UnreadableImage,
    /// An image has another size than its annotation states.
    ImageSize,
    /// An annotation refers to a class that is not listed.
    UnknownClass,
    /// A label cannot be written in the grammar of the task, or the parser drops it.
    Label,
    /// A box or a polygon is not finite, has no area or lies outside the image.
    Region,
    /// A prefix is not a valid prompt.
    Prefix,
    /// A suffix is empty.
    EmptySuffix,
    /// A location token is malformed or out of range.
    Location,
    /// A part of a suffix is not read by the parser of its task.
    Grammar,
    /// A prefix or a suffix has more tokens than the model has positions, or cannot be tokenized.
    Length,
    /// The same entry occurs twice.
    Duplicate,
}

/// A fault of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// The entry.
    pub source: Source,
    /// The consequence.
    pub severity: Severity,
    /// The kind.
    pub kind: FindingKind,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl Finding {
    pub(crate) fn error(
        source: Source,
        kind: FindingKind,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            source,
            severity: Severity::Error,
            kind,
            found: found.into(),
            expected: expected.into(),
        }
    }

    pub(crate) fn warning(
        source: Source,
        kind: FindingKind,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(source, kind, found, expected)
        }
    }
}

impl fmt::Display for Finding {
    /// `file:line: found .., expected ..`, with `warning: ` before `found` for a warning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        let Self {
            source,
            found,
            expected,
            ..
        } = self;
        write!(f, "{source}: {severity}found {found}, expected {expected}")
    }
}

/// The occurrences of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClassCount {
    /// The number of objects.
    pub objects: usize,
    /// The number of examples with at least one.
    pub examples: usize,
}

/// A number of tokens and its example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenCount {
    /// The number of tokens.
    pub tokens: usize,
    /// The example.
    pub source: Source,
}

/// What a data set contains, and what is wrong with it.
///
/// Its `Display` form has one line per finding, then the counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// All findings, in the order of the data set.
    pub findings: Vec<Finding>,
    /// The number of examples.
    pub examples: usize,
    /// The number of different images.
    pub images: usize,
    /// The number of examples without objects (background images).
    pub empty_examples: usize,
    /// The number of examples per task. The key is the task's token, or `text` for free text.
    pub tasks: BTreeMap<String, usize>,
    /// The occurrences per class, for detection and for annotated classes of COCO and YOLO.
    pub classes: BTreeMap<String, ClassCount>,
    /// The longest suffix in tokens; `None` before [`check`](crate::check()).
    pub longest_suffix: Option<TokenCount>,
    /// The number of examples whose image and texts [`check`](crate::check()) has checked.
    pub checked_examples: usize,
}

impl Report {
    /// Returns the number of findings of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        let findings = self.findings.iter();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        writeln!(
            f,
            "examples: {}, images: {}, examples without objects: {}",
            self.examples, self.images, self.empty_examples
        )?;
        for (task, count) in &self.tasks {
            writeln!(f, "task {task}: {count} examples")?;
        }
        for (class, ClassCount { objects, examples }) in &self.classes {
            writeln!(f, "class {class}: {objects} objects in {examples} examples")?;
        }
        if let Some(TokenCount { tokens, source }) = &self.longest_suffix {
            writeln!(f, "longest suffix: {tokens} tokens ({source})")?;
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        write!(f, "errors: {errors}, warnings: {warnings}")
    }
}

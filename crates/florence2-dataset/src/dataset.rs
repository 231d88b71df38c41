//! A data set: opening, and removal of faulty examples.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::coco::read_coco;
use crate::contents::Contents;
use crate::counts::count;
use crate::error::{Error, Result};
use crate::example::Example;
use crate::jsonl::read_jsonl;
use crate::layout::{Layout, find};
use crate::options::{DatasetOptions, Format, Split};
use crate::report::{Finding, FindingKind, Report, Severity, Source};
use crate::suffix::text_findings;
use crate::text_folder::read_text_folder;
use crate::yolo::read_yolo;

/// A data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    examples: Vec<Example>,
    classes: Vec<String>,
    layout: Layout,
    report: Report,
}

impl Dataset {
    /// Reads the annotations of a data set: a folder, or a `.jsonl`, `.json` or `.yaml` file. Images
    /// are not decoded.
    ///
    /// An entry that cannot be used (malformed, without image, of an unknown class, with an invalid
    /// prompt, with wrong location tokens, ..) is left out and reported in [`Self::report`]. The
    /// readers accept a line or an annotation only with its format's types. If one object of an image
    /// is faulty, the others are used.
    ///
    /// | format | examples |
    /// |---|---|
    /// | JSON lines | one per line |
    /// | COCO | captions: one per caption; `<OD>`, `<DENSE_REGION_CAPTION>`, `<REGION_PROPOSAL>`: one per image; `<OPEN_VOCABULARY_DETECTION>`, `<REFERRING_EXPRESSION_SEGMENTATION>`: one per image and class, which is the input; `<REGION_TO_SEGMENTATION>`, `<REGION_TO_CATEGORY>`, `<REGION_TO_DESCRIPTION>`: one per object, whose box is the input |
    /// | YOLO | as COCO, without captions |
    /// | images with texts | one per image |
    ///
    /// Crowds of COCO are no part of a suffix.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Malformed`] naming a file that all examples depend on,
    /// [`Error::Layout`] if there is no data set or several, [`Error::Option`] naming an option that
    /// is missing or does not fit, [`Error::NoExamples`] with the report if nothing can be used.
    pub fn open(path: impl AsRef<Path>, options: &DatasetOptions) -> Result<Self> {
        let path = path.as_ref();
        let layout = find(path, options)?;
        let contents = match layout.format {
            Format::Jsonl => read_jsonl(&layout.path, options.default_prefix()),
            Format::Coco => read_coco(&layout.path, options),
            Format::Yolo => read_yolo(&layout.path, options),
            Format::Text => read_text_folder(&layout.path, options.default_prefix()),
        };
        let mut dataset = Self::from_contents(contents?, layout);
        if dataset.examples.is_empty() {
            return Err(Error::NoExamples {
                path: path.to_owned(),
                report: Box::new(std::mem::take(&mut dataset.report)),
            });
        }
        Ok(dataset)
    }

    fn from_contents(contents: Contents, layout: Layout) -> Self {
        let Contents {
            mut examples,
            mut findings,
            classes,
        } = contents;
        examples.retain(|example| {
            let faults = text_findings(example);
            let is_valid = faults.iter().all(|fault| fault.severity != Severity::Error);
            findings.extend(faults);
            is_valid
        });
        findings.extend(duplicates(&examples));
        let mut report = Report {
            findings,
            ..Report::default()
        };
        count(&examples, &mut report);
        Self {
            examples,
            classes,
            layout,
            report,
        }
    }

    /// The splits that a folder has. Some layouts have none: then their only part is opened without
    /// a split.
    pub fn splits(path: impl AsRef<Path>, options: &DatasetOptions) -> Vec<Split> {
        let has_split = |split: &Split| find(path.as_ref(), &options.clone().split(*split)).is_ok();
        let is_folder = path.as_ref().is_dir();
        let splits = Split::ALL.into_iter();
        splits
            .filter(|split| is_folder && has_split(split))
            .collect()
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Returns whether there is no example. An opened data set has at least one.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// The examples, in the order of the files.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The first example of each image and prefix: an evaluation generates one answer for them, and
    /// compares it with all references of [`Example::truth`].
    pub fn distinct_prompts(&self) -> impl Iterator<Item = &Example> {
        let mut seen = HashSet::new();
        let examples = self.examples.iter();
        examples.filter(move |example| seen.insert((&example.image, &example.prefix)))
    }

    /// The layout that was detected or stated.
    pub fn format(&self) -> Format {
        self.layout.format
    }

    /// The file of annotations, or the folder of images with texts.
    pub fn path(&self) -> &Path {
        &self.layout.path
    }

    /// The names of the classes of COCO and YOLO in the order of the file; empty for other formats.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The findings of the reader, which has left out entries with errors, and the counts of the
    /// examples.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Removes the examples with errors in a report of [`check`](crate::check()), such as unreadable
    /// images. Returns the number of removed examples.
    pub fn retain_valid(&mut self, report: &Report) -> usize {
        let errors = report.findings.iter();
        let errors = errors.filter(|finding| finding.severity == Severity::Error);
        let faulty: HashSet<&Source> = errors.map(|finding| &finding.source).collect();
        let before = self.examples.len();
        self.examples
            .retain(|example| !faulty.contains(&example.source));
        count(&self.examples, &mut self.report);
        before - self.examples.len()
    }
}

/// Examples that occur twice.
fn duplicates(examples: &[Example]) -> Vec<Finding> {
    let mut seen = HashMap::new();
    let mut findings = Vec::new();
    for example in examples {
        let key = (&example.image, &example.prefix, &example.suffix);
        let first: &Example = seen.entry(key).or_insert(example);
        if !std::ptr::eq(first, example) {
            findings.push(Finding::warning(
                example.source.clone(),
                FindingKind::Duplicate,
                format!("the entry of {} again", first.source),
                "different entries",
            ));
        }
    }
    findings
}

//! Counts of examples, images and classes.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use florence2_processor::Task;

use crate::example::{Annotation, Example};
use crate::report::Report;
use crate::suffix::regions;

/// Sets the counts of a report from the examples.
pub(crate) fn count(examples: &[Example], report: &mut Report) {
    let images: HashSet<&Path> = examples
        .iter()
        .map(|example| example.image.as_path())
        .collect();
    report.examples = examples.len();
    report.images = images.len();
    report.empty_examples = 0;
    report.tasks = BTreeMap::new();
    report.classes = BTreeMap::new();
    for example in examples {
        let task = example.prompt().ok().and_then(|prompt| prompt.task());
        let key = task.map_or("text", Task::token);
        *report.tasks.entry(key.to_owned()).or_default() += 1;
        report.empty_examples += usize::from(example.suffix.trim().is_empty());
        let mut seen = HashSet::new();
        for label in labels(example, task) {
            let class = report.classes.entry(label.clone()).or_default();
            class.objects += 1;
            class.examples += usize::from(seen.insert(label));
        }
    }
}

/// The class of each object of an example: of its annotation, or of the suffix of a detection.
fn labels(example: &Example, task: Option<Task>) -> Vec<String> {
    match (&example.annotation, task) {
        (Annotation::Pixels { objects, .. } | Annotation::Fractions(objects), _) => {
            objects.iter().map(|object| object.label.clone()).collect()
        }
        (
            Annotation::Suffix,
            Some(task @ (Task::ObjectDetection | Task::OpenVocabularyDetection)),
        ) => {
            let regions = regions(&example.suffix, task.post_processing_type());
            let instances = regions.chunk_by(|a, b| a.instance == b.instance);
            instances.map(|rings| rings[0].label.clone()).collect()
        }
        _ => Vec::new(),
    }
}

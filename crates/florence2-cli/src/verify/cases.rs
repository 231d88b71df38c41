//! The file of published outputs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Published outputs of the real weights.
const PUBLISHED: &str = include_str!("published.json");

/// A file of cases and the images that they refer to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseFile {
    /// The images by file name.
    pub(super) images: BTreeMap<String, ImageSource>,
    pub(super) cases: Vec<Case>,
}

/// The public address and the size of an image.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImageSource {
    /// A URL, or a path of the Hugging Face hub.
    pub(super) address: String,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A request with the output that was published for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// The width of the model: 768 for base, 1024 for large.
    pub(super) d_model: usize,
    /// The file name of the image.
    pub(super) image: String,
    /// The task's token.
    pub(super) task: String,
    /// The task's input.
    #[serde(default)]
    pub(super) input: Option<String>,
    pub(super) max_new_tokens: usize,
    /// The publication.
    pub(super) source: String,
    pub(super) expected: Expected,
}

/// The part of an answer that was published.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Expected {
    /// All token ids, the decoder's start token first.
    TokenIds(Vec<u32>),
    /// The plain text.
    Text(String),
    /// The beginning of the plain text.
    TextPrefix(String),
    /// The boxes as `[x1, y1, x2, y2]` in pixels, with fractions.
    Bboxes(Vec<[f64; 4]>),
    /// The result of transformers' `post_process_generation`, without the task's token.
    Hf(Value),
}

impl CaseFile {
    /// Parses the published cases.
    pub(super) fn published() -> Self {
        // INVARIANT: the file is part of this program, and a test parses it.
        serde_json::from_str(PUBLISHED).expect("a valid file of cases")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_cases_refer_to_listed_images_and_tasks() {
        let file = CaseFile::published();
        assert!(!file.cases.is_empty());
        for case in &file.cases {
            assert!(file.images.contains_key(&case.image), "{}", case.image);
            case.task.parse::<florence2::Task>().unwrap();
        }
    }
}

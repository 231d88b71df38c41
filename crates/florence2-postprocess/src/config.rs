//! The configuration of the parser: HF `post_processor_config`.

use std::collections::BTreeSet;

/// The settings of the parser that a model's `processor_config.json` may change: the keys of HF
/// `post_processor_config` that `Florence2PostProcessor` reads.
///
/// The default is the configuration of the published checkpoints.
///
/// ```
/// use florence2_postprocess::PostProcessorConfig;
///
/// let config = PostProcessorConfig::default().ocr_area_threshold(0.001);
/// assert!(config.banned_phrases.contains("the image"));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PostProcessorConfig {
    /// HF `phrase_grounding.banned_grounding_tokens`: the phrases that grounding drops. A phrase is
    /// compared as a whole, without surrounding white space, and case-sensitively. The default has
    /// 72 pronouns, articles and similar words.
    pub banned_phrases: BTreeSet<String>,
    /// HF `ocr.AREA_THRESHOLD`: text lines whose area is less than this fraction of the image's area
    /// are dropped. 0 (the default) and negative values keep all lines.
    ///
    /// As in the reference, the area is computed from the coordinates of the result by the shoelace
    /// formula without the term of the last and the first corner, so it depends on the position.
    pub ocr_area_threshold: f64,
}

impl Default for PostProcessorConfig {
    fn default() -> Self {
        Self {
            banned_phrases: BANNED_PHRASES.map(str::to_owned).into(),
            ocr_area_threshold: 0.0,
        }
    }
}

impl PostProcessorConfig {
    /// Replaces the phrases that grounding drops.
    #[must_use]
    pub fn banned_phrases<T: Into<String>>(self, phrases: impl IntoIterator<Item = T>) -> Self {
        Self {
            banned_phrases: phrases.into_iter().map(Into::into).collect(),
            ..self
        }
    }

    /// Sets the minimum area of a text line as a fraction of the image's area.
    #[must_use]
    pub fn ocr_area_threshold(self, ocr_area_threshold: f64) -> Self {
        Self {
            ocr_area_threshold,
            ..self
        }
    }
}

/// Pronouns, articles and similar words, as published with the weights.
const BANNED_PHRASES: [&str; 72] = [
    "I",
    "a",
    "a group",
    "a set",
    "all",
    "an",
    "another",
    "any",
    "anybody",
    "anyone",
    "anything",
    "each",
    "each other",
    "everybody",
    "everyone",
    "everything",
    "few",
    "he",
    "her",
    "hers",
    "herself",
    "him",
    "himself",
    "his",
    "image",
    "images",
    "it",
    "its",
    "itself",
    "lots",
    "many",
    "me",
    "mine",
    "myself",
    "nobody",
    "none",
    "one",
    "one another",
    "oneself",
    "other objects",
    "our",
    "ours",
    "ourselves",
    "several",
    "she",
    "some",
    "somebody",
    "someone",
    "something",
    "that",
    "the",
    "the image",
    "their",
    "theirs",
    "them",
    "themselves",
    "these",
    "they",
    "this",
    "those",
    "us",
    "we",
    "what",
    "which",
    "who",
    "whom",
    "whose",
    "you",
    "your",
    "yours",
    "yourself",
    "yourselves",
];

//! The input of the parser, a generated text with its tokens, and its result, regions of the image.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::region::Region;

/// The format of an answer: HF's `tasks_answer_post_processing_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostProcessingType {
    /// `pure_text`: plain text.
    PureText,
    /// `description_with_bboxes`: phrases, each with boxes.
    DescriptionWithBboxes,
    /// `bboxes`: boxes without labels.
    Bboxes,
    /// `phrase_grounding`: like [`Self::DescriptionWithBboxes`], without pronouns and similar words.
    PhraseGrounding,
    /// `ocr`: text lines, each with a quadrilateral.
    Ocr,
    /// `polygons`.
    Polygons,
    /// `description_with_bboxes_or_polygons`: phrases, each with boxes or polygons.
    DescriptionWithBboxesOrPolygons,
}

/// An image's size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageSize {
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
}

/// The conventions of a result where implementations differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coordinates {
    /// Coordinates are the bins' centres, as in Microsoft's code; labels keep all characters; plain
    /// text does not contain `<pad>`; rings of a polygon without points are dropped.
    #[default]
    BinCenters,
    /// As in transformers 5.17: centres truncated to integers, labels of boxes without the
    /// characters outside ASCII, `<pad>` kept in plain text, rings without points kept.
    HfIntegers,
}

/// A generated text, including special tokens, and its tokens.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ScoredText {
    /// The text.
    pub text: String,
    /// The tokens in order. Each begins where the previous one ends, and none extends beyond the
    /// text.
    ///
    /// Empty if they are not known. Spans that violate the rule count as unknown too. Without
    /// tokens, nothing has a score.
    pub tokens: Vec<TokenSpan>,
}

/// The part of one token in a [`ScoredText`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TokenSpan {
    /// The bytes of the text that it produced; empty for a part of a character that a later token
    /// completes.
    pub range: Range<usize>,
    /// The id of the token.
    pub token_id: u32,
    /// Its natural log-probability.
    pub log_prob: f32,
    /// For a location token, the natural log-probability that the location lies within the tolerance
    /// of a run, [`LOCATION_TOLERANCE`](crate::LOCATION_TOLERANCE) bins unless the run sets another;
    /// for any other token, `log_prob`.
    pub location_log_prob: f32,
}

impl TokenSpan {
    /// Creates the span of a token whose `location_log_prob` is its `log_prob`.
    pub fn new(range: Range<usize>, token_id: u32, log_prob: f32) -> Self {
        Self {
            range,
            token_id,
            log_prob,
            location_log_prob: log_prob,
        }
    }

    /// Sets the log-probability that the location lies within the tolerance.
    #[must_use]
    pub fn location_log_prob(self, location_log_prob: f32) -> Self {
        Self {
            location_log_prob,
            ..self
        }
    }
}

impl TaskResult {
    /// Creates a result without text, score and regions.
    pub fn new(post_processing_type: PostProcessingType, coordinates: Coordinates) -> Self {
        Self {
            post_processing_type,
            coordinates,
            text: String::new(),
            score: None,
            regions: Vec::new(),
        }
    }
}

impl ScoredText {
    /// Creates a text from its tokens.
    pub fn new(text: impl Into<String>, tokens: Vec<TokenSpan>) -> Self {
        Self {
            text: text.into(),
            tokens,
        }
    }

    /// Creates a text whose tokens are not known.
    pub fn unscored(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tokens: Vec::new(),
        }
    }

    /// Returns whether the spans are contiguous from the text's beginning and stay within it.
    pub(crate) fn has_token_spans(&self) -> bool {
        let mut end = 0;
        let follows = |token: &TokenSpan| {
            let follows = token.range.start == end && token.range.end >= end;
            end = token.range.end;
            follows
        };
        !self.tokens.is_empty() && self.tokens.iter().all(follows) && end <= self.text.len()
    }
}

/// A parsed answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskResult {
    /// The format of the answer.
    pub post_processing_type: PostProcessingType,
    /// The convention of the coordinates.
    pub coordinates: Coordinates,
    /// The answer as plain text: without frame tokens and surrounding white space, but with
    /// locations.
    pub text: String,
    /// The geometric mean of the probabilities of the answer's tokens, without frame tokens. A location
    /// token counts with the probability of all locations within the tolerance. `None` without token
    /// log-probabilities.
    pub score: Option<f32>,
    /// The regions, in the order of the answer. Plain text may contain boxes too, which are not
    /// part of HF's result: they are labelled with the words right before them.
    pub regions: Vec<Region>,
}

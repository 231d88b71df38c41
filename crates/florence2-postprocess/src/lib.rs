//! Parsing of Florence-2's answers: from generated text to boxes, quads, polygons and labels.
//!
//! [`parse`] implements transformers' `Florence2PostProcessor`, in linear time on any input, and
//! adds a confidence to every region. It depends on neither tokenizer nor model.
//!
//! ```
//! use florence2_postprocess::{AnswerFamily, Compat, ImageSize, ScoredText, parse};
//!
//! let answer = ScoredText::unscored("</s><s>car<loc_53><loc_333><loc_933><loc_774></s>");
//! let size = ImageSize { width: 640, height: 480 };
//! let result = parse(&answer, AnswerFamily::Boxes, size, Compat::Hf);
//! assert_eq!(result.regions[0].label, "car");
//! assert_eq!(result.regions[0].points, [[34.0, 160.0], [597.0, 371.0]]);
//! ```

mod grounding;
mod parse;
mod quantizer;
mod result;
mod scanner;
mod score;
mod steps;

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use parse::parse;
pub use quantizer::{BINS, Compat, ImageSize, Quantizer};
pub use result::{Region, RegionKind, RegionScore, TaskResult};

/// The format of an answer: HF's `tasks_answer_post_processing_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFamily {
    /// `pure_text`.
    Text,
    /// `description_with_bboxes`: phrases, each with boxes.
    Boxes,
    /// `bboxes`: only boxes.
    BoxesWithoutLabels,
    /// `phrase_grounding`: like [`Self::Boxes`], without pronouns and similar words.
    Grounding,
    /// `ocr`: text lines, each with a quadrilateral.
    Ocr,
    /// `polygons`.
    Polygons,
    /// `description_with_bboxes_or_polygons`: phrases, each with boxes or polygons.
    BoxesOrPolygons,
}

/// A generated text, including special tokens, and its tokens.
#[derive(Debug, Clone, Default, PartialEq)]
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
pub struct TokenSpan {
    /// The bytes of the text that it produced; empty for a part of a character that a later token
    /// completes.
    pub range: Range<usize>,
    /// The id of the token.
    pub token_id: u32,
    /// Its natural log-probability.
    pub log_prob: f32,
}

impl ScoredText {
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

//! Florence-2's answers: generated text in, boxes, quads, polygons and labels out.
//!
//! [`parse`] does what transformers' `Florence2PostProcessor` does, in linear time on any input, and
//! adds a confidence to every region. It knows neither tokenizer nor model.
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

/// How an answer is written: HF's `tasks_answer_post_processing_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFamily {
    /// `pure_text`.
    Text,
    /// `description_with_bboxes`: phrases, each with boxes.
    Boxes,
    /// `bboxes`: boxes alone.
    BoxesWithoutLabels,
    /// `phrase_grounding`: as [`Self::Boxes`], without pronouns and the like.
    Grounding,
    /// `ocr`: text lines, each with a quadrilateral.
    Ocr,
    /// `polygons`.
    Polygons,
    /// `description_with_bboxes_or_polygons`: phrases, each with boxes or polygons.
    BoxesOrPolygons,
}

/// A generated text, special tokens kept, and the tokens that wrote it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScoredText {
    /// The text.
    pub text: String,
    /// The tokens in order, each beginning where the one before ends, none beyond the text.
    ///
    /// Empty when nothing is known of them; spans that break the rule count as unknown too. Then
    /// nothing has a score.
    pub tokens: Vec<TokenSpan>,
}

/// One token's part in a [`ScoredText`].
#[derive(Debug, Clone, PartialEq)]
pub struct TokenSpan {
    /// The bytes of the text that it wrote; empty for a part of a character that a later token
    /// completes.
    pub range: Range<usize>,
    /// The token.
    pub token_id: u32,
    /// Its natural log-probability.
    pub log_prob: f32,
}

impl ScoredText {
    /// A text of whose tokens nothing is known.
    pub fn unscored(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tokens: Vec::new(),
        }
    }

    /// Whether the spans follow each other from the text's beginning and stay within it.
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

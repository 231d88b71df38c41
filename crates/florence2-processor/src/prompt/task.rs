//! Florence-2's tasks: their tokens, prompts and answers.

use std::fmt;
use std::str::FromStr;

use florence2_postprocess::PostProcessingType;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A task of Florence-2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Task {
    /// `<CAPTION>`: a sentence.
    Caption,
    /// `<DETAILED_CAPTION>`: a few sentences.
    DetailedCaption,
    /// `<MORE_DETAILED_CAPTION>`: a paragraph.
    MoreDetailedCaption,
    /// `<OD>`: objects with their boxes.
    #[serde(rename = "OD")]
    ObjectDetection,
    /// `<DENSE_REGION_CAPTION>`: regions with descriptions.
    DenseRegionCaption,
    /// `<REGION_PROPOSAL>`: boxes without labels.
    RegionProposal,
    /// `<OCR>`: the text in the image.
    Ocr,
    /// `<OCR_WITH_REGION>`: text lines with quadrilaterals.
    OcrWithRegion,
    /// `<CAPTION_TO_PHRASE_GROUNDING>`: boxes of a caption's phrases.
    CaptionToPhraseGrounding,
    /// `<REFERRING_EXPRESSION_SEGMENTATION>`: polygons of the object that an expression refers to.
    ReferringExpressionSegmentation,
    /// `<REGION_TO_SEGMENTATION>`: polygons of the object in a box.
    RegionToSegmentation,
    /// `<OPEN_VOCABULARY_DETECTION>`: boxes or polygons of named objects.
    OpenVocabularyDetection,
    /// `<REGION_TO_CATEGORY>`: the category of the object in a box.
    RegionToCategory,
    /// `<REGION_TO_DESCRIPTION>`: a description of the object in a box.
    RegionToDescription,
    /// `<REGION_TO_OCR>`: the text in a box.
    RegionToOcr,
}

/// One row of the task table.
struct TaskRow {
    token: &'static str,
    /// The prompt, or its two parts around the input.
    prompt: (&'static str, Option<&'static str>),
    post_processing_type: PostProcessingType,
}

const fn without_input(
    token: &'static str,
    prompt: &'static str,
    post_processing_type: PostProcessingType,
) -> TaskRow {
    TaskRow {
        token,
        prompt: (prompt, None),
        post_processing_type,
    }
}

const fn with_input(
    token: &'static str,
    before: &'static str,
    after: &'static str,
    post_processing_type: PostProcessingType,
) -> TaskRow {
    TaskRow {
        token,
        prompt: (before, Some(after)),
        post_processing_type,
    }
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 15] = [
        Self::Caption,
        Self::DetailedCaption,
        Self::MoreDetailedCaption,
        Self::ObjectDetection,
        Self::DenseRegionCaption,
        Self::RegionProposal,
        Self::Ocr,
        Self::OcrWithRegion,
        Self::CaptionToPhraseGrounding,
        Self::ReferringExpressionSegmentation,
        Self::RegionToSegmentation,
        Self::OpenVocabularyDetection,
        Self::RegionToCategory,
        Self::RegionToDescription,
        Self::RegionToOcr,
    ];

    /// The task's token, such as `<OD>`.
    pub fn token(self) -> &'static str {
        self.row().token
    }

    /// Returns true if the prompt needs an input: a text or a region.
    pub fn needs_input(self) -> bool {
        self.prompt().1.is_some()
    }

    /// Returns true if the prompt's input is a region.
    pub fn needs_region(self) -> bool {
        matches!(
            self,
            Self::RegionToSegmentation
                | Self::RegionToCategory
                | Self::RegionToDescription
                | Self::RegionToOcr
        )
    }

    /// The prompt, with `{input}` as the placeholder of the input.
    pub fn prompt_template(self) -> String {
        let (before, after) = self.prompt();
        match after {
            None => before.to_owned(),
            Some(after) => format!("{before}{{input}}{after}"),
        }
    }

    /// The format of the answer.
    pub fn post_processing_type(self) -> PostProcessingType {
        self.row().post_processing_type
    }

    /// The prompt: its only part, or its parts before and after the input.
    pub(super) fn prompt(self) -> (&'static str, Option<&'static str>) {
        self.row().prompt
    }

    fn row(self) -> TaskRow {
        use PostProcessingType::{
            Bboxes, DescriptionWithBboxes, DescriptionWithBboxesOrPolygons, Ocr, PhraseGrounding,
            Polygons, PureText,
        };
        match self {
            Self::Caption => without_input("<CAPTION>", "What does the image describe?", PureText),
            Self::DetailedCaption => without_input(
                "<DETAILED_CAPTION>",
                "Describe in detail what is shown in the image.",
                PureText,
            ),
            Self::MoreDetailedCaption => without_input(
                "<MORE_DETAILED_CAPTION>",
                "Describe with a paragraph what is shown in the image.",
                PureText,
            ),
            Self::ObjectDetection => without_input(
                "<OD>",
                "Locate the objects with category name in the image.",
                DescriptionWithBboxes,
            ),
            Self::DenseRegionCaption => without_input(
                "<DENSE_REGION_CAPTION>",
                "Locate the objects in the image, with their descriptions.",
                DescriptionWithBboxes,
            ),
            Self::RegionProposal => without_input(
                "<REGION_PROPOSAL>",
                "Locate the region proposals in the image.",
                Bboxes,
            ),
            Self::Ocr => without_input("<OCR>", "What is the text in the image?", PureText),
            Self::OcrWithRegion => without_input(
                "<OCR_WITH_REGION>",
                "What is the text in the image, with regions?",
                Ocr,
            ),
            Self::CaptionToPhraseGrounding => with_input(
                "<CAPTION_TO_PHRASE_GROUNDING>",
                "Locate the phrases in the caption: ",
                "",
                PhraseGrounding,
            ),
            Self::ReferringExpressionSegmentation => with_input(
                "<REFERRING_EXPRESSION_SEGMENTATION>",
                "Locate ",
                " in the image with mask",
                Polygons,
            ),
            Self::RegionToSegmentation => with_input(
                "<REGION_TO_SEGMENTATION>",
                "What is the polygon mask of region ",
                "",
                Polygons,
            ),
            Self::OpenVocabularyDetection => with_input(
                "<OPEN_VOCABULARY_DETECTION>",
                "Locate ",
                " in the image.",
                DescriptionWithBboxesOrPolygons,
            ),
            Self::RegionToCategory => {
                with_input("<REGION_TO_CATEGORY>", "What is the region ", "?", PureText)
            }
            Self::RegionToDescription => with_input(
                "<REGION_TO_DESCRIPTION>",
                "What does the region ",
                " describe?",
                PureText,
            ),
            Self::RegionToOcr => with_input(
                "<REGION_TO_OCR>",
                "What text is in the region ",
                "?",
                PureText,
            ),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

impl FromStr for Task {
    type Err = Error;

    /// Parses a task name with or without angle brackets, in any case, with `_` or `-`: `<OD>`,
    /// `OD`, `od`, `dense-region-caption`.
    fn from_str(text: &str) -> Result<Self> {
        let name = text
            .trim_start_matches('<')
            .trim_end_matches('>')
            .replace('-', "_")
            .to_ascii_uppercase();
        Self::ALL
            .into_iter()
            .find(|task| task.token()[1..].strip_suffix('>') == Some(name.as_str()))
            .ok_or_else(|| Error::UnknownTask(text.to_owned()))
    }
}

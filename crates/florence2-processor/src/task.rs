//! Florence-2's tasks and their prompts.

use std::fmt;
use std::str::FromStr;

use florence2_postprocess::{AnswerFamily, ImageSize};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::region::region_text;

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
    family: AnswerFamily,
}

const fn asks(token: &'static str, prompt: &'static str, family: AnswerFamily) -> TaskRow {
    TaskRow {
        token,
        prompt: (prompt, None),
        family,
    }
}

const fn asks_about(
    token: &'static str,
    before: &'static str,
    after: &'static str,
    family: AnswerFamily,
) -> TaskRow {
    TaskRow {
        token,
        prompt: (before, Some(after)),
        family,
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
        self.row().prompt.1.is_some()
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
        let (before, after) = self.row().prompt;
        match after {
            None => before.to_owned(),
            Some(after) => format!("{before}{{input}}{after}"),
        }
    }

    /// The format of the answer.
    pub fn family(self) -> AnswerFamily {
        self.row().family
    }

    fn row(self) -> TaskRow {
        use AnswerFamily::{
            Boxes, BoxesOrPolygons, BoxesWithoutLabels, Grounding, Ocr, Polygons, Text,
        };
        match self {
            Self::Caption => asks("<CAPTION>", "What does the image describe?", Text),
            Self::DetailedCaption => asks(
                "<DETAILED_CAPTION>",
                "Describe in detail what is shown in the image.",
                Text,
            ),
            Self::MoreDetailedCaption => asks(
                "<MORE_DETAILED_CAPTION>",
                "Describe with a paragraph what is shown in the image.",
                Text,
            ),
            Self::ObjectDetection => asks(
                "<OD>",
                "Locate the objects with category name in the image.",
                Boxes,
            ),
            Self::DenseRegionCaption => asks(
                "<DENSE_REGION_CAPTION>",
                "Locate the objects in the image, with their descriptions.",
                Boxes,
            ),
            Self::RegionProposal => asks(
                "<REGION_PROPOSAL>",
                "Locate the region proposals in the image.",
                BoxesWithoutLabels,
            ),
            Self::Ocr => asks("<OCR>", "What is the text in the image?", Text),
            Self::OcrWithRegion => asks(
                "<OCR_WITH_REGION>",
                "What is the text in the image, with regions?",
                Ocr,
            ),
            Self::CaptionToPhraseGrounding => asks_about(
                "<CAPTION_TO_PHRASE_GROUNDING>",
                "Locate the phrases in the caption: ",
                "",
                Grounding,
            ),
            Self::ReferringExpressionSegmentation => asks_about(
                "<REFERRING_EXPRESSION_SEGMENTATION>",
                "Locate ",
                " in the image with mask",
                Polygons,
            ),
            Self::RegionToSegmentation => asks_about(
                "<REGION_TO_SEGMENTATION>",
                "What is the polygon mask of region ",
                "",
                Polygons,
            ),
            Self::OpenVocabularyDetection => asks_about(
                "<OPEN_VOCABULARY_DETECTION>",
                "Locate ",
                " in the image.",
                BoxesOrPolygons,
            ),
            Self::RegionToCategory => {
                asks_about("<REGION_TO_CATEGORY>", "What is the region ", "?", Text)
            }
            Self::RegionToDescription => asks_about(
                "<REGION_TO_DESCRIPTION>",
                "What does the region ",
                " describe?",
                Text,
            ),
            Self::RegionToOcr => {
                asks_about("<REGION_TO_OCR>", "What text is in the region ", "?", Text)
            }
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

/// The input of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskInput {
    /// Text, or a region as `<loc_..>` tokens.
    Text(String),
    /// A box (x1, y1, x2, y2) in pixels of the image.
    Region([f64; 4]),
    /// A box (x1, y1, x2, y2) as fractions of the image's size, 0 to 1.
    NormalizedRegion([f64; 4]),
}

/// A prompt of the model.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// One of the known tasks.
    Task {
        /// The task.
        task: Task,
        /// The input, if the task needs one.
        input: Option<TaskInput>,
    },
    /// Free text, passed to the model unchanged, such as the prompts of a fine-tuned model. The
    /// answer is text.
    Text(String),
}

impl Prompt {
    /// Creates the prompt of a task with an input.
    pub fn with_input(task: Task, input: TaskInput) -> Self {
        Self::Task {
            task,
            input: Some(input),
        }
    }

    /// Parses a prompt as HF's processor does: a known task token with its input, otherwise free
    /// text.
    ///
    /// # Errors
    /// [`Error::UnexpectedInput`] if text accompanies the token of a task that takes no input.
    pub fn parse(text: &str) -> Result<Self> {
        let contained = Task::ALL
            .into_iter()
            .find(|task| text.contains(task.token()));
        let Some(task) = contained else {
            return Ok(Self::Text(text.to_owned()));
        };
        let rest = text.replace(task.token(), "");
        let input = match (task.needs_input(), rest.trim()) {
            (false, _) if text == task.token() => None,
            (false, _) => {
                return Err(Error::UnexpectedInput {
                    task: task.token(),
                    input: rest,
                });
            }
            (true, "") => None,
            (true, input) => Some(TaskInput::Text(input.to_owned())),
        };
        Ok(Self::Task { task, input })
    }

    /// The task; `None` for free text.
    pub fn task(&self) -> Option<Task> {
        match self {
            Self::Task { task, .. } => Some(*task),
            Self::Text(_) => None,
        }
    }

    /// The format of the answer.
    pub fn family(&self) -> AnswerFamily {
        self.task().map_or(AnswerFamily::Text, Task::family)
    }

    /// The key of the answer in HF's JSON: the task's token. For free text, the key is a token at
    /// its start, otherwise the text itself.
    pub fn key(&self) -> String {
        match self {
            Self::Task { task, .. } => task.token().to_owned(),
            Self::Text(text) => match (text.starts_with('<'), text.find('>')) {
                (true, Some(end)) => text[..=end].to_owned(),
                _ => text.clone(),
            },
        }
    }

    /// The input as text, with a region as `<loc_..>` tokens; `None` if there is no input.
    ///
    /// # Errors
    /// [`Error::Region`] if the region is not a box within the image.
    pub fn input_text(&self, image_size: ImageSize) -> Result<Option<String>> {
        let Self::Task {
            input: Some(input), ..
        } = self
        else {
            return Ok(None);
        };
        Ok(Some(match input {
            TaskInput::Text(text) => text.trim().to_owned(),
            TaskInput::Region(region) => region_text(*region, image_size)?,
            TaskInput::NormalizedRegion([x1, y1, x2, y2]) => {
                let (width, height) = (f64::from(image_size.width), f64::from(image_size.height));
                region_text(
                    [x1 * width, y1 * height, x2 * width, y2 * height],
                    image_size,
                )?
            }
        }))
    }

    /// The prompt's text as the tokenizer encodes it.
    ///
    /// # Errors
    /// [`Error::MissingInput`], [`Error::UnexpectedInput`], [`Error::Region`].
    pub fn expand(&self, image_size: ImageSize) -> Result<String> {
        let task = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::Task { task, .. } => *task,
        };
        let (before, after) = task.row().prompt;
        match (after, self.input_text(image_size)?) {
            (None, None) => Ok(before.to_owned()),
            (None, Some(input)) => Err(Error::UnexpectedInput {
                task: task.token(),
                input,
            }),
            (Some(_), None) => Err(missing_input(task)),
            (Some(_), Some(input)) if input.is_empty() => Err(missing_input(task)),
            (Some(after), Some(input)) => Ok(format!("{before}{input}{after}")),
        }
    }
}

fn missing_input(task: Task) -> Error {
    let expected = if task.needs_region() {
        "a region: a box, or its <loc_..> text"
    } else {
        "a text"
    };
    Error::MissingInput {
        task: task.token(),
        expected,
    }
}

impl From<Task> for Prompt {
    fn from(task: Task) -> Self {
        Self::Task { task, input: None }
    }
}

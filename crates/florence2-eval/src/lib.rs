//! Evaluation of Florence-2 on a data set.
//!
//! [`samples`] lists the images and prompts for which answers are required. A [`Record`] has the
//! truth of a sample and its answer, or the reason why there is none. [`evaluate`] computes the
//! metrics of all records, per task:
//!
//! | task | metrics |
//! |---|---|
//! | `<OD>`, `<DENSE_REGION_CAPTION>`, `<OPEN_VOCABULARY_DETECTION>` | average precision and recall of boxes, per label |
//! | `<REGION_PROPOSAL>` | the same, of all boxes as one class |
//! | `<CAPTION>`, `<DETAILED_CAPTION>`, `<MORE_DETAILED_CAPTION>`, `<REGION_TO_DESCRIPTION>` | CIDEr-D, BLEU-1 to BLEU-4 |
//! | `<REGION_TO_CATEGORY>` | ANLS and exact match, per category |
//! | `<OCR>`, `<REGION_TO_OCR>` | character and word error rate, exact match |
//! | `<OCR_WITH_REGION>` | the same of all lines joined by spaces; average precision of the lines' boxes as one class |
//! | `<CAPTION_TO_PHRASE_GROUNDING>` | accuracy of boxes at an IoU of 0.5, mean IoU |
//! | `<REFERRING_EXPRESSION_SEGMENTATION>`, `<REGION_TO_SEGMENTATION>` | mean and cumulative IoU of masks, per label |
//! | free text | ANLS and exact match; for examples whose truth has boxes, accuracy at an IoU of 0.5 |
//!
//! A failed sample counts as an empty answer. An evaluation does not depend on how the answers were
//! generated. [`evaluate_model`] generates them with a model in memory.
//!
//! - Labels of detections are compared exactly, apart from white space at both ends. Detections with a
//!   label that the data set does not have are not evaluated, as in pycocotools; [`BoxEvaluation`]
//!   counts them.
//! - A phrase of a caption with k true boxes is compared with its first k boxes in the answer: for k = 1,
//!   RefCOCO's accuracy. Phrases are compared without case. If the truth has only one phrase, labels of
//!   the answer are ignored.
//! - The mask of an answer is the union of its polygons, and the true mask the union of the true ones.
//!   Pixels of crowds are excluded, and so are samples without a true object.
//! - In transcriptions, white space and line breaks are reduced to single spaces.

mod boxes;
mod error;
mod evaluation;
mod grounding;
mod masks;
mod model;
mod options;
mod record;
mod sample;
mod task_metrics;
mod texts;

pub use boxes::{BoxEvaluation, Ranking};
pub use error::{Error, Result};
pub use evaluation::{Evaluation, FailedSample, TaskEvaluation, TaskScores, evaluate};
pub use model::{ModelOptions, evaluate_model};
pub use options::EvaluationOptions;
pub use record::{Prediction, Record};
pub use sample::{Sample, samples};

//! The metrics of a prompt.

use florence2_processor::{Prompt, Task};

/// The metrics that an answer is evaluated with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskMetrics {
    /// Average precision, per label.
    Detection,
    /// Average precision of all boxes as one class.
    Proposals,
    /// CIDEr-D and BLEU.
    Captions,
    /// ANLS and exact match, per true answer.
    Categories,
    /// Error rates.
    Transcriptions,
    /// Error rates of the joined text, and average precision of all boxes as one class.
    TextLines,
    /// Accuracy of boxes.
    Grounding,
    /// Mean and cumulative IoU.
    Masks,
    /// ANLS and exact match, or the accuracy of boxes.
    FreeText,
}

/// The name of a prompt's task and its metrics. The name of a task is its token. Free text is named
/// after the token at its start, such as `<VQA>`, and otherwise `text`.
pub(crate) fn of_prefix(prefix: &str) -> (String, TaskMetrics) {
    let prompt = Prompt::parse(prefix).unwrap_or_else(|_| Prompt::Text(prefix.to_owned()));
    match prompt.task() {
        Some(task) => (task.token().to_owned(), of_task(task)),
        None => (text_name(prefix), TaskMetrics::FreeText),
    }
}

fn text_name(prefix: &str) -> String {
    let token = prefix
        .strip_prefix('<')
        .and_then(|rest| rest.split_once('>'));
    match token {
        Some((name, _)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
            format!("<{name}>")
        }
        _ => "text".to_owned(),
    }
}

fn of_task(task: Task) -> TaskMetrics {
    match task {
        Task::ObjectDetection | Task::DenseRegionCaption | Task::OpenVocabularyDetection => {
            TaskMetrics::Detection
        }
        Task::RegionProposal => TaskMetrics::Proposals,
        Task::Caption
        | Task::DetailedCaption
        | Task::MoreDetailedCaption
        | Task::RegionToDescription => TaskMetrics::Captions,
        Task::RegionToCategory => TaskMetrics::Categories,
        Task::Ocr | Task::RegionToOcr => TaskMetrics::Transcriptions,
        Task::OcrWithRegion => TaskMetrics::TextLines,
        Task::CaptionToPhraseGrounding => TaskMetrics::Grounding,
        Task::ReferringExpressionSegmentation | Task::RegionToSegmentation => TaskMetrics::Masks,
    }
}

//! The samples of metrics of texts.

use florence2_metrics::caption::CaptionSample;
use florence2_metrics::text::{AnswerSample, TranscriptionSample};

use crate::record::Record;

pub(crate) fn caption_sample(record: &Record) -> CaptionSample {
    CaptionSample {
        candidate: record.text().to_owned(),
        references: record.truth.texts.clone(),
    }
}

/// An answer without a class.
pub(crate) fn answer_sample(record: &Record) -> AnswerSample {
    AnswerSample {
        class: None,
        prediction: record.text().to_owned(),
        answers: record.truth.texts.clone(),
    }
}

/// An answer whose class is the first true answer.
pub(crate) fn category_sample(record: &Record) -> AnswerSample {
    AnswerSample {
        class: record.truth.texts.first().cloned(),
        ..answer_sample(record)
    }
}

/// The text of an answer and the first reference.
pub(crate) fn transcription_sample(record: &Record) -> TranscriptionSample {
    let reference = record.truth.texts.first();
    TranscriptionSample {
        class: None,
        prediction: single_spaces(record.text()),
        reference: single_spaces(reference.map_or("", String::as_str)),
    }
}

/// The labels of all text lines, in the order of the answer and of the truth.
pub(crate) fn text_lines_sample(record: &Record) -> TranscriptionSample {
    let predicted = record.regions().iter().map(|region| region.label.as_str());
    let objects = record.true_objects();
    let reference = objects.map(|object| object.label.as_str());
    TranscriptionSample {
        class: None,
        prediction: single_spaces(&predicted.collect::<Vec<_>>().join(" ")),
        reference: single_spaces(&reference.collect::<Vec<_>>().join(" ")),
    }
}

/// Reduces white space, with line breaks, to single spaces: jiwer does not separate words at a single
/// line break.
pub(crate) fn single_spaces(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

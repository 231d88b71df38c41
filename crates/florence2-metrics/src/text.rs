//! Scores of answers and of transcriptions: ANLS, exact match, character and word error rate.

use std::fmt;

use serde::Serialize;

use crate::error::{InvalidValue, MetricsError};
use crate::group::{Group, by_class};
use crate::table::Table;
use crate::unicode::{is_space, split, strip};

/// Smallest similarity that counts in ANLS. A smaller one counts 0.
pub const ANLS_THRESHOLD: f64 = 0.5;

/// An answer to a question, and the true answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerSample {
    /// Class or other group of the sample, for the scores per class.
    pub class: Option<String>,
    /// The predicted answer: empty if there is none.
    pub prediction: String,
    /// The true answers, at least one. The best match counts.
    pub answers: Vec<String>,
}

/// Scores of answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AnswerScores {
    /// Average normalised Levenshtein similarity, from 0 to 1.
    #[serde(rename = "ANLS")]
    pub anls: f64,
    /// Fraction of predictions that equal a true answer, apart from white space at both ends.
    #[serde(rename = "exact match")]
    pub exact_match: f64,
    /// Number of samples.
    pub samples: usize,
}

/// Scores of answers, overall and per class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswerSummary {
    /// Scores of all samples.
    pub overall: AnswerScores,
    /// Scores of the samples of each class, sorted by class. Samples without a class are left out.
    pub classes: Vec<Group<AnswerScores>>,
}

/// Computes ANLS as the evaluation of ST-VQA and DocVQA does, and the exact match.
///
/// # Errors
///
/// If there are no samples, or if a sample has no true answers.
pub fn evaluate_answers(samples: &[AnswerSample]) -> Result<AnswerSummary, MetricsError> {
    let without_answers = samples
        .iter()
        .enumerate()
        .filter(|(_, sample)| sample.answers.is_empty());
    let invalid = without_answers.map(|(index, _)| InvalidValue {
        entry: format!("samples[{index}]"),
        field: "answers",
        found: "none".to_owned(),
        expected: "at least one".to_owned(),
    });
    MetricsError::check(invalid.collect())?;
    let values: Vec<[f64; 2]> = samples
        .iter()
        .map(|sample| {
            let is_equal = exact_match(&sample.prediction, &sample.answers);
            [
                anls(&sample.prediction, &sample.answers),
                f64::from(u8::from(is_equal)),
            ]
        })
        .collect();
    let overall = answer_scores(&values).ok_or(MetricsError::NoSamples)?;
    let classes = samples.iter().map(|sample| sample.class.as_deref());
    Ok(AnswerSummary {
        overall,
        classes: by_class(classes, &values, answer_scores),
    })
}

fn answer_scores(values: &[[f64; 2]]) -> Option<AnswerScores> {
    if values.is_empty() {
        return None;
    }
    let mean =
        |index: usize| values.iter().map(|pair| pair[index]).sum::<f64>() / values.len() as f64;
    Some(AnswerScores {
        anls: mean(0),
        exact_match: mean(1),
        samples: values.len(),
    })
}

/// Returns the largest normalised Levenshtein similarity with an answer, from 0.5 to 1, or 0 if it
/// is below 0.5. Both texts are lower-cased, and white space is reduced to single spaces.
pub fn anls<S: AsRef<str>>(prediction: &str, answers: &[S]) -> f64 {
    let prediction = normalise_answer(prediction);
    let similarity = |answer: &S| {
        let answer = normalise_answer(answer.as_ref());
        // The evaluation of DocVQA measures the length in upper case.
        let length = |text: &str| text.to_uppercase().chars().count();
        let longest = length(&prediction).max(length(&answer));
        if longest == 0 {
            return 1.0;
        }
        1.0 - strsim::levenshtein(&prediction, &answer) as f64 / longest as f64
    };
    let best = answers.iter().map(similarity).fold(0.0, f64::max);
    if best >= ANLS_THRESHOLD { best } else { 0.0 }
}

/// Whether a prediction equals one of the answers, apart from white space at both ends.
pub fn exact_match<S: AsRef<str>>(prediction: &str, answers: &[S]) -> bool {
    answers
        .iter()
        .any(|answer| strip(prediction) == strip(answer.as_ref()))
}

fn normalise_answer(text: &str) -> String {
    split(&text.to_lowercase()).collect::<Vec<_>>().join(" ")
}

/// A transcribed text, and the true one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptionSample {
    /// Class or other group of the sample, for the scores per class.
    pub class: Option<String>,
    /// The predicted text.
    pub prediction: String,
    /// The true text.
    pub reference: String,
}

/// Scores of transcriptions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TranscriptionScores {
    /// Character error rate: insertions, deletions and substitutions per character of the references.
    #[serde(rename = "CER")]
    pub character_error_rate: f64,
    /// Word error rate: insertions, deletions and substitutions per word of the references.
    #[serde(rename = "WER")]
    pub word_error_rate: f64,
    /// Fraction of predictions that equal the reference, apart from white space at both ends.
    #[serde(rename = "exact match")]
    pub exact_match: f64,
    /// Number of samples.
    pub samples: usize,
}

/// Scores of transcriptions, overall and per class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TranscriptionSummary {
    /// Scores of all samples.
    pub overall: TranscriptionScores,
    /// Scores of the samples of each class, sorted by class. Samples without a class are left out.
    pub classes: Vec<Group<TranscriptionScores>>,
}

/// Computes the character and the word error rate over all samples as jiwer does, and the exact
/// match.
///
/// Characters are Unicode scalar values, with spaces. Words are separated by spaces and by two or more
/// characters of white space, so that a single line break separates no words. White space at both ends
/// is ignored. If all references are empty, a rate is the number of insertions, as in jiwer.
///
/// # Errors
///
/// If there are no samples.
pub fn evaluate_transcriptions(
    samples: &[TranscriptionSample],
) -> Result<TranscriptionSummary, MetricsError> {
    let errors: Vec<Errors> = samples.iter().map(Errors::new).collect();
    let overall = transcription_scores(&errors).ok_or(MetricsError::NoSamples)?;
    let classes = samples.iter().map(|sample| sample.class.as_deref());
    Ok(TranscriptionSummary {
        overall,
        classes: by_class(classes, &errors, transcription_scores),
    })
}

/// Levenshtein distances of one sample, and the lengths of its reference.
#[derive(Clone, Copy)]
struct Errors {
    character_errors: usize,
    characters: usize,
    word_errors: usize,
    words: usize,
    is_equal: bool,
}

impl Errors {
    fn new(sample: &TranscriptionSample) -> Self {
        let [predicted, reference] = [strip(&sample.prediction), strip(&sample.reference)];
        let [predicted_words, reference_words] = [words(predicted), words(reference)];
        Self {
            character_errors: strsim::levenshtein(predicted, reference),
            characters: reference.chars().count(),
            word_errors: strsim::generic_levenshtein(&predicted_words, &reference_words),
            words: reference_words.len(),
            is_equal: predicted == reference,
        }
    }
}

/// jiwer's `wer_default`: `RemoveMultipleSpaces`, `Strip` and `ReduceToListOfListOfWords`.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let mut is_separator = character == ' ';
        if is_space(character) {
            while characters.next_if(|&next| is_space(next)).is_some() {
                is_separator = true;
            }
        }
        if is_separator {
            words.push(String::new());
        } else {
            words
                .last_mut()
                .expect("words begins with one")
                .push(character);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn transcription_scores(errors: &[Errors]) -> Option<TranscriptionScores> {
    if errors.is_empty() {
        return None;
    }
    let sum = |value: fn(&Errors) -> usize| errors.iter().map(value).sum::<usize>();
    // jiwer returns the number of insertions if there is nothing to divide by.
    let rate = |errors: usize, length: usize| errors as f64 / length.max(1) as f64;
    let equal = errors.iter().filter(|errors| errors.is_equal).count();
    Some(TranscriptionScores {
        character_error_rate: rate(sum(|e| e.character_errors), sum(|e| e.characters)),
        word_error_rate: rate(sum(|e| e.word_errors), sum(|e| e.words)),
        exact_match: equal as f64 / errors.len() as f64,
        samples: errors.len(),
    })
}

impl fmt::Display for AnswerSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |scores: &AnswerScores| ([scores.anls, scores.exact_match], scores.samples);
        Table::of_classes(["ANLS", "exact match"], &self.classes, &self.overall, row).fmt(f)
    }
}

impl fmt::Display for TranscriptionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |scores: &TranscriptionScores| {
            (
                [
                    scores.character_error_rate,
                    scores.word_error_rate,
                    scores.exact_match,
                ],
                scores.samples,
            )
        };
        Table::of_classes(
            ["CER", "WER", "exact match"],
            &self.classes,
            &self.overall,
            row,
        )
        .fmt(f)
    }
}

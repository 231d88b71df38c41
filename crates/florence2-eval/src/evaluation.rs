//! Evaluation of records.

use std::collections::BTreeMap;
use std::fmt;

use florence2_metrics::MetricsError;
use florence2_metrics::caption::{self, CaptionSummary};
use florence2_metrics::grounding::{self, GroundingSummary};
use florence2_metrics::mask::{self, MaskSummary};
use florence2_metrics::text::{
    AnswerSample, AnswerSummary, TranscriptionSummary, evaluate_answers, evaluate_transcriptions,
};
use serde::Serialize;
use serde_json::Value;

use crate::boxes::{BoxEvaluation, Labels, evaluate_boxes};
use crate::error::{Error, Result};
use crate::grounding::grounding_samples;
use crate::masks::mask_sample;
use crate::options::EvaluationOptions;
use crate::record::Record;
use crate::task_metrics::{TaskMetrics, of_prefix};
use crate::texts::{
    answer_sample, caption_sample, category_sample, text_lines_sample, transcription_sample,
};

/// The result of an evaluation.
///
/// Its `Display` form has a table per task, with a row per class if the metric has classes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// The result of each task, in the order of the data set.
    pub tasks: Vec<TaskEvaluation>,
    /// The samples without an answer, in the order of the data set.
    pub failures: Vec<FailedSample>,
}

/// The result of one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TaskEvaluation {
    /// The task's token. Free text has the token at its start, such as `<VQA>`, or `text`.
    pub task: String,
    /// The number of samples.
    pub samples: usize,
    /// The number of samples without an answer. They count as empty answers.
    pub failed: usize,
    /// The metrics.
    #[serde(flatten)]
    pub scores: TaskScores,
}

/// The metrics of a task; `None` for those that it does not have.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TaskScores {
    /// Average precision of boxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detection: Option<BoxEvaluation>,
    /// Accuracy of boxes at an IoU of 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grounding: Option<GroundingSummary>,
    /// CIDEr-D and BLEU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub captions: Option<CaptionSummary>,
    /// ANLS and exact match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<AnswerSummary>,
    /// Character and word error rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcriptions: Option<TranscriptionSummary>,
    /// Mean and cumulative IoU of masks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masks: Option<MaskSummary>,
}

/// A sample without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FailedSample {
    /// The place of the example in the data set.
    pub source: String,
    /// The image file.
    pub image: String,
    /// The reason.
    pub error: String,
}

/// Computes the metrics of each task.
///
/// # Errors
/// [`Error::Metrics`] and [`Error::Mask`] if a metric cannot use a value, such as a mask of another
/// size than its image.
pub fn evaluate(records: &[Record], options: &EvaluationOptions) -> Result<Evaluation> {
    let mut groups: Vec<(String, TaskMetrics, Vec<&Record>)> = Vec::new();
    for record in records {
        let (task, metrics) = of_prefix(&record.prefix);
        match groups.iter_mut().find(|group| group.0 == task) {
            Some(group) => group.2.push(record),
            None => groups.push((task, metrics, vec![record])),
        }
    }
    let tasks = groups
        .into_iter()
        .map(|(task, metrics, records)| evaluate_task(task, metrics, &records, options));
    let failures = records.iter().filter_map(|record| {
        Some(FailedSample {
            source: record.source.to_string(),
            image: record.image.display().to_string(),
            error: record.outcome.as_ref().err()?.clone(),
        })
    });
    Ok(Evaluation {
        tasks: tasks.collect::<Result<_>>()?,
        failures: failures.collect(),
    })
}

fn evaluate_task(
    task: String,
    metrics: TaskMetrics,
    records: &[&Record],
    options: &EvaluationOptions,
) -> Result<TaskEvaluation> {
    let scores = scores(metrics, records, options).map_err(|failed| failed.in_task(&task))?;
    let failed = records.iter().filter(|record| record.outcome.is_err());
    Ok(TaskEvaluation {
        samples: records.len(),
        failed: failed.count(),
        scores,
        task,
    })
}

/// An error without the task's name.
enum Failed {
    Metrics(MetricsError),
    Other(Error),
}

impl From<MetricsError> for Failed {
    fn from(error: MetricsError) -> Self {
        Self::Metrics(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Failed {
    fn in_task(self, task: &str) -> Error {
        match self {
            Self::Metrics(source) => Error::Metrics {
                task: task.to_owned(),
                source,
            },
            Self::Other(error) => error,
        }
    }
}

fn scores(
    metrics: TaskMetrics,
    records: &[&Record],
    options: &EvaluationOptions,
) -> Result<TaskScores, Failed> {
    let mut scores = TaskScores::default();
    match metrics {
        TaskMetrics::Detection => {
            scores.detection = Some(evaluate_boxes(records, Labels::Classes, options)?);
        }
        TaskMetrics::Proposals => {
            let labels = Labels::Ignored("region");
            scores.detection = Some(evaluate_boxes(records, labels, options)?);
        }
        TaskMetrics::Captions => {
            let samples = of_each(records, caption_sample);
            scores.captions = some(&samples, caption::evaluate)?;
        }
        TaskMetrics::Categories => {
            let samples = of_each(records, category_sample);
            scores.answers = some(&samples, evaluate_answers)?;
        }
        TaskMetrics::Transcriptions => {
            let samples = of_each(records, transcription_sample);
            scores.transcriptions = some(&samples, evaluate_transcriptions)?;
        }
        TaskMetrics::TextLines => {
            let samples = of_each(records, text_lines_sample);
            scores.transcriptions = some(&samples, evaluate_transcriptions)?;
            let labels = Labels::Ignored("text");
            scores.detection = Some(evaluate_boxes(records, labels, options)?);
        }
        TaskMetrics::Grounding => scores.grounding = grounding_scores(records)?,
        TaskMetrics::FreeText => {
            let (with_boxes, others): (Vec<&Record>, Vec<&Record>) = records
                .iter()
                .partition(|record| record.true_objects().next().is_some());
            scores.grounding = grounding_scores(&with_boxes)?;
            let samples: Vec<AnswerSample> = of_each(&others, answer_sample);
            scores.answers = some(&samples, evaluate_answers)?;
        }
        TaskMetrics::Masks => {
            let samples = records
                .iter()
                .filter_map(|record| mask_sample(record).transpose());
            scores.masks = some(&samples.collect::<Result<Vec<_>>>()?, mask::evaluate)?;
        }
    }
    Ok(scores)
}

fn of_each<S>(records: &[&Record], sample: impl Fn(&Record) -> S) -> Vec<S> {
    records.iter().map(|record| sample(record)).collect()
}

/// The summary of samples; `None` without samples.
fn some<S, T>(
    samples: &[S],
    evaluate: impl Fn(&[S]) -> Result<T, MetricsError>,
) -> Result<Option<T>, MetricsError> {
    if samples.is_empty() {
        return Ok(None);
    }
    evaluate(samples).map(Some)
}

fn grounding_scores(records: &[&Record]) -> Result<Option<GroundingSummary>, MetricsError> {
    let samples = records.iter().flat_map(|record| grounding_samples(record));
    some(&samples.collect::<Vec<_>>(), grounding::evaluate)
}

impl Evaluation {
    /// The overall scores by the names of a training's metrics: `eval_AP`, `eval_AP50`,
    /// `eval_CIDEr-D`, `eval_exact_match`, ... With several tasks, the names contain the task:
    /// `eval_OD_AP`. Scores that do not exist, such as the average precision of small objects without
    /// any, have no entry.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let mut metrics = BTreeMap::new();
        for task in &self.tasks {
            let name = task.task.trim_start_matches('<').trim_end_matches('>');
            let prefix = match self.tasks.len() {
                1 => "eval_".to_owned(),
                _ => format!("eval_{name}_"),
            };
            let scores = task.scores.overall();
            metrics.extend(scores.map(|(score, value)| (prefix.clone() + &score, value)));
        }
        metrics
    }
}

impl TaskScores {
    /// The overall scores by their names, with `_` for spaces.
    fn overall(&self) -> impl Iterator<Item = (String, f64)> {
        let detection = self.detection.as_ref();
        let scores = [
            detection.map(|scores| serde_json::to_value(scores.summary.overall)),
            self.grounding
                .as_ref()
                .map(|s| serde_json::to_value(s.overall)),
            self.captions
                .as_ref()
                .map(|s| serde_json::to_value(s.overall)),
            self.answers
                .as_ref()
                .map(|s| serde_json::to_value(s.overall)),
            self.transcriptions
                .as_ref()
                .map(|s| serde_json::to_value(s.overall)),
            self.masks.as_ref().map(|s| serde_json::to_value(s.overall)),
        ];
        let objects = scores
            .into_iter()
            .flatten()
            .filter_map(|scores| match scores {
                Ok(Value::Object(scores)) => Some(scores),
                _ => None,
            });
        let scores = objects.flatten().filter(|(name, _)| name != "samples");
        scores.filter_map(|(name, value)| Some((name.replace(' ', "_"), value.as_f64()?)))
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, task) in self.tasks.iter().enumerate() {
            if index > 0 {
                writeln!(f, "\n")?;
            }
            write!(f, "{task}")?;
        }
        Ok(())
    }
}

impl fmt::Display for TaskEvaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.samples == 1 { "" } else { "s" };
        write!(f, "{}: {} sample{plural}", self.task, self.samples)?;
        if self.failed > 0 {
            write!(f, ", {} without an answer", self.failed)?;
        }
        let TaskScores {
            detection,
            grounding,
            captions,
            answers,
            transcriptions,
            masks,
        } = &self.scores;
        let tables: [Option<&dyn fmt::Display>; 6] = [
            detection.as_ref().map(|table| table as _),
            grounding.as_ref().map(|table| table as _),
            captions.as_ref().map(|table| table as _),
            answers.as_ref().map(|table| table as _),
            transcriptions.as_ref().map(|table| table as _),
            masks.as_ref().map(|table| table as _),
        ];
        let mut is_empty = true;
        for table in tables.into_iter().flatten() {
            is_empty = false;
            write!(f, "\n{table}")?;
        }
        if is_empty {
            write!(f, "\nno true objects")?;
        }
        Ok(())
    }
}

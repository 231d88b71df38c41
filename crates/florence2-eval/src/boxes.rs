//! Average precision of boxes.

use std::collections::BTreeMap;
use std::fmt;

use florence2_metrics::MetricsError;
use florence2_metrics::detection::{
    Annotation, Category, Detection, DetectionDataset, DetectionSummary, IouType, evaluate,
};
use serde::Serialize;

use crate::options::EvaluationOptions;
use crate::record::{PredictedObject, Record, xywh};

/// The number of labels in the table that the data set does not have. JSON has all of them.
const SHOWN_LABELS: usize = 10;

/// Average precision and recall of boxes: pycocotools' `COCOeval` with `iouType` `bbox`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BoxEvaluation {
    /// The order of the detections.
    pub ranking: Ranking,
    /// The detections whose label the data set does not have, by label. They are not evaluated.
    pub unknown_labels: BTreeMap<String, usize>,
    /// The scores.
    #[serde(flatten)]
    pub summary: DetectionSummary,
}

/// The order of detections, on which the average precision depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ranking {
    /// By decreasing [`RegionScore::overall`](florence2_postprocess::RegionScore::overall).
    Score,
    /// All detections have the same score. They are in the order of the samples and the answers.
    Order,
}

/// The meaning of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Labels {
    /// Labels are classes.
    Classes,
    /// All boxes have this class.
    Ignored(&'static str),
}

/// Evaluates the boxes of all records.
pub(crate) fn evaluate_boxes(
    records: &[&Record],
    labels: Labels,
    options: &EvaluationOptions,
) -> Result<BoxEvaluation, MetricsError> {
    let classes = Classes::new(records, labels, &options.classes);
    let ranking = ranking(records, options);
    let mut dataset = DetectionDataset {
        images: (0..records.len() as u64).collect(),
        categories: classes.categories(),
        annotations: Vec::new(),
    };
    let mut detections = Vec::new();
    let mut unknown_labels = BTreeMap::new();
    for (image_id, record) in (0..).zip(records) {
        dataset
            .annotations
            .extend(classes.annotations(image_id, record));
        for object in record.objects() {
            match classes.detection(image_id, &object, ranking) {
                Some(detection) => detections.push(detection),
                None => *unknown_labels.entry(object.label.to_owned()).or_default() += 1,
            }
        }
    }
    Ok(BoxEvaluation {
        ranking,
        unknown_labels,
        summary: evaluate(&dataset, &detections, IouType::Bbox)?,
    })
}

/// Scores are used if all detections have one.
fn ranking(records: &[&Record], options: &EvaluationOptions) -> Ranking {
    let mut regions = records.iter().flat_map(|record| record.regions());
    let is_scored = options.use_scores && regions.all(|region| region.score.is_some());
    if is_scored {
        Ranking::Score
    } else {
        Ranking::Order
    }
}

/// The classes by label.
struct Classes {
    labels: Labels,
    ids: BTreeMap<String, u64>,
}

impl Classes {
    /// The classes of the data set in their order, then other labels of true objects, sorted.
    fn new(records: &[&Record], labels: Labels, listed: &[String]) -> Self {
        let mut classes = Self {
            labels,
            ids: BTreeMap::new(),
        };
        if let Labels::Ignored(name) = labels {
            classes.add(name);
            return classes;
        }
        for label in listed {
            classes.add(label);
        }
        let objects = records.iter().flat_map(|record| &record.truth.objects);
        let mut others: Vec<&str> = objects.map(|object| object.label.as_str()).collect();
        others.sort_unstable();
        for label in others {
            classes.add(label);
        }
        classes
    }

    fn add(&mut self, label: &str) {
        let id = self.ids.len() as u64;
        self.ids.entry(label.trim().to_owned()).or_insert(id);
    }

    fn categories(&self) -> Vec<Category> {
        let category = |(name, id): (&String, &u64)| Category {
            id: *id,
            name: name.clone(),
        };
        self.ids.iter().map(category).collect()
    }

    fn id(&self, label: &str) -> Option<u64> {
        match self.labels {
            Labels::Classes => self.ids.get(label.trim()).copied(),
            Labels::Ignored(_) => Some(0),
        }
    }

    fn annotations(&self, image_id: u64, record: &Record) -> Vec<Annotation> {
        let objects = record.truth.objects.iter();
        let annotations = objects.map(|object| Annotation {
            image_id,
            // INVARIANT: `new` added the labels of all true objects.
            category_id: self.id(&object.label).expect("a class"),
            bbox: xywh(object.bounding_box),
            area: object.area,
            iscrowd: object.is_crowd,
            mask: None,
        });
        annotations.collect()
    }

    /// The detection of an object; `None` if its label is not a class.
    fn detection(
        &self,
        image_id: u64,
        object: &PredictedObject<'_>,
        ranking: Ranking,
    ) -> Option<Detection> {
        let score = object.score.filter(|_| ranking == Ranking::Score);
        Some(Detection {
            image_id,
            category_id: self.id(object.label)?,
            bbox: xywh(object.bounding_box),
            score: score.map(|score| f64::from(score.overall)),
            mask: None,
        })
    }
}

impl fmt::Display for BoxEvaluation {
    /// The table, and the most frequent labels that the data set does not have.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.summary)?;
        let ranking = match self.ranking {
            Ranking::Score => "score",
            Ranking::Order => "order in the answer",
        };
        write!(f, "\ndetections are ranked by: {ranking}")?;
        if self.unknown_labels.is_empty() {
            return Ok(());
        }
        let mut labels: Vec<(&String, &usize)> = self.unknown_labels.iter().collect();
        labels.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let shown = labels.iter().take(SHOWN_LABELS);
        let shown: Vec<String> = shown
            .map(|(label, count)| format!("{} ({count})", label.replace(char::is_control, " ")))
            .collect();
        write!(
            f,
            "\ndetections with a label that the data set lacks, not evaluated: "
        )?;
        write!(f, "{}", shown.join(", "))?;
        match labels.len().saturating_sub(SHOWN_LABELS) {
            0 => Ok(()),
            more => write!(f, " and {more} more labels"),
        }
    }
}

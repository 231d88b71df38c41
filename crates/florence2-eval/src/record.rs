//! The outcome of a sample: its truth, and its answer or the reason why there is none.

use std::path::PathBuf;

use florence2_dataset::{Outline, Source, Truth, TruthObject};
use florence2_postprocess::{BoundingBox, ImageSize, Region, RegionScore, Shape, TaskResult};
use serde_json::{Value, json};

use crate::sample::Sample;

/// The size of an image that cannot be decoded and has no annotated size. It determines the pixels of
/// the true regions, all of which count as missed.
const UNKNOWN_SIZE: ImageSize = ImageSize {
    width: 1000,
    height: 1000,
};

/// A parsed answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prediction {
    /// The text, without special tokens.
    pub text: String,
    /// The regions in pixels, in the order of the answer.
    pub regions: Vec<Region>,
}

impl From<TaskResult> for Prediction {
    fn from(result: TaskResult) -> Self {
        Self {
            text: result.text,
            regions: result.regions,
        }
    }
}

/// A sample with its truth and its answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The image file.
    pub image: PathBuf,
    /// The place of the first example in the data set.
    pub source: Source,
    /// The prompt: a task token with its input, or free text.
    pub prefix: String,
    /// The size of the image in pixels; that of the annotation if the image cannot be decoded, or
    /// 1000x1000 without an annotated size.
    pub image_size: ImageSize,
    /// The truth, in pixels.
    pub truth: Truth,
    /// The answer, or the reason why there is none. A failure counts as an empty answer.
    pub outcome: Result<Prediction, String>,
}

impl Record {
    /// The record of an answer. `image_size` is the size of the decoded image. It is a failure if the
    /// annotation states another size, since the coordinates of both cannot be compared then.
    pub fn answered(sample: &Sample<'_>, image_size: ImageSize, prediction: Prediction) -> Self {
        let annotated = sample.example().annotated_size();
        match annotated.filter(|annotated| *annotated != image_size) {
            None => Self::new(sample, image_size, Ok(prediction)),
            Some(expected) => {
                let reason = format!(
                    "{}: found an image of {}x{} pixels, expected {}x{} as annotated",
                    sample.example().image.display(),
                    image_size.width,
                    image_size.height,
                    expected.width,
                    expected.height
                );
                Self::new(sample, expected, Err(reason))
            }
        }
    }

    /// The record of a sample that has no answer. `image_size` is the size of the decoded image, if it
    /// is known.
    pub fn failed(
        sample: &Sample<'_>,
        image_size: Option<ImageSize>,
        reason: impl Into<String>,
    ) -> Self {
        let annotated = sample.example().annotated_size();
        let size = annotated.or(image_size).unwrap_or(UNKNOWN_SIZE);
        Self::new(sample, size, Err(reason.into()))
    }

    fn new(
        sample: &Sample<'_>,
        image_size: ImageSize,
        outcome: Result<Prediction, String>,
    ) -> Self {
        let example = sample.example();
        Self {
            image: example.image.clone(),
            source: example.source.clone(),
            prefix: example.prefix.clone(),
            image_size,
            truth: sample.truth(image_size),
            outcome,
        }
    }

    /// The text of the answer; empty for a failure.
    pub(crate) fn text(&self) -> &str {
        self.outcome.as_ref().map_or("", |answer| &answer.text)
    }

    /// The regions of the answer; none for a failure.
    pub(crate) fn regions(&self) -> &[Region] {
        let regions = self.outcome.as_ref().map(|answer| &answer.regions);
        regions.map_or(&[], Vec::as_slice)
    }

    /// The objects of the answer in its order. Rings of one object share a box.
    pub(crate) fn objects(&self) -> Vec<PredictedObject<'_>> {
        let objects = self.regions().chunk_by(|a, b| a.instance == b.instance);
        objects
            .map(|rings| {
                let points = rings.iter().flat_map(|ring| ring.shape.points());
                PredictedObject {
                    label: rings[0].label.trim(),
                    bounding_box: Shape::Polygon(points.collect()).bounding_box(),
                    score: rings[0].score,
                }
            })
            .collect()
    }

    /// The true objects without crowds.
    pub(crate) fn true_objects(&self) -> impl Iterator<Item = &TruthObject> {
        let objects = self.truth.objects.iter();
        objects.filter(|object| !object.is_crowd)
    }

    /// The record as a JSON object with the keys `image`, `source`, `prompt`, `width`, `height`,
    /// `answer` (null for a failure), `error` (null for an answer) and `truth`.
    pub fn to_json(&self) -> Value {
        let answer = self
            .outcome
            .as_ref()
            .ok()
            .map(|answer| json!({ "text": answer.text, "regions": answer.regions }));
        let objects: Vec<Value> = self.truth.objects.iter().map(object_json).collect();
        json!({
            "image": self.image.display().to_string(),
            "source": self.source.to_string(),
            "prompt": self.prefix,
            "width": self.image_size.width,
            "height": self.image_size.height,
            "answer": answer,
            "error": self.outcome.as_ref().err(),
            "truth": { "texts": self.truth.texts, "objects": objects },
        })
    }
}

/// An object of an answer.
pub(crate) struct PredictedObject<'a> {
    pub(crate) label: &'a str,
    pub(crate) bounding_box: BoundingBox,
    pub(crate) score: Option<RegionScore>,
}

/// A box as the metrics have it: [x, y, width, height].
pub(crate) fn xywh(bounding_box: BoundingBox) -> [f64; 4] {
    let BoundingBox { x1, y1, x2, y2 } = bounding_box.sorted();
    [x1, y1, x2 - x1, y2 - y1]
}

fn object_json(object: &TruthObject) -> Value {
    let mut json = json!({
        "label": object.label,
        "bounding_box": object.bounding_box,
        "iscrowd": object.is_crowd,
        "area": object.area,
    });
    match &object.outline {
        Outline::Quad(corners) => json["quad"] = json!(corners),
        Outline::Polygons(rings) => json["polygons"] = json!(rings),
        Outline::Rle(mask) => {
            json["mask"] = json!({
                "size": [mask.size.height, mask.size.width],
                "counts": mask.counts,
            });
        }
        _ => {}
    }
    json
}

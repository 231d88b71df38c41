//! What an answer holds, typed and as Hugging Face's JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{AnswerFamily, Compat};

/// What a region's points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegionKind {
    /// Two points: the corners (x1, y1) and (x2, y2).
    Box,
    /// Four points: the corners of a text line, as the model wrote them.
    Quad,
    /// One point per vertex of a ring.
    Polygon,
}

/// How sure the model was of a region: exponentials of mean token log-probabilities, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RegionScore {
    /// Over the label's and the location tokens together.
    pub overall: f32,
    /// Over the label's tokens, shared by the regions of one phrase; none when the region has no
    /// label.
    pub label: Option<f32>,
    /// Over the location tokens.
    pub locations: f32,
}

/// A place in the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// What the points are.
    pub kind: RegionKind,
    /// What is there; empty when the task names nothing.
    pub label: String,
    /// Points (x, y) in pixels of the source image.
    pub points: Vec<[f64; 2]>,
    /// The instance that this region belongs to: rings of one object share it.
    pub instance: usize,
    /// How sure the model was; none without token log-probabilities.
    pub score: Option<RegionScore>,
}

/// A parsed answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// How the answer was parsed.
    pub family: AnswerFamily,
    /// Which coordinates the regions have.
    pub compat: Compat,
    /// The answer as plain text: frame tokens and surrounding space removed, locations kept.
    pub text: String,
    /// Exponential of the mean log-probability of the answer's tokens, frame tokens left out; none
    /// without token log-probabilities.
    pub score: Option<f32>,
    /// The regions, in the order of the answer. A plain text may hold boxes too, which have no part
    /// in HF's result: they are labelled with the words right before them.
    pub regions: Vec<Region>,
}

impl TaskResult {
    /// What HF's `post_process_generation` returns: the answer keyed by the task's token.
    pub fn to_hf_json(&self, task_token: &str) -> Value {
        let answer = match self.family {
            AnswerFamily::Text => json!(self.text),
            AnswerFamily::Boxes | AnswerFamily::BoxesWithoutLabels | AnswerFamily::Grounding => {
                let (bboxes, labels) = self.flat(RegionKind::Box);
                json!({ "bboxes": bboxes, "labels": labels })
            }
            AnswerFamily::Ocr => {
                let (quad_boxes, labels) = self.flat(RegionKind::Quad);
                json!({ "quad_boxes": quad_boxes, "labels": labels })
            }
            AnswerFamily::Polygons => {
                let (polygons, labels) = self.instances();
                json!({ "polygons": polygons, "labels": labels })
            }
            AnswerFamily::BoxesOrPolygons => {
                let (bboxes, bboxes_labels) = self.flat(RegionKind::Box);
                let (polygons, polygons_labels) = self.instances();
                json!({
                    "bboxes": bboxes,
                    "bboxes_labels": bboxes_labels,
                    "polygons": polygons,
                    "polygons_labels": polygons_labels,
                })
            }
        };
        json!({ task_token: answer })
    }

    /// Coordinates and labels of every region of a kind.
    fn flat(&self, kind: RegionKind) -> (Vec<Value>, Vec<&str>) {
        let regions = self.regions.iter().filter(|region| region.kind == kind);
        regions
            .map(|region| (self.coordinates(region), region.label.as_str()))
            .unzip()
    }

    /// Rings per polygon instance, and labels per instance.
    fn instances(&self) -> (Vec<Vec<Value>>, Vec<&str>) {
        let (mut polygons, mut labels) = (Vec::<Vec<Value>>::new(), Vec::new());
        let mut previous = None;
        for region in &self.regions {
            if region.kind != RegionKind::Polygon {
                continue;
            }
            if previous != Some(region.instance) {
                previous = Some(region.instance);
                polygons.push(Vec::new());
                labels.push(region.label.as_str());
            }
            if let Some(rings) = polygons.last_mut() {
                rings.push(self.coordinates(region));
            }
        }
        (polygons, labels)
    }

    /// `[x1, y1, x2, y2, ..]`.
    fn coordinates(&self, region: &Region) -> Value {
        let coordinates = region.points.iter().flatten();
        match self.compat {
            Compat::Centers => coordinates.copied().collect(),
            Compat::Hf => coordinates.map(|value| *value as i64).collect(),
        }
    }
}

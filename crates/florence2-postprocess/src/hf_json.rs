//! Results in the JSON of Hugging Face's `post_process_generation`.

use serde_json::{Value, json};

use crate::types::{Coordinates, PostProcessingType, Region, RegionKind, TaskResult};

impl TaskResult {
    /// The result of HF's `post_process_generation`: the answer keyed by the task's token.
    pub fn to_hf_json(&self, task_token: &str) -> Value {
        let answer = match self.post_processing_type {
            PostProcessingType::PureText => json!(self.text),
            PostProcessingType::DescriptionWithBboxes
            | PostProcessingType::Bboxes
            | PostProcessingType::PhraseGrounding => {
                let (bboxes, labels) = self.flat(RegionKind::Box);
                json!({ "bboxes": bboxes, "labels": labels })
            }
            PostProcessingType::Ocr => {
                let (quad_boxes, labels) = self.flat(RegionKind::Quad);
                json!({ "quad_boxes": quad_boxes, "labels": labels })
            }
            PostProcessingType::Polygons => {
                let (polygons, labels) = self.instances();
                json!({ "polygons": polygons, "labels": labels })
            }
            PostProcessingType::DescriptionWithBboxesOrPolygons => {
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
        match self.coordinates {
            Coordinates::BinCenters => coordinates.copied().collect(),
            Coordinates::HfIntegers => coordinates.map(|value| *value as i64).collect(),
        }
    }
}

//! Results in the JSON of Hugging Face's `post_process_generation`.

use serde_json::{Value, json};

use crate::region::Region;
use crate::shape::Shape;
use crate::types::{Coordinates, PostProcessingType, TaskResult};

impl TaskResult {
    /// The result of HF's `post_process_generation`: the answer keyed by the task's token.
    pub fn to_hf_json(&self, task_token: &str) -> Value {
        let answer = match self.post_processing_type {
            PostProcessingType::PureText => json!(self.text),
            PostProcessingType::DescriptionWithBboxes
            | PostProcessingType::Bboxes
            | PostProcessingType::PhraseGrounding => {
                let (bboxes, labels) = self.flat(|shape| matches!(shape, Shape::Box(_)));
                json!({ "bboxes": bboxes, "labels": labels })
            }
            PostProcessingType::Ocr => {
                let (quad_boxes, labels) = self.flat(|shape| matches!(shape, Shape::Quad(_)));
                json!({ "quad_boxes": quad_boxes, "labels": labels })
            }
            PostProcessingType::Polygons => {
                let (polygons, labels) = self.instances();
                json!({ "polygons": polygons, "labels": labels })
            }
            PostProcessingType::DescriptionWithBboxesOrPolygons => {
                let (bboxes, bboxes_labels) = self.flat(|shape| matches!(shape, Shape::Box(_)));
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

    /// Coordinates and labels of every region whose shape is selected.
    fn flat(&self, is_selected: fn(&Shape) -> bool) -> (Vec<Value>, Vec<&str>) {
        let regions = self.regions.iter();
        let regions = regions.filter(|region| is_selected(&region.shape));
        regions
            .map(|region| (self.coordinates(region), region.label.as_str()))
            .unzip()
    }

    /// Rings per polygon instance, and labels per instance.
    fn instances(&self) -> (Vec<Vec<Value>>, Vec<&str>) {
        let (mut polygons, mut labels) = (Vec::<Vec<Value>>::new(), Vec::new());
        let mut previous = None;
        for region in &self.regions {
            if !matches!(region.shape, Shape::Polygon(_)) {
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
        let coordinates = region.shape.points().into_iter().flatten();
        match self.coordinates {
            Coordinates::BinCenters => coordinates.collect(),
            Coordinates::HfIntegers => coordinates.map(|value| value as i64).collect(),
        }
    }
}

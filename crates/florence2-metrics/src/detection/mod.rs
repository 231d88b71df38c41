//! Average precision and recall of object detection, as pycocotools' `COCOeval` computes them.
//!
//! Thresholds of the intersection over union are 0.50 to 0.95 in steps of 0.05, precision is
//! interpolated at 101 recalls, and at most 1, 10 or 100 detections per image and class count.

mod accumulate;
mod dataset;
mod matching;
mod params;
mod summary;
mod validate;

pub use dataset::{Annotation, Category, Detection, DetectionDataset, IouType};
pub use summary::{ClassSummary, DetectionScores, DetectionSummary, evaluate};

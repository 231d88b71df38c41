//! Metrics of vision-language models, as pure functions. Each equals its reference implementation
//! within 1e-6:
//!
//! | module | metrics | reference |
//! |---|---|---|
//! | [`detection`] | average precision and recall of boxes and masks | pycocotools' `COCOeval` |
//! | [`mask`] | run-length masks, rasterised polygons, mean and cumulative IoU | pycocotools' `mask` |
//! | [`caption`] | BLEU-1 to BLEU-4, CIDEr-D, tokenizer | pycocoevalcap |
//! | [`text`] | ANLS, exact match, character and word error rate | evaluation of DocVQA, jiwer |
//! | [`grounding`] | accuracy at an IoU of 0.5 | RefCOCO's definition |
//!
//! Each `evaluate` function returns a summary, which implements `serde::Serialize` with the field's
//! names (`AP50`, `CIDEr-D`) and `Display` as a table. Invalid values are errors that list them all.
//!
//! ```
//! use florence2_metrics::text::{AnswerSample, evaluate_answers};
//!
//! let samples = [AnswerSample {
//!     class: None,
//!     prediction: "libflorence".to_owned(),
//!     answers: vec!["LibFlorence2".to_owned(), "Florence".to_owned()],
//! }];
//! let summary = evaluate_answers(&samples)?;
//! assert!((summary.overall.anls - 11.0 / 12.0).abs() < 1e-12);
//! println!("{summary}");
//! # Ok::<(), florence2_metrics::MetricsError>(())
//! ```

mod bbox;
pub mod caption;
pub mod detection;
mod error;
pub mod grounding;
mod group;
pub mod mask;
mod table;
pub mod text;
mod unicode;

pub use bbox::{box_iou, box_iou_with_crowd};
pub use error::{InvalidValue, MaskError, MetricsError};
pub use group::Group;

//! Parsing of Florence-2's answers: from generated text to boxes, quads, polygons and labels. The
//! inverse, [`write()`], makes the texts that a model is trained on.
//!
//! [`parse`] implements transformers' `Florence2PostProcessor`, in linear time on any input, and
//! adds a confidence to every region. It depends on neither tokenizer nor model. [`parse_with`] takes
//! a [`PostProcessorConfig`] other than that of the published checkpoints.
//!
//! ```
//! use florence2_postprocess::{PostProcessingType, Coordinates, ImageSize, ScoredText, Shape, parse};
//!
//! let answer = ScoredText::unscored("</s><s>car<loc_53><loc_333><loc_933><loc_774></s>");
//! let size = ImageSize { width: 640, height: 480 };
//! let result = parse(&answer, PostProcessingType::DescriptionWithBboxes, size, Coordinates::HfIntegers);
//! assert_eq!(result.regions[0].label, "car");
//! assert_eq!(result.regions[0].shape, Shape::Box([34.0, 160.0, 597.0, 371.0].into()));
//! ```
//!
//! ```
//! use florence2_postprocess::{
//!     ImageSize, PostProcessingType, Region, Shape, WriteError, WriteOptions, write_regions,
//! };
//!
//! let car = Region::new(Shape::Box([34.0, 160.0, 597.5, 371.8].into()), "car", 0);
//! let size = ImageSize { width: 640, height: 480 };
//! let task = PostProcessingType::DescriptionWithBboxes;
//! let text = write_regions(&[car], task, size, &WriteOptions::default())?;
//! assert_eq!(text, "car<loc_53><loc_333><loc_933><loc_774>");
//! # Ok::<(), WriteError>(())
//! ```

mod config;
mod hf_json;
mod parse;
mod quantizer;
mod region;
mod scanner;
mod score;
mod shape;
mod steps;
mod types;
mod write;

pub use config::PostProcessorConfig;
pub use parse::{parse, parse_with};
pub use quantizer::{BINS, Quantizer};
pub use region::{Region, RegionScore};
pub use score::LOCATION_TOLERANCE;
pub use shape::{BoundingBox, Shape};
pub use types::{Coordinates, ImageSize, PostProcessingType, ScoredText, TaskResult, TokenSpan};
pub use write::{
    LabelStyle, RegionError, WriteError, WriteOptions, write, write_regions, write_text, write_with,
};

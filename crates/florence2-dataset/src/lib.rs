//! Training data for Florence-2: reading, checks and augmentation.
//!
//! [`Dataset::open`] reads the layouts of maestro, COCO and YOLO, and folders of images with texts.
//! Each [`Example`] has an image, a prompt (`prefix`) and an answer (`suffix`) in the grammar that
//! `florence2-postprocess` parses, and the exact annotations for evaluation ([`Example::truth`]).
//! Images are decoded on demand.
//!
//! An entry that cannot be used is left out and reported ([`Dataset::report`]). [`check`] decodes
//! all images and counts the tokens of all texts, too. [`augment`] flips and crops an example with
//! its regions.
//!
//! ```no_run
//! use florence2_dataset::{Dataset, DatasetOptions};
//!
//! let dataset = Dataset::open("cards", &DatasetOptions::default())?;
//! println!("{}", dataset.report());
//! for example in dataset.examples() {
//!     let image = example.open_image(&Default::default())?;
//!     println!("{}: {} -> {}", example.image.display(), example.prefix, example.suffix);
//!     println!("{:?}", example.truth(image.size()).objects);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod augment;
mod check;
mod coco;
mod contents;
mod counts;
mod dataset;
mod error;
mod example;
mod files;
mod geometry;
mod jsonl;
mod layout;
mod objects;
mod options;
mod report;
mod suffix;
mod text_folder;
mod yaml;
mod yolo;

pub use augment::{AugmentOptions, augment, can_crop, can_flip};
pub use check::{CheckOptions, check};
pub use dataset::Dataset;
pub use error::{Error, Result};
pub use example::{Example, Outline, Rle, Truth, TruthObject};
pub use options::{DatasetOptions, Format, Split};
pub use report::{ClassCount, Finding, FindingKind, Report, Severity, Source, TokenCount};

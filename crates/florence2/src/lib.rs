//! Florence-2 in one call.
//!
//! ```no_run
//! use florence2::{Florence2, Image, Task};
//!
//! let model = Florence2::load("Florence-2-base")?;
//! let image = Image::open("street.jpg")?;
//! let answer = model.run(&image, Task::ObjectDetection)?;
//! for region in &answer.result.regions {
//!     println!("{} {:?}", region.label, region.shape.bounding_box());
//! }
//! # Ok::<(), florence2::Error>(())
//! ```
//!
//! The layers below are crates of their own: `florence2-processor` (images and prompts),
//! `florence2-core` (the model) and `florence2-postprocess` (answers).

mod answer;
mod batch;
#[cfg(feature = "demo")]
mod demo;
mod device;
mod engine;
mod error;
mod florence2;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(feature = "gpu")]
mod gpu_engine;
#[cfg(feature = "hub")]
mod hub;
mod images;
mod inspect;
mod load;
mod load_input;
mod load_progress;
mod memory_files;
mod model_folder;
mod options;
mod pipeline;
mod request;
mod score;
mod stream;
mod system_info;
mod threads;

pub use answer::{Answer, JSON_SCHEMA, ScoredToken, TargetScore, Timings};
pub use device::devices;
pub use error::{Error, Result};
pub use florence2::Florence2;
pub use florence2_core::Error as ModelError;
pub use florence2_core::generate::{
    CancelToken, EarlyStopping, FinishReason, GENERATION_KEYS, GenerationConfig, GenerationEvent,
    GenerationKey, GenerationObserver, KeyTreatment,
};
pub use florence2_core::{Florence2Config, Warning, weights};
#[cfg(feature = "mimalloc")]
pub use florence2_kernels::Allocator;
pub use florence2_kernels::{CpuLevelError, Dtype};
#[cfg(feature = "flex")]
pub use florence2_kernels::{cpu_level, cpu_levels, set_cpu_level};
pub use florence2_postprocess::{
    BoundingBox, Coordinates, ImageSize, PostProcessingType, Region, RegionScore, Shape, TaskResult,
};
pub use florence2_processor::Error as ProcessorError;
pub use florence2_processor::{
    ChromaPlanes, DecodeOptions, Florence2Processor, Image, PixelBuffer, PixelFormat, PixelRect,
    Plane, Prompt, Task, TaskInput, TextStream, TokenizerFiles, YuvBuffer, YuvMatrix, YuvRange,
};
#[cfg(feature = "hub")]
pub use hub::{Download, Hub};
pub use inspect::{inspect, inspect_with};
pub use load_progress::LoadCallback;
pub use memory_files::MemoryFiles;
pub use options::{AdapterOptions, AdapterSource, GenerationOverrides, LoadOptions, RunOptions};
pub use request::{ImageFeatures, ImageInput, Request};
pub use system_info::SystemInfo;
pub use threads::trim;

//! Microsoft's Florence-2 in Rust: captions, objects, text and regions of images.
//!
//! ```no_run
//! use florence2::{Florence2, Image, Task};
//!
//! let model = Florence2::load("Florence-2-base")?;
//! let image = Image::open("street.jpg")?;
//! let answer = model.run(&image, Task::ObjectDetection)?;
//! for region in &answer.regions {
//!     println!("{} {:?}", region.label, region.shape.bounding_box());
//! }
//! # Ok::<(), florence2::Error>(())
//! ```
//!
//! | To run | call |
//! |---|---|
//! | a task on an image | [`Florence2::run`] |
//! | the same with options, or with a callback for each token | [`Florence2::request`] |
//! | several prompts on one image | [`Florence2::encode_image`], then any of the others with the features |
//! | several requests in one batch | [`Florence2::batch`] |
//! | a stream of images | [`Florence2::stream`] |
//! | the likelihood of a given answer | [`RequestBuilder::score`] |
//!
//! [`merge`] writes LoRA adapters and their base model as one checkpoint.
//!
//! A loaded model is immutable: any number of threads may run it at the same time.
//!
//! # Features
//!
//! - `flex` (default): the CPU backend, the device `cpu`.
//! - `ndarray`: a second CPU backend, the device `ndarray`.
//! - `cuda`, `rocm`, `wgpu`, `metal`, `vulkan`: GPUs. Which ones the machine has is determined at
//!   run time; [`devices`] lists them.
//! - `demo`: the embedded demo model, `Florence2::demo` (7 MB).
//! - `hub`: models of the Hugging Face hub, `Hub`.
//! - `mimalloc`: `Allocator`, an allocator for programs that run models.
//!
//! # Errors
//!
//! The message of an [`Error`] names the file, key or argument, the value that was found, and the
//! value that was expected. It does not include the error's [source](std::error::Error::source);
//! [`error_chain`] joins both.
//!
//! The layers below are crates of their own: `florence2-processor` (images and prompts),
//! `florence2-core` (the model) and `florence2-postprocess` (answers).

#![warn(missing_debug_implementations)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
mod batch;
#[cfg(feature = "demo")]
mod demo;
mod device;
mod device_work;
mod engine;
mod error;
mod event;
mod florence2;
mod generation_overrides;
mod generation_setters;
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
mod load_options;
mod load_progress;
mod memory_files;
mod merge;
mod model_folder;
mod pipeline;
mod request;
mod request_builder;
mod run_on_device;
mod run_options;
mod score;
mod stream;
mod system_info;
mod threads;

pub use answer::{Answer, JSON_SCHEMA, ScoredToken, TargetScore, Timings};
pub use batch::BatchBuilder;
pub use device::devices;
#[doc(hidden)]
pub use device_work::DeviceWork;
pub use error::{Error, Result, error_chain};
pub use event::{RunEvent, Token};
pub use florence2::Florence2;
pub use florence2_core::Error as ModelError;
pub use florence2_core::generate::{
    CancelToken, EarlyStopping, FinishReason, GENERATION_KEYS, GenerationConfig, GenerationKey,
    KeyTreatment,
};
pub use florence2_core::weights::LoadProgress;
pub use florence2_core::{Florence2Config, Florence2TextConfig, Florence2VisionConfig, Warning};
#[cfg(feature = "mimalloc")]
pub use florence2_kernels::Allocator;
pub use florence2_kernels::{CpuLevelError, Dtype};
#[cfg(feature = "flex")]
pub use florence2_kernels::{cpu_level, cpu_levels, set_cpu_level};
pub use florence2_postprocess::{
    BoundingBox, Coordinates, ImageSize, LOCATION_TOLERANCE, PostProcessingType,
    PostProcessorConfig, Region, RegionScore, Shape, TaskResult,
};
pub use florence2_processor::Error as ProcessorError;
pub use florence2_processor::{
    ChromaPlanes, DecodeOptions, Florence2Processor, Image, ImageProcessor, PixelBuffer,
    PixelFormat, PixelRect, PixelValues, Plane, PreprocessorConfig, Prompt, Size, Task, TaskInput,
    TextStream, TokenizedPrompts, Tokenizer, TokenizerFiles, YuvBuffer, YuvMatrix, YuvRange,
};
pub use generation_overrides::GenerationOverrides;
#[cfg(feature = "hub")]
pub use hub::{DownloadProgress, Hub};
pub use inspect::{inspect, inspect_with};
pub use load_options::{AdapterOptions, AdapterSource, LoadOptions};
pub use load_progress::LoadCallback;
pub use memory_files::MemoryFiles;
pub use merge::merge;
pub use request::{ImageFeatures, ImageInput, Request};
pub use request_builder::RequestBuilder;
#[doc(hidden)]
pub use run_on_device::run_on_device;
pub use run_options::RunOptions;
pub use stream::StreamBuilder;
pub use system_info::SystemInfo;
pub use threads::trim;

// Models, images and results may be shared between threads.
const _: () = {
    const fn is_send_sync<T: Send + Sync>() {}
    is_send_sync::<Florence2>();
    is_send_sync::<Image>();
    is_send_sync::<ImageFeatures>();
    is_send_sync::<Answer>();
    is_send_sync::<TargetScore>();
    is_send_sync::<Error>();
    is_send_sync::<RunOptions>();
    is_send_sync::<LoadOptions>();
    is_send_sync::<CancelToken>();
};

/// The tensors of a checkpoint, and the result of comparing them with a model.
pub mod weights {
    pub use florence2_core::weights::{
        Checkpoint, KeyLayout, LoadProgress, ShapeMismatch, StoredTensor, WeightsReport,
    };
}

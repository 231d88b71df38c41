//! Preprocessing and tokenization for Florence-2: images to pixel values, prompts to token ids,
//! token ids to text.
//!
//! [`Florence2Processor`] corresponds to the transformers class of the same name. It does not
//! depend on a model: its outputs are plain vectors.

mod bmp;
mod config;
mod error;
mod frame;
mod gif;
mod image;
mod ordered_json;
mod png;
mod preprocess;
mod processor;
mod region;
mod resample;
mod task;
mod tiff;
mod tokenizer;
mod tokenizer_files;

pub use config::{PreprocessorConfig, Size};
pub use error::{Error, Result};
pub use frame::{ChromaPlanes, PixelRect, Plane, YuvBuffer, YuvMatrix, YuvRange};
pub use image::{DecodeOptions, Image, PixelBuffer, PixelFormat};
pub use preprocess::{ImageProcessor, PixelValues};
pub use processor::{Florence2Processor, TokenizedPrompts};
pub use region::region_text;
pub use task::{Prompt, Task, TaskInput};
pub use tokenizer::{TextStream, Tokenizer};
pub use tokenizer_files::TokenizerFiles;

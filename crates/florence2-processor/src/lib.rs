//! Preprocessing and tokenization for Florence-2: images to pixel values, prompts to token ids,
//! token ids to text.
//!
//! [`Florence2Processor`] corresponds to the transformers class of the same name. It does not
//! depend on a model: its outputs are plain vectors.

mod config;
mod error;
mod hugging_face_files;
mod image;
mod ordered_json;
mod post_processor;
mod preprocess;
mod processor;
mod prompt;
mod tokenizer;
mod tokenizer_files;

pub use config::{PreprocessorConfig, Size};
pub use error::{Error, Result};
pub use hugging_face_files::HuggingFaceFiles;
pub use image::{
    ChromaPlanes, DecodeOptions, Image, PixelBuffer, PixelFormat, PixelRect, Plane, YuvBuffer,
    YuvMatrix, YuvRange,
};
pub use preprocess::{ImageProcessor, PixelValues};
pub use processor::{Florence2Processor, TokenizedPrompts};
pub use prompt::{Prompt, Task, TaskInput, region_text};
pub use tokenizer::{TextStream, Tokenizer};
pub use tokenizer_files::TokenizerFiles;

//! Reads the tensors of a checkpoint by name, one at a time, as f32. Checkpoints are safetensors or
//! PyTorch files, whole or in shards, on disk or in memory. The files are untrusted: damage is an
//! error that names the file and the tensors, and nothing in a file is executed.
//! [`SafetensorsWriter`] writes safetensors files.
//!
//! ```no_run
//! use florence2_checkpoint::Checkpoint;
//!
//! let checkpoint = Checkpoint::open("Florence-2-base".as_ref())?;
//! let values: Vec<f32> = checkpoint.tensors["lm_head.weight"].to_f32()?;
//! # Ok::<(), florence2_checkpoint::Error>(())
//! ```

mod atomic_file;
mod checkpoint;
mod error;
mod float_format;
mod folder;
mod format;
mod index;
mod positional_file;
mod pytorch;
mod safetensors;
mod source;
mod tensor;
mod writer;

pub use atomic_file::write_atomic;
pub use checkpoint::Checkpoint;
pub use error::{Error, Result};
pub use folder::is_weights_file;
pub use tensor::StoredTensor;
pub use writer::{FloatType, SafetensorsWriter, TensorSpec};

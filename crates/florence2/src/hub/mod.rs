//! Models of the Hugging Face hub, in the cache that is shared with huggingface_hub and other
//! programs.
//!
//! The crate hf-hub is not used. Its synchronous client (0.5) locks other files than
//! huggingface_hub, times out on a lock after five seconds, does not check content, and appends a
//! whole file to a part if a server ignores ranges. Its successor (1.0) requires tokio, reqwest and
//! hf-xet, does not resume downloads, does not check content, and has no offline mode.

mod cache;
mod checksum;
mod client;
mod contents;
mod download;
mod environment;
mod fetch;
mod pull;
mod settings;

pub use download::DownloadProgress;
pub use settings::Hub;

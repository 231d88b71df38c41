//! Arguments that several commands have.

use std::path::PathBuf;

use clap::Args;
use florence2::{DecodeOptions, Dtype, Image};

#[derive(Args)]
pub(crate) struct DecodingArgs {
    /// The largest number of pixels (width times height) of an image file.
    #[arg(long, value_name = "N", default_value_t = Image::DEFAULT_MAX_PIXELS)]
    max_pixels: u64,
}

impl DecodingArgs {
    pub(crate) fn options(&self) -> DecodeOptions {
        DecodeOptions::default().max_pixels(self.max_pixels)
    }
}

/// Parses the name of a number type.
pub(crate) fn dtype(name: &str) -> Result<Dtype, String> {
    let expected = || Dtype::choice(&Dtype::ALL);
    Dtype::named(name).ok_or_else(|| format!("found {name}, expected {}", expected()))
}

/// The files of a model that is given by `--model`.
#[derive(Args)]
pub(crate) struct ModelFilesArgs {
    /// The model's branch, tag, commit or refs/pr/N on the hub; main by default.
    #[cfg_attr(feature = "hub", arg(long))]
    #[cfg_attr(not(feature = "hub"), arg(skip))]
    pub(crate) revision: Option<String>,
    /// A weights file of any name, or an index of shards, instead of those in the model's folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// The folder with preprocessor_config.json and the tokenizer, if the model's folder lacks them.
    #[arg(long, value_name = "DIR")]
    pub(crate) processor: Option<PathBuf>,
}

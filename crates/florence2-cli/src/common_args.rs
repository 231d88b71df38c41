//! Arguments that several commands have.

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

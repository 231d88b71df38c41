//! The pixel value of a byte: rescaled, then normalised by its channel's mean and deviation.

use crate::config::PreprocessorConfig;

/// Returns the pixel value of a byte in a channel.
pub(super) fn normalize(config: &PreprocessorConfig, channel: usize, byte: f64) -> f32 {
    // The order of operations and the precision of the reference: f32 after rescaling.
    let rescaled = match config.do_rescale {
        true => (byte * config.rescale_factor) as f32,
        false => byte as f32,
    };
    match config.do_normalize {
        true => (rescaled - config.image_mean[channel] as f32) / config.image_std[channel] as f32,
        false => rescaled,
    }
}

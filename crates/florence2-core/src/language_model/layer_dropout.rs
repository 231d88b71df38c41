//! The dropouts of one layer of BART.

use crate::config::Florence2TextConfig;
use crate::dropout::{Dropout, LayerDrop, Seeds};

/// The dropouts of an encoder or decoder layer, but for that of the attention weights.
#[derive(Debug, Clone)]
pub(super) struct LayerDropout {
    /// Skips the layer.
    pub(super) layer: LayerDrop,
    /// After the self-attention.
    pub(super) self_attn: Dropout,
    /// After the cross-attention of a decoder layer.
    pub(super) encoder_attn: Dropout,
    /// After the activation function.
    pub(super) activation: Dropout,
    /// After `fc2`.
    pub(super) fc2: Dropout,
}

impl LayerDropout {
    /// Creates the dropouts of a layer that is skipped with probability `layerdrop`.
    pub(super) fn new(config: &Florence2TextConfig, layerdrop: f64) -> Self {
        Self {
            layer: LayerDrop::new(layerdrop),
            self_attn: Dropout::new(config.dropout),
            encoder_attn: Dropout::new(config.dropout),
            activation: Dropout::new(config.activation_dropout),
            fc2: Dropout::new(config.dropout),
        }
    }

    /// Takes the seeds of the next forward pass.
    pub(super) fn take_seeds(&mut self, seeds: &mut Seeds) {
        self.layer.take_seeds(seeds);
        for dropout in [
            &mut self.self_attn,
            &mut self.encoder_attn,
            &mut self.activation,
            &mut self.fc2,
        ] {
            dropout.take_seeds(seeds);
        }
    }
}

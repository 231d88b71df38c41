//! Learned positions: HF `BartLearnedPositionalEmbedding`.

use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::Tensor;
use florence2_kernels::Backend;

use crate::config::Florence2TextConfig;

/// The row of the position table at which BART's learned positions begin, because of fairseq's
/// padding index.
const POSITION_OFFSET: usize = 2;

/// Creates a position table with lazily initialised parameters.
pub(super) fn position_table<B: Backend>(
    config: &Florence2TextConfig,
    device: &B::Device,
) -> Embedding<B> {
    let rows = config.max_position_embeddings + POSITION_OFFSET;
    EmbeddingConfig::new(rows, config.d_model).init(device)
}

/// The rows of a position table for `tokens` positions after `past`.
///
/// Output: `[1, tokens, d_model]`.
pub(super) fn embed_positions<B: Backend>(
    table: &Embedding<B>,
    past: usize,
    tokens: usize,
) -> Tensor<B, 3> {
    table
        .weight
        .val()
        .narrow(0, POSITION_OFFSET + past, tokens)
        .unsqueeze_dim(0)
}

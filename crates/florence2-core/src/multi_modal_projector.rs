//! From the vision tower's grid to image embeddings: HF `Florence2MultiModalProjector`.

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig};
use burn::tensor::{DType, Distribution, Tensor};
use florence2_kernels::{Backend, Linear, Precision};

use crate::config::Florence2VisionConfig;

/// Position and temporal embeddings, pooled tokens, projection, layer norm.
#[derive(Module, Debug)]
pub struct MultiModalProjector<B: Backend> {
    /// From `embed_dim` to `projection_dim`, no bias.
    pub image_projection: Linear<B>,
    /// Layer norm of the projected tokens.
    pub image_proj_norm: LayerNorm<B>,
    /// Learned rows and columns.
    pub image_position_embed: ImagePositionEmbed<B>,
    /// Sinusoids per frame.
    pub visual_temporal_embed: VisualTemporalEmbed<B>,
}

/// Learned 2-D positions: HF `Florence2VisionLearnedAbsolutePositionEmbedding2D`.
#[derive(Module, Debug)]
pub struct ImagePositionEmbed<B: Backend> {
    /// `[max_position_embeddings, embed_dim / 2]`.
    pub row_embeddings: Embedding<B>,
    /// `[max_position_embeddings, embed_dim - embed_dim / 2]`.
    pub column_embeddings: Embedding<B>,
}

/// Cosine embedding of the frame's index: HF `Florence2VisionPositionalEmbeddingCosine1D`.
#[derive(Module, Debug)]
pub struct VisualTemporalEmbed<B: Backend> {
    /// `[max_temporal_embeddings, embed_dim]`, a constant of the architecture that checkpoints
    /// carry.
    pub pos_idx_to_embed: Param<Tensor<B, 2>>,
}

impl<B: Backend> MultiModalProjector<B> {
    /// The module with lazily initialised parameters.
    pub fn new(config: &Florence2VisionConfig, precision: Precision, device: &B::Device) -> Self {
        // INVARIANT: a validated configuration has at least one stage.
        let embed_dim = *config.embed_dim.last().expect("at least one stage");
        let positions = config.max_position_embeddings;
        let temporal_shape = [config.max_temporal_embeddings, embed_dim];
        Self {
            image_projection: Linear::new(
                embed_dim,
                config.projection_dim,
                false,
                precision,
                device,
            ),
            image_proj_norm: LayerNormConfig::new(config.projection_dim).init(device),
            image_position_embed: ImagePositionEmbed {
                row_embeddings: EmbeddingConfig::new(positions, embed_dim / 2).init(device),
                column_embeddings: EmbeddingConfig::new(positions, embed_dim - embed_dim / 2)
                    .init(device),
            },
            visual_temporal_embed: VisualTemporalEmbed {
                pos_idx_to_embed: Param::uninitialized(
                    burn::module::ParamId::new(),
                    move |device, _| Tensor::random(temporal_shape, Distribution::Default, device),
                    device.clone(),
                    false,
                    temporal_shape.into(),
                ),
            },
        }
    }

    /// Makes the image embeddings: the mean token first (`spatial_avg_pool`), then one token per
    /// position (`temporal_avg_pool` over a single frame).
    ///
    /// # Shapes
    /// - `image_features`: `[batch, rows, columns, embed_dim]`
    /// - output: `[batch, 1 + rows * columns, projection_dim]`
    pub fn forward(&self, image_features: Tensor<B, 4>) -> Tensor<B, 3> {
        let [batch, rows, columns, dim] = image_features.dims();
        let positions = self.image_position_embed.forward(rows, columns);
        let frame = self
            .visual_temporal_embed
            .pos_idx_to_embed
            .val()
            .narrow(0, 0, 1)
            .reshape([1, 1, 1, dim]);
        let tokens = (image_features + positions + frame).reshape([batch, rows * columns, dim]);
        // A sum of hundreds of f16 overflows: the mean is one of f32.
        let dtype = tokens.dtype();
        let mean = tokens.clone().cast(DType::F32).mean_dim(1).cast(dtype);
        let pooled = B::apply_linear(Tensor::cat(vec![mean, tokens], 1), &self.image_projection);
        B::apply_norm(pooled, &self.image_proj_norm)
    }
}

impl<B: Backend> ImagePositionEmbed<B> {
    /// Output: `[1, rows, columns, embed_dim]`, the column's half first.
    pub fn forward(&self, rows: usize, columns: usize) -> Tensor<B, 4> {
        let table =
            |embedding: &Embedding<B>, count: usize| embedding.weight.val().narrow(0, 0, count);
        let x = table(&self.column_embeddings, columns);
        let y = table(&self.row_embeddings, rows);
        let (x_dim, y_dim) = (x.dims()[1], y.dims()[1]);
        let x = x
            .reshape([1, 1, columns, x_dim])
            .expand([1, rows, columns, x_dim]);
        let y = y
            .reshape([1, rows, 1, y_dim])
            .expand([1, rows, columns, y_dim]);
        Tensor::cat(vec![x, y], 3)
    }
}

//! The conversion of the vision tower's grid to image embeddings: HF
//! `Florence2MultiModalProjector`.

use burn::module::{Module, Param, ParamId};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig};
use burn::tensor::{DType, Tensor, TensorData};
use florence2_kernels::{Backend, Dtype};

use crate::config::Florence2VisionConfig;
use crate::layers::{Linear, layer_norm};

/// Position and temporal embeddings, pooled tokens, projection, layer norm.
#[derive(Module, Debug)]
pub struct MultiModalProjector<B: Backend> {
    /// From `embed_dim` to `projection_dim`, no bias.
    pub image_projection: Linear<B>,
    /// Layer norm of the projected tokens.
    pub image_proj_norm: LayerNorm<B>,
    /// Learned embeddings of rows and columns.
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
    /// `[max_temporal_embeddings, embed_dim]`, a constant table of sinusoids. Most checkpoints
    /// store it; otherwise it is computed.
    pub pos_idx_to_embed: Param<Tensor<B, 2>>,
}

impl<B: Backend> MultiModalProjector<B> {
    /// Creates the module with lazily initialised parameters.
    pub fn new(config: &Florence2VisionConfig, dtype: Dtype, device: &B::Device) -> Self {
        // INVARIANT: a validated configuration has at least one stage.
        let embed_dim = *config.embed_dim.last().expect("at least one stage");
        let positions = config.max_position_embeddings;
        let temporal_shape = [config.max_temporal_embeddings, embed_dim];
        Self {
            image_projection: Linear::new(embed_dim, config.projection_dim, false, dtype, device),
            image_proj_norm: LayerNormConfig::new(config.projection_dim).init(device),
            image_position_embed: ImagePositionEmbed {
                row_embeddings: EmbeddingConfig::new(positions, embed_dim / 2).init(device),
                column_embeddings: EmbeddingConfig::new(positions, embed_dim - embed_dim / 2)
                    .init(device),
            },
            visual_temporal_embed: VisualTemporalEmbed::new(temporal_shape, device),
        }
    }

    /// Computes the image embeddings: the mean token first (`spatial_avg_pool`), then one token per
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
        // A sum of hundreds of f16 values overflows, so the mean is computed in f32.
        let dtype = tokens.dtype();
        let mean = tokens.clone().cast(DType::F32).mean_dim(1).cast(dtype);
        let pooled = Tensor::cat(vec![mean, tokens], 1);
        layer_norm(&self.image_proj_norm, self.image_projection.forward(pooled))
    }
}

impl<B: Backend> VisualTemporalEmbed<B> {
    /// The constant table of the architecture, which is not trained.
    fn new(shape: [usize; 2], device: &B::Device) -> Self {
        let table = move |device: &B::Device, _| {
            Tensor::from_data(TensorData::new(sinusoids(shape), shape), device)
        };
        let (id, device) = (ParamId::new(), device.clone());
        Self {
            pos_idx_to_embed: Param::uninitialized(id, table, device, false, shape.into()),
        }
    }
}

/// Sines in the even columns and cosines in the odd ones of `position * 10000^(-i / (columns / 2))`,
/// for the i-th pair of columns; computed in f32 as in transformers.
pub(crate) fn sinusoids([positions, columns]: [usize; 2]) -> Vec<f32> {
    let half = columns / 2;
    let step = -(10_000_f64.ln() / half as f64) as f32;
    let mut table = vec![0.0; positions * columns];
    for (position, row) in table.chunks_exact_mut(columns).enumerate() {
        for (index, pair) in row.chunks_exact_mut(2).enumerate() {
            let angle = position as f32 * (index as f32 * step).exp();
            pair.copy_from_slice(&[angle.sin(), angle.cos()]);
        }
    }
    table
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

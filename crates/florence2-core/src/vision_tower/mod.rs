//! DaViT, the image encoder: HF `Florence2VisionBackbone` (DaViT paper, arXiv:2204.03645).
//!
//! Between blocks, features are channels-last, `[batch, height, width, channels]`: every matrix
//! product and layer norm reads them in this layout. Only convolutions require channels-first.

mod channel_block;
mod conv_embed;
mod depthwise;
mod mlp;
mod spatial_block;

use burn::module::Module;
use burn::tensor::Tensor;
use florence2_kernels::{Backend, Dtype};

pub use channel_block::{ChannelAttention, ChannelBlock};
pub use conv_embed::ConvEmbed;
pub use mlp::Mlp;
pub use spatial_block::{SpatialBlock, WindowAttention};

use depthwise::channels_last;

use crate::cancel::CancelToken;
use crate::config::Florence2VisionConfig;
use crate::dropout::{Seeds, drop_path_rates};
use crate::error::Result;
use crate::layers::Linear;

/// The vision tower: per stage one [`ConvEmbed`] and `depths[stage]` [`VisionBlock`]s.
#[derive(Module, Debug)]
pub struct VisionTower<B: Backend> {
    /// Patch embeddings, one per stage.
    pub convs: Vec<ConvEmbed<B>>,
    /// Blocks, `[stage][block]`.
    pub blocks: Vec<Vec<VisionBlock<B>>>,
}

/// A spatial block, then a channel block: HF `Florence2VisionBlock`.
#[derive(Module, Debug)]
pub struct VisionBlock<B: Backend> {
    /// Attention within windows of positions.
    pub spatial_block: SpatialBlock<B>,
    /// Attention between channels.
    pub channel_block: ChannelBlock<B>,
}

impl<B: Backend> VisionTower<B> {
    /// Creates the module with lazily initialised parameters.
    pub fn new(config: &Florence2VisionConfig, dtype: Dtype, device: &B::Device) -> Self {
        let stages = 0..config.embed_dim.len();
        let convs = stages
            .clone()
            .map(|stage| ConvEmbed::new(config, stage, dtype, device))
            .collect();
        let mut rates = drop_path_rates(
            config.drop_path_rate,
            2 * config.depths.iter().sum::<usize>(),
        );
        let mut rate = move || rates.next().unwrap_or_default();
        let stage_blocks = |stage| {
            (0..config.depths[stage])
                .map(|_| VisionBlock {
                    spatial_block: SpatialBlock::new(config, stage, rate(), dtype, device),
                    channel_block: ChannelBlock::new(config, stage, rate(), dtype, device),
                })
                .collect()
        };
        Self {
            convs,
            blocks: stages.map(stage_blocks).collect(),
        }
    }

    /// The linear layers, by name.
    pub(crate) fn linears_mut(&mut self) -> impl Iterator<Item = (String, &mut Linear<B>)> {
        let blocks = self.blocks.iter_mut().enumerate();
        let blocks = blocks.flat_map(|(stage, blocks)| {
            let blocks = blocks.iter_mut().enumerate();
            blocks.map(move |(index, block)| (format!("blocks.{stage}.{index}"), block))
        });
        blocks.flat_map(|(path, block)| {
            let within = |kind: &'static str| {
                let path = path.clone();
                move |(name, linear)| (format!("{path}.{kind}.{name}"), linear)
            };
            let spatial = block.spatial_block.linears_mut();
            let channel = block.channel_block.linears_mut();
            let spatial = spatial.map(within("spatial_block"));
            spatial.chain(channel.map(within("channel_block")))
        })
    }

    /// Takes the seeds of the next forward pass.
    pub(crate) fn take_seeds(&mut self, seeds: &mut Seeds) {
        for block in self.blocks.iter_mut().flatten() {
            block.spatial_block.take_seeds(seeds);
            block.channel_block.take_seeds(seeds);
        }
    }

    /// Encodes images.
    ///
    /// # Shapes
    /// - `pixel_values`: `[batch, channels, height, width]`
    /// - output: `[batch, rows, columns, embed_dim]`
    ///
    /// # Errors
    /// [`crate::Error::Cancelled`] if `cancel` is cancelled before a stage,
    /// [`crate::Error::DeadlineExceeded`] if its deadline has passed.
    pub fn forward(
        &self,
        pixel_values: Tensor<B, 4>,
        cancel: &CancelToken,
    ) -> Result<Tensor<B, 4>> {
        let mut x = channels_last(pixel_values);
        for (conv, blocks) in self.convs.iter().zip(&self.blocks) {
            cancel.check()?;
            x = conv.forward(x);
            for block in blocks {
                x = block.forward(x);
            }
        }
        Ok(x)
    }
}

impl<B: Backend> VisionBlock<B> {
    /// Shapes: `[batch, height, width, channels]` in and out.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        self.channel_block.forward(self.spatial_block.forward(x))
    }
}

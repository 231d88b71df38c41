//! BART, the language model: HF `BartModel` (BART paper, arXiv:1910.13461).

mod attention;
mod decoder;
mod encoder;
mod kv_cache;
mod layer_dropout;
mod positions;

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use florence2_kernels::{Backend, Dtype};

pub use attention::Attention;
pub use decoder::{Decoder, DecoderLayer};
pub use encoder::{Encoder, EncoderLayer};
pub use kv_cache::{CrossAttention, CrossAttentionCache, KeysValues, KvCache, SelfAttentionCache};

use crate::config::Florence2TextConfig;
use crate::dropout::Seeds;
use crate::layers::{Linear, TokenEmbedding};

/// Encoder and decoder over one shared token embedding.
#[derive(Module, Debug)]
pub struct LanguageModel<B: Backend> {
    /// `[vocab_size, d_model]`: the token embedding of encoder and decoder and the output matrix,
    /// unless they have their own.
    pub shared: TokenEmbedding<B>,
    /// Encodes image embeddings and the prompt.
    pub encoder: Encoder<B>,
    /// Decodes the answer.
    pub decoder: Decoder<B>,
    embed_scale: f64,
    #[module(skip)]
    pad_token_id: Option<u32>,
}

impl<B: Backend> LanguageModel<B> {
    /// Creates the module with lazily initialised parameters.
    pub fn new(config: &Florence2TextConfig, dtype: Dtype, device: &B::Device) -> Self {
        let embed_scale = match config.scale_embedding {
            true => (config.d_model as f64).sqrt(),
            false => 1.0,
        };
        Self {
            shared: TokenEmbedding::new(config.vocab_size, config.d_model, dtype, device),
            encoder: Encoder::new(config, dtype, device),
            decoder: Decoder::new(config, dtype, device),
            embed_scale,
            pad_token_id: config.pad_token_id,
        }
    }

    /// The linear layers, by name.
    pub(crate) fn linears_mut(&mut self) -> impl Iterator<Item = (String, &mut Linear<B>)> {
        let encoder = self.encoder.linears_mut();
        let decoder = self.decoder.linears_mut();
        let encoder = encoder.map(|(name, linear)| (format!("encoder.{name}"), linear));
        encoder.chain(decoder.map(|(name, linear)| (format!("decoder.{name}"), linear)))
    }

    /// Takes the seeds of the next forward pass.
    pub(crate) fn take_seeds(&mut self, seeds: &mut Seeds) {
        self.encoder.take_seeds(seeds);
        self.decoder.take_seeds(seeds);
    }

    /// Embeds the tokens of a prompt, for the encoder.
    ///
    /// # Shapes
    /// - `input_ids`: `[batch, tokens]`
    /// - output: `[batch, tokens, d_model]`
    pub fn embed_prompt(&self, input_ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        self.embed(self.encoder.embed_tokens.as_ref(), input_ids)
    }

    /// Embeds the tokens of an answer, for the decoder.
    ///
    /// Shapes: as in [`Self::embed_prompt`].
    pub fn embed_answer(&self, input_ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        self.embed(self.decoder.embed_tokens.as_ref(), input_ids)
    }

    /// Detaches the embeddings of padding tokens from the graph: torch's `padding_idx`.
    fn without_padding_gradient(
        &self,
        embeddings: Tensor<B, 3>,
        input_ids: Tensor<B, 2, Int>,
    ) -> Tensor<B, 3> {
        let Some(pad_token_id) = self.pad_token_id else {
            return embeddings;
        };
        if !B::ad_enabled(&embeddings.device()) {
            return embeddings;
        }
        let padding = input_ids.equal_elem(pad_token_id).unsqueeze_dim::<3>(2);
        let padding = padding.expand(embeddings.shape());
        let detached = embeddings.clone().detach();
        embeddings.mask_where(padding, detached)
    }

    /// Looks up the rows of a token embedding, or of the shared one if there is none.
    fn embed(
        &self,
        embedding: Option<&TokenEmbedding<B>>,
        input_ids: Tensor<B, 2, Int>,
    ) -> Tensor<B, 3> {
        // The table is f32 in every dtype, since it also computes the logits.
        let dtype = self.encoder.embed_positions.weight.val().dtype();
        let table = embedding.unwrap_or(&self.shared);
        let embeddings = table.forward(input_ids.clone()).cast(dtype);
        let embeddings = self.without_padding_gradient(embeddings, input_ids);
        if self.embed_scale == 1.0 {
            embeddings
        } else {
            embeddings * self.embed_scale
        }
    }
}

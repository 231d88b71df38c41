//! The token embeddings of the model that is built, by the checkpoint's ties and the adapters.

use florence2_kernels::{Backend, Dtype};

use super::adapters::Adapters;
use super::key_map::{
    DECODER_EMBEDDING_KEY, ENCODER_EMBEDDING_KEY, IMAGE_PROJECTION_KEY, LM_HEAD_KEY, SHARED_KEY,
};
use super::ties::Ties;
use crate::config::Florence2Config;
use crate::error::Result;
use crate::layers::{Linear, TokenEmbedding};
use crate::model::Florence2ForConditionalGeneration;

/// The copies of the token embedding that are separate parameters.
pub(super) struct UntiedEmbeddings {
    /// The prompt's embedding. It is separate from the shared one only if another copy is tied to
    /// that one and an adapter changes the prompt's.
    prompt: bool,
    /// The decoder's embedding.
    decoder: bool,
    /// The output matrix.
    output: bool,
}

impl UntiedEmbeddings {
    pub(super) fn new(ties: &Ties, adapters: &Adapters<'_>) -> Self {
        let is_own = |key| !ties.is_tied(key) || adapters.modify(key);
        let (decoder, output) = (is_own(DECODER_EMBEDDING_KEY), is_own(LM_HEAD_KEY));
        Self {
            prompt: adapters.modify(SHARED_KEY) && !(decoder && output),
            decoder,
            output,
        }
    }

    /// Creates the module with these parameters, and with the biases that adapters add.
    pub(super) fn build_model<B: Backend>(
        &self,
        config: &Florence2Config,
        adapters: &Adapters<'_>,
        dtype: Dtype,
        device: &B::Device,
    ) -> Result<Florence2ForConditionalGeneration<B>> {
        let mut config = config.clone();
        config.tie_word_embeddings = !self.output;
        config.text_config.tie_word_embeddings = !self.decoder;
        let text = &config.text_config;
        let [vocab_size, d_model] = [text.vocab_size, text.d_model];
        let mut model = Florence2ForConditionalGeneration::new(config, dtype, device)?;
        if self.prompt {
            let embedding = TokenEmbedding::new(vocab_size, d_model, dtype, device);
            model.model.language_model.encoder.embed_tokens = Some(embedding);
        }
        let projection = &mut model.model.multi_modal_projector.image_projection;
        let without_bias = [
            (LM_HEAD_KEY, model.lm_head.as_mut()),
            (IMAGE_PROJECTION_KEY, Some(projection)),
        ];
        for (key, linear) in without_bias {
            if let Some(linear) = linear.filter(|_| adapters.update_bias(&bias_of(key))) {
                let [outputs, inputs] = linear.weight.dims();
                *linear = Linear::new(inputs, outputs, true, dtype, device);
            }
        }
        Ok(model)
    }

    /// The key whose adapters change a parameter; `None` if it has the base model's values.
    pub(super) fn adapted<'k>(&self, key: &'k str) -> Option<&'k str> {
        match key {
            SHARED_KEY => (!self.prompt).then_some(key),
            ENCODER_EMBEDDING_KEY => Some(SHARED_KEY),
            _ => Some(key),
        }
    }
}

/// The key of the bias that belongs to a weight.
fn bias_of(weight: &str) -> String {
    weight.replace(".weight", ".bias")
}

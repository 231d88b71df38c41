//! The whole model: `encode_image` -> `encode` -> `decode`, and `forward` over all three.

use burn::module::Module;
use burn::tensor::{Bool, DType, Int, Tensor, activation};
use florence2_kernels::{Backend, Dtype};

use crate::cancel::CancelToken;
use crate::config::Florence2Config;
use crate::dropout::Seeds;
use crate::error::{Error, Result};
use crate::image_placeholders::Prompts;
use crate::language_model::{CrossAttentionCache, KvCache, LanguageModel};
use crate::layers::Linear;
use crate::multi_modal_projector::MultiModalProjector;
use crate::vision_tower::VisionTower;

/// The label of positions that are excluded from the loss: torch's `ignore_index`.
pub const IGNORE_INDEX: i64 = -100;

/// Florence-2 with its output matrix: HF `Florence2ForConditionalGeneration`.
#[derive(Module, Debug)]
pub struct Florence2ForConditionalGeneration<B: Backend> {
    /// The model without the output matrix.
    pub model: Florence2Model<B>,
    /// From `d_model` to `vocab_size`; `None` if it is tied to `model.language_model.shared`. It
    /// has a bias if an adapter with `lora_bias` adds one.
    pub lm_head: Option<Linear<B>>,
    #[module(skip)]
    config: Florence2Config,
}

/// The vision tower, the projector and the language model: HF `Florence2Model`.
#[derive(Module, Debug)]
pub struct Florence2Model<B: Backend> {
    /// DaViT.
    pub vision_tower: VisionTower<B>,
    /// Converts the grid to image embeddings.
    pub multi_modal_projector: MultiModalProjector<B>,
    /// BART.
    pub language_model: LanguageModel<B>,
}

/// The encoder's output and the mask of its padding.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EncoderOutput<B: Backend> {
    /// `[batch, image tokens + prompt tokens, d_model]`.
    pub last_hidden_state: Tensor<B, 3>,
    /// `[batch, 1, 1, image tokens + prompt tokens]`, true where a prompt is padded.
    pub key_padding_mask: Option<Tensor<B, 4, Bool>>,
}

/// The input of [`Florence2ForConditionalGeneration::forward`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ForwardInput<B: Backend> {
    /// `[batch, channels, height, width]`, normalised.
    pub pixel_values: Tensor<B, 4>,
    /// The prompt and the answer.
    pub text: ForwardText<B>,
}

/// The prompt, its mask, the decoder's input and the labels of a [`ForwardInput`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ForwardText<B: Backend> {
    /// The prompt's ids, `[batch, tokens]`, with the `<image>` placeholders of HF's processor before
    /// them or without them.
    pub input_ids: Tensor<B, 2, Int>,
    /// `[batch, tokens]`, as wide as `input_ids`: 1 for the prompt and 0 for padding; `None` if
    /// nothing is padded.
    pub attention_mask: Option<Tensor<B, 2, Int>>,
    /// `[batch, tokens]`; if it is `None`, made from `labels`, or a single start token without
    /// labels.
    pub decoder_input_ids: Option<Tensor<B, 2, Int>>,
    /// `[batch, tokens]`; positions with [`IGNORE_INDEX`] are excluded from the loss.
    pub labels: Option<Tensor<B, 2, Int>>,
}

impl<B: Backend> ForwardInput<B> {
    /// Creates the input of images and their text.
    pub fn new(pixel_values: Tensor<B, 4>, text: ForwardText<B>) -> Self {
        Self { pixel_values, text }
    }
}

impl<B: Backend> ForwardText<B> {
    /// Creates a text from its prompts. The other fields are `None`.
    pub fn new(input_ids: Tensor<B, 2, Int>) -> Self {
        Self {
            input_ids,
            attention_mask: None,
            decoder_input_ids: None,
            labels: None,
        }
    }
}

/// The output of [`Florence2ForConditionalGeneration::forward`]: HF `Florence2Seq2SeqLMOutput`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ForwardOutput<B: Backend> {
    /// Mean cross-entropy of the labels, `[1]`; present with labels, NaN if all are ignored.
    pub loss: Option<Tensor<B, 1>>,
    /// `[batch, decoder tokens, vocab_size]`.
    pub logits: Tensor<B, 3>,
    /// `[batch, encoder tokens, d_model]`.
    pub encoder_last_hidden_state: Tensor<B, 3>,
    /// The image embeddings, `[batch, image tokens, d_model]`.
    pub image_hidden_states: Tensor<B, 3>,
}

impl<B: Backend> Florence2ForConditionalGeneration<B> {
    /// Creates the module of a configuration, with lazily initialised parameters that are stored in
    /// `dtype` once they are loaded.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is invalid, [`Error::Argument`] if the backend lacks
    /// the dtype or the processor lacks the SIMD level that is set.
    pub fn new(config: Florence2Config, dtype: Dtype, device: &B::Device) -> Result<Self> {
        config.validate()?;
        B::check_settings().map_err(|error| {
            let found = format!("`{}`", error.found);
            Error::argument(error.setting, found, error.expected)
        })?;
        if !B::dtypes().contains(&dtype) {
            let expected = format!("{} on this backend", Dtype::choice(B::dtypes()));
            return Err(Error::argument("dtype", dtype, expected));
        }
        let text = &config.text_config;
        let lm_head = (!config.tie_word_embeddings)
            .then(|| Linear::new(text.d_model, text.vocab_size, false, dtype, device));
        Ok(Self {
            model: Florence2Model {
                vision_tower: VisionTower::new(&config.vision_config, dtype, device),
                multi_modal_projector: MultiModalProjector::new(
                    &config.vision_config,
                    dtype,
                    device,
                ),
                language_model: LanguageModel::new(text, dtype, device),
            },
            lm_head,
            config,
        })
    }

    /// The configuration of the model.
    pub fn config(&self) -> &Florence2Config {
        &self.config
    }

    /// Sets the seed of the next forward pass's dropout, drop path and layer drop, or `None` for
    /// evaluation, in which nothing is dropped: HF `model.train()` and `model.eval()`.
    ///
    /// The same seed yields the same masks, so that each pass of a training requires another seed.
    /// Nothing is dropped without autodiff.
    pub fn set_dropout_seed(&mut self, seed: Option<u64>) {
        let mut seeds = Seeds::new(seed);
        let seeds = &mut seeds;
        self.model.vision_tower.take_seeds(seeds);
        self.model.language_model.take_seeds(seeds);
        for (_, linear) in self.linears_mut() {
            linear.take_seeds(seeds);
        }
    }

    /// The linear layers by Hugging Face's names of the modules, in the order of the forward pass.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = (String, &mut Linear<B>)> {
        let model = &mut self.model;
        let within =
            |path: &'static str| move |(name, linear)| (format!("model.{path}.{name}"), linear);
        let vision_tower = model.vision_tower.linears_mut();
        let projection = &mut model.multi_modal_projector.image_projection;
        let projection = ("image_projection".to_owned(), projection);
        let language_model = model.language_model.linears_mut();
        let lm_head = self.lm_head.as_mut();
        vision_tower
            .map(within("vision_tower"))
            .chain(std::iter::once(projection).map(within("multi_modal_projector")))
            .chain(language_model.map(within("language_model")))
            .chain(lm_head.map(|linear| ("lm_head".to_owned(), linear)))
    }

    /// The device of the parameters.
    pub fn device(&self) -> B::Device {
        self.model
            .language_model
            .encoder
            .layernorm_embedding
            .gamma
            .device()
    }

    /// Computes image embeddings with the vision tower and the projector; HF `get_image_features`.
    ///
    /// # Shapes
    /// - `pixel_values`: `[batch, channels, height, width]`
    /// - output: `[batch, image tokens, d_model]`
    ///
    /// # Errors
    /// [`Error::Argument`] if the image's size or channels do not fit the model,
    /// [`Error::Cancelled`], [`Error::DeadlineExceeded`].
    pub fn encode_image(
        &self,
        pixel_values: Tensor<B, 4>,
        cancel: &CancelToken,
    ) -> Result<Tensor<B, 3>> {
        self.config.check_pixel_values(pixel_values.dims())?;
        let features = self.model.vision_tower.forward(pixel_values, cancel)?;
        Ok(self.model.multi_modal_projector.forward(features))
    }

    /// Encodes image embeddings followed by a prompt.
    ///
    /// # Shapes
    /// - `image_features`: `[batch, image tokens, d_model]`
    /// - `input_ids`, `attention_mask`: `[batch, tokens]`, padded on the right, without `<image>`
    ///   placeholders
    ///
    /// # Errors
    /// [`Error::TooManyPositions`] if image and prompt exceed the encoder's positions.
    pub fn encode(
        &self,
        image_features: Tensor<B, 3>,
        input_ids: Tensor<B, 2, Int>,
        attention_mask: Option<Tensor<B, 2, Int>>,
    ) -> Result<EncoderOutput<B>> {
        let [batch, image_tokens, _] = image_features.dims();
        let tokens = image_tokens + input_ids.dims()[1];
        let text_config = &self.config.text_config;
        text_config.check_encoder_positions(image_tokens, input_ids.dims()[1])?;
        let key_padding_mask = attention_mask.map(|attention_mask| {
            let image = Tensor::ones([batch, image_tokens], &attention_mask.device());
            Tensor::cat(vec![image, attention_mask], 1)
                .equal_elem(0)
                .reshape([batch, 1, 1, tokens])
        });
        let prompt = self.model.language_model.embed_prompt(input_ids);
        let inputs_embeds = Tensor::cat(vec![image_features, prompt], 1);
        let encoder = &self.model.language_model.encoder;
        Ok(EncoderOutput {
            last_hidden_state: encoder.forward(inputs_embeds, key_padding_mask.as_ref()),
            key_padding_mask,
        })
    }

    /// Cross-attention keys and values of every decoder layer, read by all steps and beams.
    pub fn cross_attention_cache(&self, encoded: &EncoderOutput<B>) -> CrossAttentionCache<B> {
        self.model.language_model.decoder.cross_attention_cache(
            &encoded.last_hidden_state,
            encoded.key_padding_mask.as_ref(),
        )
    }

    /// Extends the cached sequences by `input_ids` and computes the logits of every next token.
    ///
    /// # Shapes
    /// - `input_ids`: `[beams * batch, tokens]`
    /// - output: `[beams * batch, tokens, vocab_size]`
    ///
    /// # Errors
    /// [`Error::TooManyPositions`] if the sequences exceed the decoder's positions.
    pub fn decode(
        &self,
        input_ids: Tensor<B, 2, Int>,
        cross_attention: &CrossAttentionCache<B>,
        cache: &mut KvCache<B>,
    ) -> Result<Tensor<B, 3>> {
        let text_config = &self.config.text_config;
        text_config.check_decoder_positions(cache.len() + input_ids.dims()[1])?;
        let language_model = &self.model.language_model;
        Ok(B::run(|| {
            let inputs_embeds = language_model.embed_answer(input_ids);
            let decoder = &language_model.decoder;
            self.output_logits(decoder.forward(inputs_embeds, cross_attention, cache))
        }))
    }

    /// Computes the logits and, with labels, the loss; HF `forward`.
    ///
    /// # Errors
    /// Those of [`Self::encode_image`], [`Self::encode`] and [`Self::decode`].
    pub fn forward(&self, input: ForwardInput<B>) -> Result<ForwardOutput<B>> {
        let image_features = self.encode_image(input.pixel_values, &CancelToken::default())?;
        self.forward_text(image_features, input.text)
    }

    /// [`Self::forward`] with an encoded image, `[batch, image tokens, d_model]`.
    ///
    /// # Errors
    /// Those of [`Self::encode`] and [`Self::decode`]; [`Error::Argument`] if `input_ids` has another
    /// number of placeholders than the image has tokens.
    pub fn forward_text(
        &self,
        image_features: Tensor<B, 3>,
        text: ForwardText<B>,
    ) -> Result<ForwardOutput<B>> {
        let image_token_id = self.config.image_token_id;
        let (ids, mask) = (text.input_ids, text.attention_mask);
        let prompts = Prompts::new(&image_features, ids, mask, image_token_id)?;
        let (input_ids, mask) = (prompts.input_ids, prompts.attention_mask);
        let encoded = self.encode(image_features.clone(), input_ids, mask)?;
        let decoder_input_ids = match (text.decoder_input_ids, &text.labels) {
            (Some(ids), _) => ids,
            (None, Some(labels)) => self.shift_tokens_right(labels.clone())?,
            (None, None) => {
                let start = self.token("decoder_start_token_id")?;
                let batch = image_features.dims()[0];
                Tensor::full([batch, 1], start, &image_features.device())
            }
        };
        let cross_attention = self.cross_attention_cache(&encoded);
        let logits = self.decode(decoder_input_ids, &cross_attention, &mut KvCache::default())?;
        let loss = text
            .labels
            .map(|labels| cross_entropy(logits.clone(), labels));
        Ok(ForwardOutput {
            loss,
            logits,
            encoder_last_hidden_state: encoded.last_hidden_state,
            image_hidden_states: image_features,
        })
    }

    /// The decoder's input for the given labels: shifted by the start token, with ignored labels as
    /// padding.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration has no start or padding token.
    fn shift_tokens_right(&self, labels: Tensor<B, 2, Int>) -> Result<Tensor<B, 2, Int>> {
        let [batch, tokens] = labels.dims();
        let start = self.token("decoder_start_token_id")?;
        let start = Tensor::full([batch, 1], start, &labels.device());
        let shifted = Tensor::cat(vec![start, labels.narrow(1, 0, tokens - 1)], 1);
        let ignored = shifted.clone().equal_elem(IGNORE_INDEX);
        Ok(shifted.mask_fill(ignored, self.token("pad_token_id")?))
    }

    /// The start token of the decoder or the padding token.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration has none.
    fn token(&self, name: &str) -> Result<i64> {
        let config = &self.config.text_config;
        let token = match name {
            "pad_token_id" => config.pad_token_id,
            _ => config.decoder_start_token_id,
        };
        token.map(i64::from).ok_or_else(|| {
            let expected = "a token, which decoder inputs are made of";
            Error::config(format!("text_config.{name}"), "null", expected)
        })
    }

    /// `[batch, tokens, d_model]` to `[batch, tokens, vocab_size]`.
    fn output_logits(&self, hidden_states: Tensor<B, 3>) -> Tensor<B, 3> {
        let hidden_states = hidden_states.cast(DType::F32);
        if let Some(lm_head) = &self.lm_head {
            return lm_head.forward(hidden_states);
        }
        self.model.language_model.shared.logits(hidden_states)
    }
}

/// Mean cross-entropy over the labels that are not [`IGNORE_INDEX`]; NaN without such labels, as
/// in torch. No value is read back from the device.
fn cross_entropy<B: Backend>(logits: Tensor<B, 3>, labels: Tensor<B, 2, Int>) -> Tensor<B, 1> {
    let ignored = labels.clone().equal_elem(IGNORE_INDEX);
    let targets = labels.mask_fill(ignored.clone(), 0).unsqueeze_dim::<3>(2);
    let log_probs = activation::log_softmax(logits, 2)
        .gather(2, targets)
        .squeeze_dim::<2>(2);
    let counted = ignored.clone().bool_not().float().sum();
    let counted = counted.cast(log_probs.dtype());
    log_probs.mask_fill(ignored, 0.0).sum().neg() / counted
}

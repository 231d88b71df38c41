//! Loaded models, independent of their backend. This module erases the type of the backend, and it
//! is the only one that calls the model.

use std::any::Any;

use burn::tensor::{Int, Tensor, TensorData, activation};
use florence2_core::generate::{
    CancelToken, GenerateOptions, GeneratedSequence, GenerationConfig, GenerationObserver,
    LocationWindow, TokenBytes,
};
use florence2_core::{
    Error as ModelError, Florence2Config, Florence2ForConditionalGeneration, ForwardText, Warning,
};
use florence2_kernels::Backend;
use florence2_processor::{PixelValues, TokenizedPrompts};

use crate::error::{Error, Result};

/// Image embeddings on a device, `[batch, tokens, d_model]`: a tensor of the backend that computed
/// them.
pub(crate) type Features = Box<dyn Any + Send + Sync>;

/// One image of a batch of encoded images.
#[derive(Clone, Copy)]
pub(crate) struct FeatureRow<'a> {
    pub(crate) features: &'a Features,
    pub(crate) row: usize,
}

/// The interface of a loaded model, independent of its backend.
pub(crate) trait Engine: Send + Sync {
    fn config(&self) -> &Florence2Config;

    /// Runs the vision tower and the projector on a batch of images.
    fn encode_image(&self, pixel_values: PixelValues, cancel: &CancelToken) -> Result<Features>;

    /// Generates the sequences for a batch of encoded images and prompts: one or more per prompt,
    /// best first.
    fn generate(
        &self,
        images: &[FeatureRow<'_>],
        prompts: &TokenizedPrompts,
        options: &Generation<'_>,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Vec<GeneratedSequence>>>;

    /// The log-probability of each of `labels`, given an encoded image, its prompt and the labels
    /// before it.
    fn log_probs(
        &self,
        image: FeatureRow<'_>,
        prompt: &TokenizedPrompts,
        labels: &[u32],
    ) -> Result<Vec<f32>>;
}

/// A model on a device.
pub(crate) struct Loaded {
    /// The name of the device.
    pub(crate) device: String,
    pub(crate) engine: Box<dyn Engine>,
    /// The warnings about the weights.
    pub(crate) warnings: Vec<Warning>,
}

/// The parameters of a generation.
pub(crate) struct Generation<'a> {
    pub(crate) config: &'a GenerationConfig,
    pub(crate) vocab_size: usize,
    pub(crate) token_bytes: TokenBytes<'a>,
    pub(crate) location_window: Option<LocationWindow>,
    pub(crate) cancel: &'a CancelToken,
}

/// A model of one backend.
pub(crate) struct LoadedModel<B: Backend>(pub(crate) Florence2ForConditionalGeneration<B>);

impl<B: Backend> Engine for LoadedModel<B> {
    fn config(&self) -> &Florence2Config {
        self.0.config()
    }

    fn encode_image(&self, pixel_values: PixelValues, cancel: &CancelToken) -> Result<Features> {
        let pixel_values = self.pixels(pixel_values);
        Ok(Box::new(self.0.encode_image(pixel_values, cancel)?))
    }

    fn generate(
        &self,
        images: &[FeatureRow<'_>],
        prompts: &TokenizedPrompts,
        options: &Generation<'_>,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Vec<GeneratedSequence>>> {
        let images: Result<Vec<_>> = images.iter().map(|image| select(*image)).collect();
        let features = Tensor::cat(images?, 0);
        let (input_ids, attention_mask) = self.tokens(prompts);
        let config = options.config;
        let mut inputs = GenerateOptions::default();
        inputs.attention_mask = attention_mask;
        inputs.vocab_size = Some(options.vocab_size);
        inputs.token_bytes = Some(options.token_bytes);
        inputs.location_window = options.location_window;
        inputs.cancel = options.cancel.clone();
        let model = &self.0;
        Ok(model.generate_from_features(features, input_ids, config, &inputs, observer)?)
    }

    fn log_probs(
        &self,
        image: FeatureRow<'_>,
        prompt: &TokenizedPrompts,
        labels: &[u32],
    ) -> Result<Vec<f32>> {
        if labels.is_empty() {
            return Err(Error::argument("labels", "none", "at least one label"));
        }
        let (input_ids, attention_mask) = self.tokens(prompt);
        let labels = self.ints([1, labels.len()], labels.iter().map(|id| *id as i32));
        let mut text = ForwardText::new(input_ids);
        text.attention_mask = attention_mask;
        text.labels = Some(labels.clone());
        let output = self.0.forward_text(select(image)?, text)?;
        let log_probs = activation::log_softmax(output.logits, 2)
            .gather(2, labels.unsqueeze_dim::<3>(2))
            .flatten(0, 2);
        to_host(log_probs)
    }
}

impl<B: Backend> LoadedModel<B> {
    fn pixels(&self, pixel_values: PixelValues) -> Tensor<B, 4> {
        let data = TensorData::new(pixel_values.data, pixel_values.shape);
        Tensor::from_data(data, &self.0.device())
    }

    /// The ids and, if any prompt is padded, the mask: `[batch, tokens]` each.
    fn tokens(&self, prompts: &TokenizedPrompts) -> (Tensor<B, 2, Int>, Option<Tensor<B, 2, Int>>) {
        let shape = [
            prompts.input_ids.len(),
            prompts.input_ids.first().map_or(0, Vec::len),
        ];
        let ids = prompts.input_ids.iter().flatten().map(|id| *id as i32);
        let ids = self.ints(shape, ids);
        let mask = prompts.attention_mask.iter().flatten();
        let is_padded = mask.clone().any(|kept| *kept == 0);
        let mask = is_padded.then(|| self.ints(shape, mask.map(|kept| i32::from(*kept))));
        (ids, mask)
    }

    fn ints(&self, shape: [usize; 2], values: impl Iterator<Item = i32>) -> Tensor<B, 2, Int> {
        let values: Vec<i32> = values.collect();
        Tensor::<B, 1, Int>::from_ints(values.as_slice(), &self.0.device()).reshape(shape)
    }
}

/// One image's embeddings, `[1, tokens, d_model]`.
fn select<B: Backend>(image: FeatureRow<'_>) -> Result<Tensor<B, 3>> {
    match image.features.downcast_ref::<Tensor<B, 3>>() {
        Some(features) => Ok(features.clone().narrow(0, image.row, 1)),
        None => Err(other_models_features()),
    }
}

/// The error for features of another model, which cannot be used.
pub(crate) fn other_models_features() -> Error {
    Error::argument("image_features", "another model's", "those of this model")
}

fn to_host<B: Backend>(tensor: Tensor<B, 1>) -> Result<Vec<f32>> {
    let values = tensor.into_data().convert::<f32>().into_vec();
    Ok(values.map_err(|error| ModelError::Malformed {
        file: "scores".to_owned(),
        reason: format!("{error:?}"),
    })?)
}

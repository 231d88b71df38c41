//! The examples of a data set, as the processor of a model prepares them.

use std::error::Error;
use std::ops::ControlFlow;

use florence2_core::Florence2Config;
use florence2_dataset::{AugmentOptions, CheckOptions, Dataset, Report, augment, check};
use florence2_processor::{DecodeOptions, Florence2Processor, Image};

use crate::examples::{Example, ExampleError, ExampleSource, Pixels};
use crate::seed::mixed_seed;

/// Options of a [`DatasetSource`].
#[derive(Debug, Clone, Default)]
pub struct DatasetSourceOptions {
    /// Flips and crops of the images. By default, there are none.
    pub augment: AugmentOptions,
    /// The seed of flips and crops. They also depend on the example and on the epoch.
    pub seed: u64,
    /// Options for decoding images.
    pub decode: DecodeOptions,
}

/// The examples of a data set for a model.
///
/// Prompts and labels are token ids as transformers' `Florence2Processor` returns them, without
/// `<image>` placeholders: the labels are `<s>`, the suffix and `</s>`.
#[derive(Debug)]
pub struct DatasetSource<'a> {
    dataset: Dataset,
    processor: &'a Florence2Processor,
    config: &'a Florence2Config,
    options: DatasetSourceOptions,
}

impl<'a> DatasetSource<'a> {
    /// Creates a source of the examples of `dataset` for the model of `processor` and `config`.
    ///
    /// # Errors
    /// [`florence2_dataset::Error::Option`] if an option of the augmentation is out of range.
    pub fn new(
        dataset: Dataset,
        processor: &'a Florence2Processor,
        config: &'a Florence2Config,
        options: DatasetSourceOptions,
    ) -> florence2_dataset::Result<Self> {
        options.augment.validate()?;
        Ok(Self {
            dataset,
            processor,
            config,
            options,
        })
    }

    /// The data set.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Decodes all images and counts the tokens of all texts: [`florence2_dataset::check`] with the
    /// limits of the model. `progress` is that of the function.
    ///
    /// The length of prompts is not checked if the number of image tokens depends on the image.
    pub fn check(&self, progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>) -> Report {
        let positions = self.config.text_config.max_position_embeddings;
        let mut options = CheckOptions::default()
            .max_suffix_tokens(positions)
            .decode(self.options.decode);
        if let Some(image_tokens) = self.fixed_image_tokens() {
            options = options.max_prompt_tokens(positions.saturating_sub(image_tokens));
        }
        let count_tokens = |text: &str| {
            let ids = self.processor.tokenizer.encode(text);
            ids.map(|ids| ids.len()).map_err(|error| chain(&error))
        };
        check(&self.dataset, &options, &count_tokens, progress)
    }

    /// The number of image tokens, if it is the same for images of all sizes.
    fn fixed_image_tokens(&self) -> Option<usize> {
        let tokens = |width, height| {
            let size = florence2_postprocess::ImageSize { width, height };
            let size = self.processor.image_processor.output_size(size).ok()?;
            let (height, width) = (size.height as usize, size.width as usize);
            self.config.vision_config.image_tokens(height, width).ok()
        };
        let (wide, high) = (tokens(1600, 400), tokens(300, 1200));
        wide.filter(|_| wide == high)
    }

    /// The upright image of an example, flipped and cropped, and the texts of the result.
    fn augmented(
        &self,
        index: usize,
        epoch: u64,
    ) -> Result<(Image, florence2_dataset::Example), String> {
        let example = &self.dataset.examples()[index];
        let image = example.open_image(&self.options.decode);
        let image = image.map_err(|error| chain(&error))?;
        if !self.is_augmented() {
            return Ok((image, example.clone()));
        }
        let seed = mixed_seed(self.options.seed, epoch, index as u64);
        augment(image, example, &self.options.augment, seed).map_err(|error| chain(&error))
    }

    fn read(&self, index: usize, epoch: u64, with_pixels: bool) -> Result<Example, String> {
        if !with_pixels && !self.is_augmented() {
            let example = &self.dataset.examples()[index];
            return self.tokenized(example, None);
        }
        let (image, example) = self.augmented(index, epoch)?;
        let mut read = self.tokenized(&example, Some(&image))?;
        if with_pixels {
            let pixels = self.processor.image_processor.preprocess(&[&image]);
            let pixels = pixels.map_err(|error| chain(&error))?;
            let [_, channels, height, width] = pixels.shape;
            read.pixels = Some(Pixels {
                shape: [channels, height, width],
                values: pixels.data,
            });
        }
        Ok(read)
    }

    /// The texts of an example as token ids. They are checked against the model's positions: prompts
    /// only with an image, whose tokens precede them.
    fn tokenized(
        &self,
        example: &florence2_dataset::Example,
        image: Option<&Image>,
    ) -> Result<Example, String> {
        let prompt = example.prompt().map_err(|error| chain(&error))?;
        // Prefixes have no boxes in pixels, so that the prompt does not depend on the size.
        let size = image.map_or(UNIT, Image::size);
        let prompt = self.processor.tokenize(&[(&prompt, size)]);
        let mut prompt = prompt.map_err(|error| chain(&error))?.input_ids;
        let prompt = prompt.pop().unwrap_or_default();
        let labels = self.processor.tokenizer.encode(&example.suffix);
        let labels = labels.map_err(|error| chain(&error))?;
        self.check_ids("prompt", &prompt)?;
        self.check_ids("suffix", &labels)?;
        let text = &self.config.text_config;
        if labels.len() > text.max_position_embeddings {
            return Err(format!(
                "suffix: found {} tokens, expected at most {}, the decoder's positions",
                labels.len(),
                text.max_position_embeddings
            ));
        }
        if let Some(image) = image {
            let image_tokens = self.image_tokens(image).map_err(|error| chain(&*error))?;
            let positions = text.check_encoder_positions(image_tokens, prompt.len());
            positions.map_err(|error| chain(&error))?;
        }
        Ok(Example {
            pixels: None,
            prompt,
            labels,
        })
    }

    fn image_tokens(&self, image: &Image) -> Result<usize, Box<dyn Error>> {
        let size = self.processor.image_processor.output_size(image.size())?;
        let vision = &self.config.vision_config;
        Ok(vision.image_tokens(size.height as usize, size.width as usize)?)
    }

    /// Returns an error for a token that the model does not have, or that stands for an image.
    fn check_ids(&self, text: &str, ids: &[u32]) -> Result<(), String> {
        let vocab_size = self.config.text_config.vocab_size;
        let is_invalid =
            |id: &&u32| **id as usize >= vocab_size || Some(**id) == self.config.image_token_id;
        let Some(id) = ids.iter().find(is_invalid) else {
            return Ok(());
        };
        let token = self.processor.tokenizer.id_to_token(*id);
        Err(format!(
            "{text}: found the token `{}` (id {id}), expected tokens of the model's vocabulary ({vocab_size} \
             tokens) other than the image token",
            token.unwrap_or_default()
        ))
    }
}

/// The size of an image that has not been read.
const UNIT: florence2_postprocess::ImageSize = florence2_postprocess::ImageSize {
    width: 1,
    height: 1,
};

impl ExampleSource for DatasetSource<'_> {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn is_augmented(&self) -> bool {
        let AugmentOptions {
            flip_probability,
            crop_probability,
            ..
        } = self.options.augment;
        flip_probability > 0.0 || crop_probability > 0.0
    }

    fn place(&self, index: usize) -> String {
        self.dataset.examples()[index].source.to_string()
    }

    fn example(
        &self,
        index: usize,
        epoch: u64,
        with_pixels: bool,
    ) -> Result<Example, ExampleError> {
        self.read(index, epoch, with_pixels)
            .map_err(|reason| ExampleError {
                place: self.place(index),
                reason,
            })
    }
}

/// The message of an error and of its sources.
fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}

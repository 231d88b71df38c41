//! The path from images and prompts to answers:
//! `prompts` -> `preprocess` -> `encode` -> `generate` -> `post_process`.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use florence2_core::generate::{
    CancelToken, GeneratedSequence, GenerationConfig, GenerationObserver, LocationWindow,
};
use florence2_postprocess::{ImageSize, LOCATION_TOLERANCE};
use florence2_processor::{Florence2Processor, Image, PixelValues, Prompt, TokenizedPrompts};

use crate::answer::{Answer, Timings};
use crate::engine::{Engine, FeatureRow, Generation, other_models_features};
use crate::error::{Error, Result};
use crate::images::{EncodedImages, distinct_images};
use crate::request::{Encoded, ImageFeatures, ImageInput, Request};
use crate::run_options::RunOptions;

/// The processor and the model, without threads. The methods run on the thread of the caller.
pub(crate) struct Pipeline {
    /// A number that no other model of this process has. [`ImageFeatures`] store it, because
    /// features of another model are invalid.
    id: u64,
    pub(crate) processor: Florence2Processor,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) generation_config: GenerationConfig,
    length_logged: Once,
}

/// The input of the vision tower, and the duration of computing it.
pub(crate) struct Preprocessed {
    pixel_values: PixelValues,
    took: Duration,
}

impl Pipeline {
    pub(crate) fn new(
        processor: Florence2Processor,
        engine: Box<dyn Engine>,
        generation_config: GenerationConfig,
    ) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            processor,
            engine,
            generation_config,
            length_logged: Once::new(),
        }
    }

    /// Runs requests in one batch. The result has one answer per request. `prompts` are those of
    /// [`Self::prompts`].
    pub(crate) fn run(
        &self,
        requests: &[Request<'_>],
        prompts: &TokenizedPrompts,
        options: &RunOptions,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Answer>> {
        let images = self.encode_images(requests, &options.cancel)?;
        self.answer(requests, prompts, &images, options, observer)
    }

    /// Runs requests whose distinct images are preprocessed.
    pub(crate) fn run_preprocessed(
        &self,
        requests: &[Request<'_>],
        prompts: &TokenizedPrompts,
        preprocessed: Preprocessed,
        options: &RunOptions,
    ) -> Result<Vec<Answer>> {
        let images = EncodedImages {
            images: distinct_images(requests),
            encoded: Some(self.encode(preprocessed, &options.cancel)?),
        };
        self.answer(
            requests,
            prompts,
            &images,
            options,
            &mut GenerationObserver::default(),
        )
    }

    /// Encodes the distinct images of requests.
    pub(crate) fn encode_images<'a>(
        &self,
        requests: &[Request<'a>],
        cancel: &CancelToken,
    ) -> Result<EncodedImages<'a>> {
        let images = distinct_images(requests);
        let encoded = match images.is_empty() {
            true => None,
            false => Some(self.encode(self.preprocess(&images)?, cancel)?),
        };
        Ok(EncodedImages { images, encoded })
    }

    /// Encodes one image, for requests that share its features.
    pub(crate) fn image_features(
        &self,
        image: &Image,
        cancel: &CancelToken,
    ) -> Result<ImageFeatures> {
        Ok(ImageFeatures {
            model: self.id,
            encoded: self.encode(self.preprocess(&[image])?, cancel)?,
            size: image.size(),
        })
    }

    /// Answers requests whose images are encoded.
    fn answer(
        &self,
        requests: &[Request<'_>],
        prompts: &TokenizedPrompts,
        images: &EncodedImages<'_>,
        options: &RunOptions,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Answer>> {
        let started = Instant::now();
        let sequences = self.generate(&images.rows(requests), prompts, options, observer)?;
        let generate = started.elapsed();
        let answers = requests.iter().zip(sequences).map(|(request, sequences)| {
            let timings = Timings {
                generate,
                ..images.timings(request)
            };
            self.post_process(request, sequences, timings, options)
        });
        answers.collect()
    }

    /// Resizes and normalises images.
    pub(crate) fn preprocess(&self, images: &[&Image]) -> Result<Preprocessed> {
        let started = Instant::now();
        Ok(Preprocessed {
            pixel_values: self.processor.image_processor.preprocess(images)?,
            took: started.elapsed(),
        })
    }

    /// Runs the vision tower and the projector.
    fn encode(&self, images: Preprocessed, cancel: &CancelToken) -> Result<Encoded> {
        let started = Instant::now();
        let features = self.engine.encode_image(images.pixel_values, cancel)?;
        let timings = Timings {
            preprocess: images.took,
            vision: started.elapsed(),
            ..Timings::default()
        };
        Ok(Encoded { features, timings })
    }

    /// Checks the requests, and converts their prompts to ids of the model's vocabulary, padded to
    /// the longest prompt. The vision tower does not run.
    ///
    /// # Errors
    /// The error of the first invalid request, as [`Error::Request`] if there are several requests.
    pub(crate) fn prompts(&self, requests: &[Request<'_>]) -> Result<TokenizedPrompts> {
        let error = match self.checked_prompts(requests) {
            Ok(prompts) => return Ok(prompts),
            Err(error) => error,
        };
        if requests.len() == 1 {
            return Err(error);
        }
        for (index, request) in requests.iter().enumerate() {
            if let Err(source) = self.checked_prompts(std::slice::from_ref(request)) {
                let source = Box::new(source);
                return Err(Error::Request { index, source });
            }
        }
        Err(error)
    }

    fn checked_prompts(&self, requests: &[Request<'_>]) -> Result<TokenizedPrompts> {
        for request in requests {
            self.check(request)?;
        }
        let prompts = self.tokenize(requests)?;
        for (request, mask) in requests.iter().zip(&prompts.attention_mask) {
            let tokens = mask.iter().filter(|kept| **kept != 0).count();
            self.check_positions(request.image.size(), tokens)?;
        }
        Ok(prompts)
    }

    /// Checks that an image and a prompt of `tokens` tokens fit the encoder's positions.
    fn check_positions(&self, image_size: ImageSize, tokens: usize) -> Result<()> {
        let config = self.engine.config();
        let size = self.processor.image_processor.output_size(image_size)?;
        let (height, width) = (size.height as usize, size.width as usize);
        let image_tokens = config.vision_config.image_tokens(height, width)?;
        Ok(config
            .text_config
            .check_encoder_positions(image_tokens, tokens)?)
    }

    /// Converts the prompts to ids of the model's vocabulary, padded to the longest prompt.
    fn tokenize(&self, requests: &[Request<'_>]) -> Result<TokenizedPrompts> {
        let prompts: Vec<(&Prompt, ImageSize)> = requests
            .iter()
            .map(|request| (&request.prompt, request.image.size()))
            .collect();
        let prompts = self.processor.tokenize(&prompts)?;
        self.check_vocabulary(prompts.input_ids.iter().flatten())?;
        Ok(prompts)
    }

    /// Runs the language model. The result has one or more sequences per request, best first.
    fn generate(
        &self,
        images: &[FeatureRow<'_>],
        prompts: &TokenizedPrompts,
        options: &RunOptions,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Vec<GeneratedSequence>>> {
        let config = options.generation.apply(&self.generation_config);
        self.log_reduced_length(&config, options);
        let tokenizer = &self.processor.tokenizer;
        let generation = Generation {
            config: &config,
            vocab_size: tokenizer.id_limit(),
            token_bytes: &|id| tokenizer.token_bytes(id),
            location_window: self.location_window(options),
            cancel: &options.cancel,
        };
        self.engine.generate(images, prompts, &generation, observer)
    }

    /// The window of a location token; `None` if the tokenizer's location tokens have no order.
    fn location_window(&self, options: &RunOptions) -> Option<LocationWindow> {
        let ids = self.processor.tokenizer.location_ids()?;
        let tolerance = options.location_tolerance.unwrap_or(LOCATION_TOLERANCE);
        let count = ids.end - ids.start;
        Some(LocationWindow::new(ids.start, count, tolerance))
    }

    /// Parses the sequences of a request: the best one, and the others as its alternatives.
    fn post_process(
        &self,
        request: &Request<'_>,
        sequences: Vec<GeneratedSequence>,
        timings: Timings,
        options: &RunOptions,
    ) -> Result<Answer> {
        let answers = sequences
            .into_iter()
            .map(|sequence| self.parse(request, sequence, timings, options));
        let mut answers = answers.collect::<Result<Vec<_>>>()?.into_iter();
        // INVARIANT: every search returns at least one sequence.
        let mut best = answers.next().expect("a sequence per request");
        best.alternatives = answers.collect();
        Ok(best)
    }

    fn parse(
        &self,
        Request { image, prompt }: &Request<'_>,
        sequence: GeneratedSequence,
        timings: Timings,
        options: &RunOptions,
    ) -> Result<Answer> {
        let image_size = image.size();
        let result = self.processor.post_process_generation(
            &sequence.token_ids,
            &sequence.log_probs,
            &sequence.location_log_probs,
            prompt,
            image_size,
            options.coordinates,
        );
        Ok(Answer {
            text: result.text,
            raw_text: self.processor.tokenizer.decode(&sequence.token_ids),
            regions: result.regions,
            score: result.score,
            prompt: prompt.clone(),
            input: prompt.input_text(image_size)?,
            image_size,
            coordinates: result.coordinates,
            post_processing_type: result.post_processing_type,
            token_ids: sequence.token_ids,
            token_log_probs: sequence.log_probs,
            sequence_score: sequence.score,
            finish_reason: sequence.finish_reason,
            alternatives: Vec::new(),
            timings,
        })
    }

    /// Performs the checks of a request that require neither the tokenizer nor the model.
    fn check(&self, request: &Request<'_>) -> Result<()> {
        if let ImageInput::Features(features) = request.image
            && features.model != self.id
        {
            return Err(other_models_features());
        }
        request.prompt.expand(request.image.size())?;
        Ok(())
    }

    /// Returns an error for an id without an embedding. A tokenizer may contain such ids: that of
    /// another model, or that of a fine-tuned model whose embeddings were not extended.
    pub(crate) fn check_vocabulary<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a u32>,
    ) -> Result<()> {
        let vocab_size = self.engine.config().text_config.vocab_size;
        let Some(id) = ids.into_iter().find(|id| **id as usize >= vocab_size) else {
            return Ok(());
        };
        let token = self.processor.tokenizer.decode(&[*id]);
        Err(Error::argument(
            "input_ids",
            format!("`{token}` with id {id}"),
            format!("ids below the model's vocab_size {vocab_size}"),
        ))
    }

    /// Logs, once per model, that the run options request more tokens than the model has positions.
    /// The same setting in the model's files is one of the model's warnings.
    fn log_reduced_length(&self, config: &GenerationConfig, options: &RunOptions) {
        let overrides = &options.generation;
        if overrides.max_new_tokens.is_none() && overrides.max_length.is_none() {
            return;
        }
        let positions = self.engine.config().text_config.max_position_embeddings;
        if let Some((option, found, used)) = config.beyond_positions(positions) {
            self.length_logged.call_once(|| {
                log::warn!("{option}: found {found}, used {used}, the model's positions");
            });
        }
    }
}

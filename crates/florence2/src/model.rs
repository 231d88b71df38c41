//! [`Florence2`]: from an image and a task to the answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use florence2_core::Florence2Config;
use florence2_core::generate::{
    CancelToken, GeneratedSequence, GenerationConfig, GenerationObserver,
};
use florence2_core::weights::{Adapter, Checkpoint, WeightsReport};
use florence2_postprocess::ImageSize;
use florence2_processor::{Florence2Processor, Image, Prompt};

use crate::answer::{Answer, ScoredToken, TargetScore, Timings};
use crate::device;
use crate::engine::{Engine, Features, Generation};
use crate::error::{Error, Result};
use crate::options::{LoadOptions, RunOptions};

/// A loaded model. Immutable: any number of threads may run it at once.
pub struct Florence2 {
    processor: Florence2Processor,
    engine: Box<dyn Engine>,
    generation_config: GenerationConfig,
}

/// An image that went through the vision tower once and can be asked many times.
pub struct ImageFeatures {
    features: Features,
    image_size: ImageSize,
    timings: Timings,
}

/// A model's files in memory.
#[derive(Clone)]
pub struct ModelBytes<'a> {
    /// `config.json`.
    pub config: &'a [u8],
    /// `generation_config.json`, where there is one.
    pub generation_config: Option<&'a [u8]>,
    /// `preprocessor_config.json`.
    pub preprocessor_config: &'a [u8],
    /// `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// `model.safetensors`.
    pub weights: Arc<[u8]>,
}

impl Florence2 {
    /// Loads a model folder of either layout onto the best device.
    ///
    /// # Errors
    /// [`Error`] naming the file that is missing or broken, or all tensors that do not fit.
    pub fn load(directory: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(directory, &LoadOptions::default())
    }

    /// Loads a model folder as told.
    ///
    /// # Errors
    /// As [`Self::load`]; [`Error::Device`] when this build has no such device.
    pub fn load_with(directory: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        let directory = directory.as_ref();
        let config_path = directory.join("config.json");
        let config = read(&config_path)?;
        let generation_config_path = directory.join("generation_config.json");
        let generation_config = match generation_config_path.exists() {
            true => Some(read(&generation_config_path)?),
            false => None,
        };
        let processor = Florence2Processor::from_dir(directory)?;
        let checkpoint = Checkpoint::open(directory)?;
        let config_name = config_path.display().to_string();
        Self::new(
            processor,
            &Florence2Config::from_json(&config, &config_name)?,
            GenerationConfig::from_json(generation_config.as_deref(), &config)?,
            &checkpoint,
            options,
        )
    }

    /// Loads a model whose files are in memory.
    ///
    /// # Errors
    /// As [`Self::load_with`].
    pub fn from_bytes(bytes: ModelBytes<'_>, options: &LoadOptions) -> Result<Self> {
        Self::new(
            Florence2Processor::from_bytes(bytes.preprocessor_config, bytes.tokenizer)?,
            &Florence2Config::from_json(bytes.config, "config.json")?,
            GenerationConfig::from_json(bytes.generation_config, bytes.config)?,
            &Checkpoint::from_safetensors_bytes(bytes.weights, "model.safetensors")?,
            options,
        )
    }

    /// Loads the embedded demo model: a very small Florence-2 that knows coloured shapes and short
    /// words, and answers nonsense on anything else.
    ///
    /// # Errors
    /// [`Error::Device`] when this build has no device.
    #[cfg(feature = "demo")]
    pub fn demo() -> Result<Self> {
        Self::demo_with(&LoadOptions::default())
    }

    /// Loads the embedded demo model as told.
    ///
    /// # Errors
    /// [`Error::Device`] when this build has no such device.
    #[cfg(feature = "demo")]
    pub fn demo_with(options: &LoadOptions) -> Result<Self> {
        Self::from_bytes(crate::demo::model(), options)
    }

    fn new(
        processor: Florence2Processor,
        config: &Florence2Config,
        generation_config: GenerationConfig,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
    ) -> Result<Self> {
        let adapters: Vec<Adapter> = device::open_adapters(&options.adapters)?;
        Ok(Self {
            processor,
            engine: device::load(&options.device, config, checkpoint, &adapters)?,
            generation_config,
        })
    }

    /// Runs a task, or any prompt, on an image.
    ///
    /// # Errors
    /// [`Error::Processor`] when the prompt lacks its input or has one too many,
    /// [`Error::Model`] when it is too long.
    pub fn run(&self, image: &Image, prompt: impl Into<Prompt>) -> Result<Answer> {
        self.run_with(image, prompt, &RunOptions::default())
    }

    /// Runs a prompt on an image as told.
    ///
    /// # Errors
    /// As [`Self::run`]; naming the option that cannot be.
    pub fn run_with(
        &self,
        image: &Image,
        prompt: impl Into<Prompt>,
        options: &RunOptions,
    ) -> Result<Answer> {
        let features = self.encode_image(image, &options.cancel)?;
        self.run_features(
            &features,
            prompt,
            options,
            &mut GenerationObserver::default(),
        )
    }

    /// Runs many prompts, each on its image, in one batch: every answer equals the one that its
    /// prompt gets alone.
    ///
    /// # Errors
    /// As [`Self::run_with`]; an empty batch gives no answers.
    pub fn run_batch(
        &self,
        requests: &[(&Image, Prompt)],
        options: &RunOptions,
    ) -> Result<Vec<Answer>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let images: Vec<&Image> = requests.iter().map(|(image, _)| *image).collect();
        let (features, timings) = self.encode_images(&images, &options.cancel)?;
        let prompts: Vec<(&Prompt, ImageSize)> = requests
            .iter()
            .map(|(image, prompt)| (prompt, image.size()))
            .collect();
        let rows: Vec<usize> = (0..requests.len()).collect();
        let observer = &mut GenerationObserver::default();
        self.answer(&features, &rows, &prompts, timings, options, observer)
    }

    /// Runs the vision tower once, for any number of prompts about the image.
    ///
    /// # Errors
    /// [`florence2_core::Error::Cancelled`].
    pub fn encode_image(&self, image: &Image, cancel: &CancelToken) -> Result<ImageFeatures> {
        let (features, timings) = self.encode_images(&[image], cancel)?;
        Ok(ImageFeatures {
            features,
            image_size: image.size(),
            timings,
        })
    }

    /// Runs a prompt on an encoded image, telling `observer` of every token.
    ///
    /// # Errors
    /// As [`Self::run_with`].
    pub fn run_features(
        &self,
        features: &ImageFeatures,
        prompt: impl Into<Prompt>,
        options: &RunOptions,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Answer> {
        let prompt = prompt.into();
        let prompts = [(&prompt, features.image_size)];
        let timings = features.timings;
        let answers = self.answer(
            &features.features,
            &[0],
            &prompts,
            timings,
            options,
            observer,
        )?;
        // INVARIANT: one prompt, one answer.
        Ok(answers.into_iter().next().expect("an answer per prompt"))
    }

    /// How likely the model finds `target` as the answer: `forward` with labels.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn score(
        &self,
        image: &Image,
        prompt: impl Into<Prompt>,
        target: &str,
    ) -> Result<TargetScore> {
        let prompt = prompt.into();
        let input = self.processor.process(&[(image, &prompt)])?;
        let tokenizer = &self.processor.tokenizer;
        let labels = tokenizer.encode(target)?;
        let score = self
            .engine
            .score(input.pixel_values, &input.prompts, &labels)?;
        let tokens = labels
            .iter()
            .zip(score.log_probs)
            .map(|(id, log_prob)| ScoredToken {
                token_id: *id,
                text: tokenizer.decode(&[*id]),
                log_prob,
            });
        Ok(TargetScore {
            loss: score.loss,
            tokens: tokens.collect(),
        })
    }

    /// The model's configuration.
    pub fn config(&self) -> &Florence2Config {
        self.engine.config()
    }

    /// How the model generates when nothing else is asked for.
    pub fn generation_config(&self) -> &GenerationConfig {
        &self.generation_config
    }

    /// Image processor and tokenizer.
    pub fn processor(&self) -> &Florence2Processor {
        &self.processor
    }

    fn encode_images(
        &self,
        images: &[&Image],
        cancel: &CancelToken,
    ) -> Result<(Features, Timings)> {
        let started = Instant::now();
        let pixel_values = self.processor.image_processor.preprocess(images)?;
        let preprocessed = Instant::now();
        let features = self.engine.encode_image(pixel_values, cancel)?;
        let timings = Timings {
            preprocess: preprocessed - started,
            vision: preprocessed.elapsed(),
            ..Timings::default()
        };
        Ok((features, timings))
    }

    /// Prompts about encoded images to answers: tokens in, generation, tokens out, parsing.
    fn answer(
        &self,
        features: &Features,
        rows: &[usize],
        prompts: &[(&Prompt, ImageSize)],
        mut timings: Timings,
        options: &RunOptions,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Answer>> {
        let started = Instant::now();
        let tokens = self.processor.tokenize(prompts)?;
        let generation = Generation {
            config: &options.generation.apply(&self.generation_config),
            vocab_size: self.processor.tokenizer.vocab_size(),
            cancel: &options.cancel,
        };
        let sequences = self
            .engine
            .generate(features, rows, &tokens, &generation, observer)?;
        timings.generate = started.elapsed();
        let answers = prompts
            .iter()
            .zip(sequences)
            .map(|((prompt, size), sequences)| {
                let mut answers = sequences
                    .into_iter()
                    .map(|sequence| self.parse(sequence, prompt, *size, timings, options))
                    .collect::<Result<Vec<_>>>()?
                    .into_iter();
                // INVARIANT: every search gives at least one sequence.
                let mut best = answers.next().expect("a sequence per prompt");
                best.alternatives = answers.collect();
                Ok(best)
            });
        answers.collect()
    }

    fn parse(
        &self,
        sequence: GeneratedSequence,
        prompt: &Prompt,
        image_size: ImageSize,
        timings: Timings,
        options: &RunOptions,
    ) -> Result<Answer> {
        let result = self.processor.post_process_generation(
            &sequence.token_ids,
            &sequence.log_probs,
            prompt,
            image_size,
            options.compat,
        );
        Ok(Answer {
            prompt: prompt.clone(),
            input: prompt.input_text(image_size)?,
            image_size,
            text: self.processor.tokenizer.decode(&sequence.token_ids),
            token_ids: sequence.token_ids,
            token_log_probs: sequence.log_probs,
            sequence_score: sequence.score,
            finish_reason: sequence.finish_reason,
            result,
            alternatives: Vec::new(),
            timings,
        })
    }
}

/// What a model folder holds, and how its tensors differ from its configuration. No tensor is read.
///
/// # Errors
/// [`Error::Model`] naming the file that is missing or broken.
pub fn inspect(
    directory: impl AsRef<Path>,
) -> Result<(Florence2Config, Checkpoint, WeightsReport)> {
    let directory = directory.as_ref();
    let path = directory.join("config.json");
    let config = Florence2Config::from_json(&read(&path)?, &path.display().to_string())?;
    let checkpoint = Checkpoint::open(directory)?;
    let report = device::inspect(&config, &checkpoint)?;
    Ok((config, checkpoint, report))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| {
        Error::Model(florence2_core::Error::Io {
            path: path.to_owned(),
            source,
        })
    })
}

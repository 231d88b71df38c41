//! [`Florence2`]: from an image and a task to the answer.

use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use florence2_core::generate::{
    CancelToken, GeneratedSequence, GenerationConfig, GenerationObserver,
};
use florence2_core::weights::{Adapter, Checkpoint, WeightsReport};
use florence2_core::{Florence2Config, Warning};
use florence2_kernels::Precision;
use florence2_postprocess::ImageSize;
use florence2_processor::{Florence2Processor, Image, PixelValues, Prompt};

use crate::answer::{Answer, ScoredToken, TargetScore, Timings};
use crate::device;
use crate::engine::{Engine, FeatureRow, Features, Generation, other_models_features};
use crate::error::{Error, Result};
use crate::files::MemoryFiles;
use crate::options::{AdapterOptions, LoadOptions, RunOptions};
use crate::threads::{Threads, check_process};

/// A loaded model. Immutable: any number of threads may run it at once.
pub struct Florence2 {
    id: u64,
    processor: Florence2Processor,
    engine: Box<dyn Engine>,
    device: String,
    dtype: Precision,
    threads: Threads,
    generation_config: GenerationConfig,
    warnings: Vec<Warning>,
    length_logged: Once,
}

/// Models are told apart by number: features of one are nonsense to another.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// An image that went through the vision tower once and can be asked many times.
pub struct ImageFeatures {
    model: u64,
    features: Features,
    image_size: ImageSize,
    timings: Timings,
}

impl ImageFeatures {
    /// The image's size in pixels.
    pub fn size(&self) -> ImageSize {
        self.image_size
    }
}

/// What a request is about.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// An image.
    Image(&'a Image),
    /// An image that has been encoded by the same model.
    Features(&'a ImageFeatures),
}

impl Subject<'_> {
    pub(crate) fn size(&self) -> ImageSize {
        match self {
            Self::Image(image) => image.size(),
            Self::Features(features) => features.image_size,
        }
    }
}

/// A question about an image.
#[derive(Clone)]
pub struct Request<'a> {
    /// The image.
    pub subject: Subject<'a>,
    /// The question.
    pub prompt: Prompt,
}

impl Florence2 {
    /// Loads a model folder of either layout onto the best device.
    ///
    /// # Errors
    /// [`Error`] naming the file that is missing or broken, or all tensors that do not fit.
    pub fn load(directory: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(directory, &LoadOptions::default())
    }

    /// Loads a model folder with options.
    ///
    /// # Errors
    /// As [`Self::load`]; [`Error::ProcessorFiles`] if the folder lacks the tokenizer or the
    /// preprocessor's configuration; [`Error::Device`] when this build has no such device,
    /// [`Error::DeviceUnavailable`] when it does not work on this machine or has no room for the model,
    /// [`Error::Dtype`] when it does not have the dtype.
    pub fn load_with(directory: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        let directory = directory.as_ref();
        let config_path = directory.join("config.json");
        let config = read(&config_path)?;
        let generation_config_path = directory.join("generation_config.json");
        let generation_config = match generation_config_path.exists() {
            true => Some(read(&generation_config_path)?),
            false => None,
        };
        let processor = processor(options.processor.as_deref().unwrap_or(directory))?;
        let checkpoint = checkpoint(directory, options.weights.as_deref())?;
        let config_name = config_path.display().to_string();
        Self::new(
            processor,
            &Florence2Config::from_json(&config, &config_name)?,
            GenerationConfig::from_json(generation_config.as_deref(), &config)?,
            &checkpoint,
            options,
        )
    }

    /// Loads a model whose files are in memory: those that [`Self::load`] reads from a folder, and
    /// weights of any name.
    ///
    /// # Errors
    /// As [`Self::load_with`]; also if the options name files on disk, or if no file of a model has
    /// the name of one of `files`.
    pub fn from_files(files: &MemoryFiles, options: &LoadOptions) -> Result<Self> {
        refuse_path("weights", options.weights.as_deref())?;
        refuse_path("processor", options.processor.as_deref())?;
        files.check_model_names()?;
        let config = files.config()?;
        Self::new(
            files.processor()?,
            &Florence2Config::from_json(config, "config.json")?,
            GenerationConfig::from_json(files.generation_config(), config)?,
            &files.checkpoint()?,
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
    /// As [`Self::load_with`].
    #[cfg(feature = "demo")]
    pub fn demo_with(options: &LoadOptions) -> Result<Self> {
        Self::from_files(&crate::demo::files(), options)
    }

    fn new(
        processor: Florence2Processor,
        config: &Florence2Config,
        (generation_config, mut warnings): (GenerationConfig, Vec<Warning>),
        checkpoint: &Checkpoint,
        options: &LoadOptions,
    ) -> Result<Self> {
        let adapters = options.adapters.iter().map(AdapterOptions::open);
        let adapters: Vec<Adapter> = adapters.collect::<Result<_>>()?;
        let threads = Threads::new(options.threads, options.spin_limit)?;
        options.cancel.check()?;
        let (device, engine, weights) = device::load(options, config, checkpoint, &adapters)?;
        warnings.extend(weights);
        for warning in &warnings {
            log::warn!("{warning}");
        }
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            processor,
            engine,
            device,
            dtype: options.dtype,
            threads,
            generation_config,
            warnings,
            length_logged: Once::new(),
        })
    }

    /// Runs a task, or any prompt, on an image.
    ///
    /// # Errors
    /// [`Error::Processor`] when the prompt lacks its input or has one too many,
    /// [`Error::Model`] when it is too long, [`Error::DeviceFailed`] when the device is a GPU whose
    /// memory runs out.
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
        self.run_request(Subject::Image(image), prompt.into(), options)
    }

    /// Runs many prompts, each on its image, in one batch: every answer equals the one that its
    /// prompt gets alone.
    ///
    /// # Errors
    /// As [`Self::run_requests`].
    pub fn run_batch(
        &self,
        requests: &[(&Image, Prompt)],
        options: &RunOptions,
    ) -> Result<Vec<Answer>> {
        let requests: Vec<Request<'_>> = requests
            .iter()
            .map(|(image, prompt)| Request {
                subject: Subject::Image(image),
                prompt: prompt.clone(),
            })
            .collect();
        self.run_requests(&requests, options, &mut GenerationObserver::default())
    }

    /// Runs the vision tower once, for any number of prompts about the image.
    ///
    /// # Errors
    /// [`florence2_core::Error::Cancelled`], [`florence2_core::Error::DeadlineExceeded`],
    /// [`Error::DeviceFailed`].
    pub fn encode_image(&self, image: &Image, cancel: &CancelToken) -> Result<ImageFeatures> {
        check_process()?;
        let (features, timings) = self
            .threads
            .install(|| self.encode_images(&[image], cancel))?;
        Ok(ImageFeatures {
            model: self.id,
            features,
            image_size: image.size(),
            timings,
        })
    }

    /// Runs a prompt on an encoded image.
    ///
    /// # Errors
    /// As [`Self::run_with`].
    pub fn run_features(
        &self,
        features: &ImageFeatures,
        prompt: impl Into<Prompt>,
        options: &RunOptions,
    ) -> Result<Answer> {
        self.run_request(Subject::Features(features), prompt.into(), options)
    }

    /// Runs requests in one batch, telling `observer` of every token: every answer equals the one
    /// that its request gets alone. Images that several requests share are encoded once.
    ///
    /// # Errors
    /// As [`Self::run_with`], naming the request; no requests give no answers.
    pub fn run_requests(
        &self,
        requests: &[Request<'_>],
        options: &RunOptions,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Answer>> {
        check_process()?;
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        for (index, request) in requests.iter().enumerate() {
            self.check(request).map_err(|error| match requests.len() {
                1 => error,
                _ => Error::Request {
                    index,
                    source: Box::new(error),
                },
            })?;
        }
        self.threads.install_observed(observer, |observer| {
            let encoded = self.encode_subjects(requests, &options.cancel)?;
            self.answer(requests, &encoded, options, observer)
        })
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
        let request = Request {
            subject: Subject::Image(image),
            prompt: prompt.into(),
        };
        self.score_request(&request, target, &CancelToken::default())
    }

    /// [`Self::score`] of a request.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn score_request(
        &self,
        request: &Request<'_>,
        target: &str,
        cancel: &CancelToken,
    ) -> Result<TargetScore> {
        check_process()?;
        self.check(request)?;
        let tokenizer = &self.processor.tokenizer;
        let labels = tokenizer.encode(target)?;
        let prompts = [(&request.prompt, request.subject.size())];
        let prompts = self.processor.tokenize(&prompts)?;
        self.check_vocabulary(prompts.input_ids.iter().flatten().chain(&labels))?;
        let score = self.threads.install(|| {
            let request = std::slice::from_ref(request);
            let encoded = self.encode_subjects(request, cancel)?;
            cancel.check()?;
            self.engine
                .score(encoded.rows(request)[0], &prompts, &labels)
        })?;
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

    /// The device's name, one of [`crate::devices`].
    pub fn device(&self) -> &str {
        &self.device
    }

    /// How the model's weights are kept.
    pub fn dtype(&self) -> Precision {
        self.dtype
    }

    /// Threads that the model computes with.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// The model's configuration.
    pub fn config(&self) -> &Florence2Config {
        self.engine.config()
    }

    /// How the model generates when nothing else is asked for.
    pub fn generation_config(&self) -> &GenerationConfig {
        &self.generation_config
    }

    /// Settings and tensors of the model's files that the model was loaded without. They are also
    /// logged at the level `warn`.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Image processor and tokenizer.
    pub fn processor(&self) -> &Florence2Processor {
        &self.processor
    }

    pub(crate) fn run_request(
        &self,
        subject: Subject<'_>,
        prompt: Prompt,
        options: &RunOptions,
    ) -> Result<Answer> {
        let request = Request { subject, prompt };
        let observer = &mut GenerationObserver::default();
        let answers = self.run_requests(&[request], options, observer)?;
        // INVARIANT: one request, one answer.
        Ok(answers.into_iter().next().expect("an answer per request"))
    }

    /// What can be told before any computing.
    pub(crate) fn check(&self, request: &Request<'_>) -> Result<()> {
        if let Subject::Features(features) = request.subject
            && features.model != self.id
        {
            return Err(other_models_features());
        }
        request.prompt.expand(request.subject.size())?;
        Ok(())
    }

    /// A tokenizer may know tokens that the model has no embedding of: another model's, or a fine-tune's
    /// whose weights were not extended.
    pub(crate) fn check_vocabulary<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a u32>,
    ) -> Result<()> {
        let vocab_size = self.config().text_config.vocab_size;
        let outside = |id: &&u32| **id as usize >= vocab_size;
        match ids.into_iter().find(outside) {
            None => Ok(()),
            Some(id) => {
                let token = self.processor.tokenizer.decode(&[*id]);
                Err(Error::Model(florence2_core::Error::Argument {
                    argument: "input_ids",
                    found: format!("`{token}` with id {id}"),
                    expected: format!("ids below the model's vocab_size {vocab_size}"),
                }))
            }
        }
    }

    /// Resizes and normalises images.
    pub(crate) fn preprocess(&self, images: &[&Image]) -> Result<Preprocessed> {
        let started = Instant::now();
        Ok(Preprocessed {
            pixel_values: self.processor.image_processor.preprocess(images)?,
            took: started.elapsed(),
        })
    }

    fn encode_images(
        &self,
        images: &[&Image],
        cancel: &CancelToken,
    ) -> Result<(Features, Timings)> {
        self.encode_preprocessed(self.preprocess(images)?, cancel)
    }

    fn encode_preprocessed(
        &self,
        images: Preprocessed,
        cancel: &CancelToken,
    ) -> Result<(Features, Timings)> {
        let started = Instant::now();
        let features = self.engine.encode_image(images.pixel_values, cancel)?;
        let timings = Timings {
            preprocess: images.took,
            vision: started.elapsed(),
            ..Timings::default()
        };
        Ok((features, timings))
    }

    /// Answers requests whose images, one each, are preprocessed.
    pub(crate) fn run_preprocessed(
        &self,
        requests: &[Request<'_>],
        images: Preprocessed,
        options: &RunOptions,
    ) -> Result<Vec<Answer>> {
        check_process()?;
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        self.threads.install(|| {
            let encoded = EncodedSubjects {
                images: images_of(requests),
                encoded: Some(self.encode_preprocessed(images, &options.cancel)?),
            };
            self.answer(
                requests,
                &encoded,
                options,
                &mut GenerationObserver::default(),
            )
        })
    }

    /// Encodes what is not encoded yet, each image once.
    fn encode_subjects<'a>(
        &self,
        requests: &[Request<'a>],
        cancel: &CancelToken,
    ) -> Result<EncodedSubjects<'a>> {
        let images = images_of(requests);
        let encoded = match images.is_empty() {
            true => None,
            false => Some(self.encode_images(&images, cancel)?),
        };
        Ok(EncodedSubjects { images, encoded })
    }

    /// Requests to answers: images and tokens in, generation, tokens out, parsing.
    fn answer(
        &self,
        requests: &[Request<'_>],
        encoded: &EncodedSubjects<'_>,
        options: &RunOptions,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Answer>> {
        let started = Instant::now();
        let prompts: Vec<(&Prompt, ImageSize)> = requests
            .iter()
            .map(|request| (&request.prompt, request.subject.size()))
            .collect();
        let tokens = self.processor.tokenize(&prompts)?;
        self.check_vocabulary(tokens.input_ids.iter().flatten())?;
        let config = options.generation.apply(&self.generation_config);
        self.log_reduced_length(&config, options);
        let tokenizer = &self.processor.tokenizer;
        let generation = Generation {
            config: &config,
            vocab_size: tokenizer.id_limit(),
            token_bytes: &|id| tokenizer.token_bytes(id),
            cancel: &options.cancel,
        };
        let sequences =
            self.engine
                .generate(&encoded.rows(requests), &tokens, &generation, observer)?;
        let generate = started.elapsed();
        let answers = requests.iter().zip(sequences).map(|(request, sequences)| {
            let timings = Timings {
                generate,
                ..encoded.timings(request)
            };
            let size = request.subject.size();
            let mut answers = sequences
                .into_iter()
                .map(|sequence| self.parse(sequence, &request.prompt, size, timings, options))
                .collect::<Result<Vec<_>>>()?
                .into_iter();
            // INVARIANT: every search gives at least one sequence.
            let mut best = answers.next().expect("a sequence per request");
            best.alternatives = answers.collect();
            Ok(best)
        });
        answers.collect()
    }

    /// Logs, once per model, that a run option asks for more tokens than the model has positions.
    /// The same setting in the model's files is among its warnings.
    fn log_reduced_length(&self, config: &GenerationConfig, options: &RunOptions) {
        let overrides = &options.generation;
        if overrides.max_new_tokens.is_none() && overrides.max_length.is_none() {
            return;
        }
        let positions = self.config().text_config.max_position_embeddings;
        if let Some((option, found, used)) = config.beyond_positions(positions) {
            self.length_logged.call_once(|| {
                log::warn!("{option}: found {found}, used {used}, the model's positions");
            });
        }
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

/// What the vision tower reads of images, and how long it took to make.
pub(crate) struct Preprocessed {
    pixel_values: PixelValues,
    took: Duration,
}

/// The images of a batch, each encoded once.
struct EncodedSubjects<'a> {
    images: Vec<&'a Image>,
    /// The features of `images`; none when the caller had encoded all.
    encoded: Option<(Features, Timings)>,
}

impl EncodedSubjects<'_> {
    /// Where each request's image is.
    fn rows<'b>(&'b self, requests: &'b [Request<'_>]) -> Vec<FeatureRow<'b>> {
        let row = |request: &'b Request<'_>| match (request.subject, &self.encoded) {
            (Subject::Features(ImageFeatures { features, .. }), _) => {
                Some(FeatureRow { features, row: 0 })
            }
            (Subject::Image(image), Some((features, _))) => {
                position(&self.images, image).map(|row| FeatureRow { features, row })
            }
            (Subject::Image(_), None) => None,
        };
        // INVARIANT: these are the requests whose images were encoded.
        let row = |request| row(request).expect("an encoded image per request");
        requests.iter().map(row).collect()
    }

    fn timings(&self, request: &Request<'_>) -> Timings {
        match (request.subject, &self.encoded) {
            (Subject::Image(_), Some((_, timings))) => *timings,
            (Subject::Features(features), _) => features.timings,
            (Subject::Image(_), None) => Timings::default(),
        }
    }
}

/// The images of requests, each once.
fn images_of<'a>(requests: &[Request<'a>]) -> Vec<&'a Image> {
    let mut images: Vec<&Image> = Vec::new();
    for request in requests {
        if let Subject::Image(image) = request.subject
            && position(&images, image).is_none()
        {
            images.push(image);
        }
    }
    images
}

/// Where an image is among others: the same one, not an equal one.
fn position(images: &[&Image], image: &Image) -> Option<usize> {
    images.iter().position(|known| std::ptr::eq(*known, image))
}

/// Reads a model folder's configuration and the headers of its weights, and compares them. The values
/// are not read, so wrong checksums are not found.
///
/// # Errors
/// [`Error::Model`] naming the file that is missing or damaged, and the tensors without values.
pub fn inspect(
    directory: impl AsRef<Path>,
) -> Result<(Florence2Config, Checkpoint, WeightsReport)> {
    inspect_with(directory, None)
}

/// [`inspect`] with a weights file instead of that in the folder, as [`LoadOptions::weights`].
///
/// # Errors
/// As [`inspect`].
pub fn inspect_with(
    directory: impl AsRef<Path>,
    weights: Option<&Path>,
) -> Result<(Florence2Config, Checkpoint, WeightsReport)> {
    let directory = directory.as_ref();
    let path = directory.join("config.json");
    let config = Florence2Config::from_json(&read(&path)?, &path.display().to_string())?;
    let checkpoint = checkpoint(directory, weights)?;
    let report = device::inspect(&config, &checkpoint)?;
    Ok((config, checkpoint, report))
}

/// Opens the weights of a folder, or a file instead.
fn checkpoint(directory: &Path, weights: Option<&Path>) -> Result<Checkpoint> {
    let opened = match weights {
        Some(file) => Checkpoint::open_file(file),
        None => Checkpoint::open(directory),
    };
    opened.map_err(|error| Error::Model(error.into()))
}

fn processor(directory: &Path) -> Result<Florence2Processor> {
    Florence2Processor::from_dir(directory).map_err(|error| {
        let missing = matches!(
            &error,
            florence2_processor::Error::Io { source, .. }
                if source.kind() == std::io::ErrorKind::NotFound
        );
        match missing {
            true => Error::ProcessorFiles { source: error },
            false => error.into(),
        }
    })
}

/// Refuses a path among the options of a model in memory.
fn refuse_path(argument: &'static str, path: Option<&Path>) -> Result<()> {
    match path {
        None => Ok(()),
        Some(path) => Err(Error::Model(florence2_core::Error::Argument {
            argument,
            found: path.display().to_string(),
            expected: "none, because the model's files are in memory".to_owned(),
        })),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| {
        Error::Model(florence2_core::Error::Io {
            path: path.to_owned(),
            source,
        })
    })
}

//! Evaluation of a model in memory.

use std::error::Error as _;
use std::num::NonZeroUsize;

use burn::tensor::{Int, Tensor, TensorData};
use florence2_core::generate::{
    CancelToken, GenerateOptions, GeneratedSequence, GenerationConfig, GenerationObserver,
    LocationWindow,
};
use florence2_core::{Error as ModelError, Florence2ForConditionalGeneration};
use florence2_dataset::Dataset;
use florence2_kernels::Backend;
use florence2_postprocess::{Coordinates, ImageSize, LOCATION_TOLERANCE};
use florence2_processor::{DecodeOptions, Florence2Processor, Image, Prompt, TokenizedPrompts};

use crate::error::{Error, Result};
use crate::evaluation::{Evaluation, evaluate};
use crate::options::EvaluationOptions;
use crate::record::{Prediction, Record};
use crate::sample::{Sample, samples};

/// Options of [`evaluate_model`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ModelOptions {
    /// The options of the generation. `num_return_sequences` has no effect on the result: only the
    /// best sequence is evaluated.
    pub generation: GenerationConfig,
    /// The number of samples that are answered at once.
    pub batch_size: NonZeroUsize,
    /// The number of samples, the first ones of the data set; `None` for all.
    pub limit: Option<usize>,
    /// Whether detections are ranked by their scores.
    pub use_scores: bool,
    /// The limits of the image decoder.
    pub decode: DecodeOptions,
    /// Cancels the evaluation.
    pub cancel: CancelToken,
}

impl ModelOptions {
    /// Options with a batch size of 1 and all samples.
    pub fn new(generation: GenerationConfig) -> Self {
        Self {
            generation,
            batch_size: NonZeroUsize::MIN,
            limit: None,
            use_scores: true,
            decode: DecodeOptions::default(),
            cancel: CancelToken::default(),
        }
    }
}

/// Generates the answers to a data set with a model in memory, and evaluates them.
/// [`Evaluation::metrics`] returns the scores by the names of a training's metrics. `on_record` is
/// called after each sample.
///
/// # Errors
/// - [`Error::Model`] if an option of the generation is invalid, or with
///   [`Cancelled`](ModelError::Cancelled) and [`DeadlineExceeded`](ModelError::DeadlineExceeded)
/// - [`Error::NoAnswers`] if every sample failed
/// - those of [`evaluate`]
pub fn evaluate_model<B: Backend>(
    model: &Florence2ForConditionalGeneration<B>,
    processor: &Florence2Processor,
    dataset: &Dataset,
    options: &ModelOptions,
    on_record: &mut dyn FnMut(&Record),
) -> Result<Evaluation> {
    options.generation.validate(&model.config().text_config)?;
    let mut samples = samples(dataset.examples());
    samples.truncate(options.limit.unwrap_or(usize::MAX));
    let answerer = Answerer {
        model,
        processor,
        options,
    };
    let mut records = Vec::with_capacity(samples.len());
    for batch in samples.chunks(options.batch_size.get()) {
        let answered = answerer.records(batch)?;
        answered.iter().for_each(&mut *on_record);
        records.extend(answered);
    }
    require_answer(&records)?;
    let evaluation = EvaluationOptions::default()
        .classes(dataset.classes())
        .use_scores(options.use_scores);
    evaluate(&records, &evaluation)
}

fn require_answer(records: &[Record]) -> Result<()> {
    let first = records
        .first()
        .and_then(|record| record.outcome.as_ref().err());
    match first {
        Some(first) if records.iter().all(|record| record.outcome.is_err()) => {
            Err(Error::NoAnswers {
                count: records.len(),
                first: first.clone(),
            })
        }
        _ => Ok(()),
    }
}

/// An image and a prompt that could be read.
struct Question {
    image: Image,
    prompt: Prompt,
}

struct Answerer<'a, B: Backend> {
    model: &'a Florence2ForConditionalGeneration<B>,
    processor: &'a Florence2Processor,
    options: &'a ModelOptions,
}

impl<B: Backend> Answerer<'_, B> {
    /// Answers a batch. The outer error concerns all samples.
    fn records(&self, batch: &[Sample<'_>]) -> Result<Vec<Record>> {
        let read: Vec<Result<Question, String>> =
            batch.iter().map(|sample| self.read(sample)).collect();
        let questions: Vec<&Question> = read.iter().flatten().collect();
        let mut answers = self.answer_each(&questions)?.into_iter();
        let records = batch
            .iter()
            .zip(read)
            .map(|(sample, question)| match question {
                Err(reason) => Record::failed(sample, None, reason),
                Ok(question) => {
                    let size = question.image.size();
                    // INVARIANT: there is one answer per question.
                    match answers.next().expect("an answer per question") {
                        Ok(prediction) => Record::answered(sample, size, prediction),
                        Err(error) => Record::failed(sample, Some(size), chain(&error)),
                    }
                }
            });
        Ok(records.collect())
    }

    fn read(&self, sample: &Sample<'_>) -> Result<Question, String> {
        let example = sample.example();
        let image = example.open_image(&self.options.decode);
        let question = image.and_then(|image| {
            let prompt = example.prompt()?;
            Ok(Question { image, prompt })
        });
        question.map_err(|error| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })
    }

    /// Answers questions in one batch. If this fails, answers each alone, so that only the invalid
    /// ones fail. The outer error concerns all questions.
    fn answer_each(&self, questions: &[&Question]) -> Result<Vec<Result<Prediction, Failure>>> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let error = match self.answer(questions) {
            Ok(answers) => return Ok(answers.into_iter().map(Ok).collect()),
            Err(Failure::Model(error @ (ModelError::Cancelled | ModelError::DeadlineExceeded))) => {
                return Err(error.into());
            }
            Err(error) => error,
        };
        if questions.len() == 1 {
            return Ok(vec![Err(error)]);
        }
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            answers.extend(self.answer_each(std::slice::from_ref(question))?);
        }
        Ok(answers)
    }

    fn answer(&self, questions: &[&Question]) -> Result<Vec<Prediction>, Failure> {
        let prompts: Vec<(&Prompt, ImageSize)> = questions
            .iter()
            .map(|question| (&question.prompt, question.image.size()))
            .collect();
        let prompts = self.processor.tokenize(&prompts)?;
        self.check_vocabulary(&prompts)?;
        let images: Vec<&Image> = questions.iter().map(|question| &question.image).collect();
        let pixels = self.processor.image_processor.preprocess(&images)?;
        let pixels = TensorData::new(pixels.data, pixels.shape);
        let pixels = Tensor::from_data(pixels, &self.model.device());
        let sequences = self.generate(pixels, &prompts)?;
        let answers = questions.iter().zip(sequences);
        Ok(answers
            .map(|(question, sequences)| self.parse(question, sequences))
            .collect())
    }

    /// Returns an error for an id without an embedding.
    fn check_vocabulary(&self, prompts: &TokenizedPrompts) -> Result<(), ModelError> {
        let vocab_size = self.model.config().text_config.vocab_size;
        let mut ids = prompts.input_ids.iter().flatten();
        match ids.find(|id| **id as usize >= vocab_size) {
            None => Ok(()),
            Some(id) => Err(ModelError::Argument {
                argument: "input_ids",
                found: format!("the id {id}"),
                expected: format!("ids below the model's vocab_size {vocab_size}"),
            }),
        }
    }

    fn generate(
        &self,
        pixel_values: Tensor<B, 4>,
        prompts: &TokenizedPrompts,
    ) -> Result<Vec<Vec<GeneratedSequence>>, ModelError> {
        let tokenizer = &self.processor.tokenizer;
        let token_bytes = |id| tokenizer.token_bytes(id);
        let mut inputs = GenerateOptions::default();
        inputs.attention_mask = self.padding_mask(prompts);
        inputs.vocab_size = Some(tokenizer.id_limit());
        inputs.token_bytes = Some(&token_bytes);
        inputs.location_window = self.location_window();
        inputs.cancel = self.options.cancel.clone();
        let input_ids = self.ints(&prompts.input_ids, |id| id as i32);
        let config = &self.options.generation;
        let mut observer = GenerationObserver::default();
        self.model
            .generate(pixel_values, input_ids, config, &inputs, &mut observer)
    }

    /// `[batch, tokens]`; `None` if no prompt is padded.
    fn padding_mask(&self, prompts: &TokenizedPrompts) -> Option<Tensor<B, 2, Int>> {
        let mask = &prompts.attention_mask;
        let is_padded = mask.iter().flatten().any(|kept| *kept == 0);
        is_padded.then(|| self.ints(mask, i32::from))
    }

    fn ints<T: Copy>(&self, rows: &[Vec<T>], convert: impl Fn(T) -> i32) -> Tensor<B, 2, Int> {
        let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
        let values: Vec<i32> = rows.iter().flatten().map(|value| convert(*value)).collect();
        Tensor::<B, 1, Int>::from_ints(values.as_slice(), &self.model.device()).reshape(shape)
    }

    /// The window of a location token, for the scores of regions; `None` if the tokenizer's location
    /// tokens have no order.
    fn location_window(&self) -> Option<LocationWindow> {
        let ids = self.processor.tokenizer.location_ids()?;
        let count = ids.end - ids.start;
        Some(LocationWindow::new(ids.start, count, LOCATION_TOLERANCE))
    }

    /// Parses the best sequence.
    fn parse(&self, question: &Question, sequences: Vec<GeneratedSequence>) -> Prediction {
        let Some(best) = sequences.first() else {
            return Prediction::default();
        };
        let result = self.processor.post_process_generation(
            &best.token_ids,
            &best.log_probs,
            &best.location_log_probs,
            &question.prompt,
            question.image.size(),
            Coordinates::BinCenters,
        );
        result.into()
    }
}

/// The error of a single answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Processor(#[from] florence2_processor::Error),
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// The message of an error and of its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}

//! [`Florence2`]: a loaded model and the methods that run it.

use florence2_core::generate::{CancelToken, GenerationConfig, GenerationObserver};
use florence2_core::{Florence2Config, Warning};
use florence2_kernels::Dtype;
use florence2_processor::{Florence2Processor, Image, Prompt};

use crate::answer::Answer;
use crate::error::{Error, Result};
use crate::options::RunOptions;
use crate::pipeline::Pipeline;
use crate::request::{ImageFeatures, ImageInput, Request};
use crate::threads::{Threads, check_process};

/// A loaded model. It is immutable: any number of threads may run it at the same time.
pub struct Florence2 {
    pub(crate) pipeline: Pipeline,
    pub(crate) device: String,
    pub(crate) dtype: Dtype,
    pub(crate) threads: Threads,
    pub(crate) warnings: Vec<Warning>,
}

impl Florence2 {
    /// Runs a task, or a prompt of free text, on an image.
    ///
    /// # Errors
    /// [`Error::Processor`] if the prompt lacks its input or has an input that its task does not
    /// take. [`Error::Model`] if the prompt is too long. [`Error::DeviceFailed`] if the device fails
    /// during the run, for example a GPU whose memory is exhausted.
    pub fn run(&self, image: &Image, prompt: impl Into<Prompt>) -> Result<Answer> {
        self.run_with(image, prompt, &RunOptions::default())
    }

    /// Runs a prompt on an image with options.
    ///
    /// # Errors
    /// Those of [`Self::run`]. [`Error::Model`] also with the option that is invalid, or if the run
    /// is cancelled or exceeds its deadline.
    pub fn run_with(
        &self,
        image: &Image,
        prompt: impl Into<Prompt>,
        options: &RunOptions,
    ) -> Result<Answer> {
        self.run_request(Request::of_image(image, prompt.into()), options)
    }

    /// Runs a prompt on an encoded image.
    ///
    /// # Errors
    /// Those of [`Self::run_with`]. [`Error::Model`] also if another model encoded the image.
    pub fn run_features(
        &self,
        features: &ImageFeatures,
        prompt: impl Into<Prompt>,
        options: &RunOptions,
    ) -> Result<Answer> {
        let request = Request {
            image: ImageInput::Features(features),
            prompt: prompt.into(),
        };
        self.run_request(request, options)
    }

    /// Runs requests in one batch. Each answer equals the answer of its request alone. An image that
    /// several requests share is encoded once. `observer` is called on this thread. Without
    /// requests, there are no answers.
    ///
    /// # Errors
    /// Those of [`Self::run_with`], as [`Error::Request`] with the index of the request if there are
    /// several.
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
        self.check_requests(requests)?;
        self.threads.install_observed(observer, |observer| {
            self.pipeline.run(requests, options, observer)
        })
    }

    /// Runs the vision tower on an image, for any number of prompts on its features.
    ///
    /// # Errors
    /// [`florence2_core::Error::Cancelled`], [`florence2_core::Error::DeadlineExceeded`],
    /// [`Error::DeviceFailed`].
    pub fn encode_image(&self, image: &Image, cancel: &CancelToken) -> Result<ImageFeatures> {
        check_process()?;
        self.threads
            .install(|| self.pipeline.image_features(image, cancel))
    }

    /// The name of the device, one of [`crate::devices`].
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The data type of the weights.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The number of threads that the model computes with.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// The configuration of the model.
    pub fn config(&self) -> &Florence2Config {
        self.pipeline.engine.config()
    }

    /// The generation configuration of the model's files. [`RunOptions::generation`] overrides it.
    pub fn generation_config(&self) -> &GenerationConfig {
        &self.pipeline.generation_config
    }

    /// The settings and tensors in the model's files that were not used. They are also logged at the
    /// level `warn`.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The image processor and the tokenizer.
    pub fn processor(&self) -> &Florence2Processor {
        &self.pipeline.processor
    }

    pub(crate) fn run_request(&self, request: Request<'_>, options: &RunOptions) -> Result<Answer> {
        let observer = &mut GenerationObserver::default();
        let answers = self.run_requests(&[request], options, observer)?;
        // INVARIANT: there is one answer per request.
        Ok(answers.into_iter().next().expect("an answer per request"))
    }

    fn check_requests(&self, requests: &[Request<'_>]) -> Result<()> {
        for (index, request) in requests.iter().enumerate() {
            let checked = self.pipeline.check(request);
            checked.map_err(|source| match requests.len() {
                1 => source,
                _ => Error::Request {
                    index,
                    source: Box::new(source),
                },
            })?;
        }
        Ok(())
    }
}

//! [`Florence2`]: a loaded model and the methods that run it.

use std::fmt;

use florence2_core::generate::{CancelToken, GenerationConfig, GenerationObserver};
use florence2_core::{Florence2Config, Warning};
use florence2_kernels::Dtype;
use florence2_processor::{Florence2Processor, Image, Prompt};

use crate::answer::Answer;
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::request::{ImageFeatures, ImageInput, Request};
use crate::run_options::RunOptions;
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
    /// Runs a task, or a prompt of free text, on an image. [`Self::request`] has options.
    ///
    /// # Errors
    /// [`Error::Processor`](crate::Error::Processor) if the prompt lacks its input or has an input
    /// that its task does not take. [`Error::Model`](crate::Error::Model) if the prompt is too long.
    /// [`Error::DeviceFailed`](crate::Error::DeviceFailed) if the device fails during the run, for
    /// example a GPU whose memory is exhausted.
    pub fn run<'a>(
        &self,
        image: impl Into<ImageInput<'a>>,
        prompt: impl Into<Prompt>,
    ) -> Result<Answer> {
        let image: ImageInput<'_> = image.into();
        self.request(image, prompt).run()
    }

    /// Runs requests in one batch. Each answer equals the answer of its request alone. An image that
    /// several requests share is encoded once. `observer` is called on this thread. Without
    /// requests, there are no answers.
    ///
    /// # Errors
    /// Those of [`RequestBuilder::run`](crate::RequestBuilder::run), as
    /// [`Error::Request`](crate::Error::Request) if a request of several is invalid.
    pub(crate) fn run_requests(
        &self,
        requests: &[Request<'_>],
        options: &RunOptions,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Answer>> {
        check_process()?;
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        self.check_options(options)?;
        let prompts = self.pipeline.prompts(requests)?;
        self.threads.install_observed(observer, |observer| {
            self.pipeline.run(requests, &prompts, options, observer)
        })
    }

    /// Runs the vision tower on an image, for any number of requests with its features.
    ///
    /// ```no_run
    /// use florence2::{Florence2, Image, Task};
    ///
    /// let model = Florence2::load("Florence-2-base")?;
    /// let features = model.encode_image(&Image::open("street.jpg")?)?;
    /// let caption = model.run(&features, Task::Caption)?;
    /// let objects = model.run(&features, Task::ObjectDetection)?;
    /// # Ok::<(), florence2::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::DeviceFailed`](crate::Error::DeviceFailed), [`Error::Forked`](crate::Error::Forked).
    pub fn encode_image(&self, image: &Image) -> Result<ImageFeatures> {
        self.encode_image_with(image, &CancelToken::default())
    }

    /// [`Self::encode_image`] with a token that cancels it.
    ///
    /// # Errors
    /// Those of [`Self::encode_image`], [`florence2_core::Error::Cancelled`],
    /// [`florence2_core::Error::DeadlineExceeded`].
    pub fn encode_image_with(&self, image: &Image, cancel: &CancelToken) -> Result<ImageFeatures> {
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

    /// Checks the generation options before the vision tower runs.
    pub(crate) fn check_options(&self, options: &RunOptions) -> Result<()> {
        let config = options.generation.apply(self.generation_config());
        config.validate(&self.config().text_config)?;
        Ok(())
    }
}

/// Shows the device, the data type and the number of threads.
impl fmt::Debug for Florence2 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Florence2")
            .field("device", &self.device)
            .field("dtype", &self.dtype)
            .field("threads", &self.threads.count())
            .finish_non_exhaustive()
    }
}

//! Requests: an image, or its features, and a prompt.

use std::fmt;

use florence2_postprocess::ImageSize;
use florence2_processor::{Image, Prompt};

use crate::answer::{Answer, TargetScore, Timings};
use crate::engine::Features;
use crate::error::Result;
use crate::event::{Callbacks, callback_setters};
use crate::florence2::Florence2;
use crate::options::RunOptions;
use crate::run_setters::run_setters;

/// An image and a prompt.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The image, or its features.
    pub image: ImageInput<'a>,
    /// The task with its input, or a free text.
    pub prompt: Prompt,
}

impl<'a> Request<'a> {
    /// Creates a request.
    pub fn new(image: impl Into<ImageInput<'a>>, prompt: impl Into<Prompt>) -> Self {
        Self {
            image: image.into(),
            prompt: prompt.into(),
        }
    }
}

impl<'a, I: Into<ImageInput<'a>>, P: Into<Prompt>> From<(I, P)> for Request<'a> {
    fn from((image, prompt): (I, P)) -> Self {
        Self::new(image, prompt)
    }
}

/// The image of a [`Request`].
#[derive(Debug, Clone, Copy)]
pub enum ImageInput<'a> {
    /// An image.
    Image(&'a Image),
    /// The features of an image, computed by the model that runs the request.
    Features(&'a ImageFeatures),
}

impl ImageInput<'_> {
    /// The size of the image in pixels.
    pub fn size(&self) -> ImageSize {
        match self {
            Self::Image(image) => image.size(),
            Self::Features(features) => features.size(),
        }
    }
}

impl<'a> From<&'a Image> for ImageInput<'a> {
    fn from(image: &'a Image) -> Self {
        Self::Image(image)
    }
}

impl<'a> From<&'a ImageFeatures> for ImageInput<'a> {
    fn from(features: &'a ImageFeatures) -> Self {
        Self::Features(features)
    }
}

/// The features of one image: the output of the vision tower and the projector. Any number of
/// prompts can be run on them. [`Florence2::encode_image`] computes them.
pub struct ImageFeatures {
    /// The id of the model that computed the features.
    pub(crate) model: u64,
    pub(crate) encoded: Encoded,
    pub(crate) size: ImageSize,
}

impl ImageFeatures {
    /// The size of the image in pixels.
    pub fn size(&self) -> ImageSize {
        self.size
    }
}

/// Shows the size of the image.
impl fmt::Debug for ImageFeatures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ImageFeatures")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// The features of one or more images, and the durations of the stages that computed them.
pub(crate) struct Encoded {
    pub(crate) features: Features,
    pub(crate) timings: Timings,
}

/// A request with its options. [`Florence2::request`] creates it, [`run`](Self::run) runs it.
#[derive(Debug)]
#[must_use = "a request does nothing until `run` or `score` is called"]
pub struct RequestBuilder<'a> {
    model: &'a Florence2,
    request: Request<'a>,
    options: RunOptions,
    callbacks: Callbacks<'a>,
}

impl Florence2 {
    /// Creates a request with options. `image` is an [`Image`] or [`ImageFeatures`], by reference.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use florence2::{Florence2, Image, Task};
    ///
    /// let model = Florence2::load("Florence-2-base")?;
    /// let image = Image::open("street.jpg")?;
    /// let answer = model
    ///     .request(&image, Task::DetailedCaption)
    ///     .num_beams(1)
    ///     .on_token(|token| print!("{}", token.text))
    ///     .timeout(Duration::from_secs(5))
    ///     .run()?;
    /// println!("\n{:?}", answer.finish_reason);
    /// # Ok::<(), florence2::Error>(())
    /// ```
    pub fn request<'a>(
        &'a self,
        image: impl Into<ImageInput<'a>>,
        prompt: impl Into<Prompt>,
    ) -> RequestBuilder<'a> {
        RequestBuilder {
            model: self,
            request: Request::new(image, prompt),
            options: RunOptions::default(),
            callbacks: Callbacks::default(),
        }
    }
}

impl<'a> RequestBuilder<'a> {
    /// Runs the request.
    ///
    /// # Errors
    /// Those of [`Florence2::run`]. [`Error::Model`](crate::Error::Model) also with the option that
    /// is invalid, if another model computed the features of the image, or if the run is cancelled
    /// or exceeds its deadline.
    pub fn run(self) -> Result<Answer> {
        let (model, options) = (self.model, self.options.started());
        let tokenizer = &model.processor().tokenizer;
        let answers = self.callbacks.observe(tokenizer, 1, |observer| {
            model.run_requests(&[self.request], &options, observer)
        })?;
        // INVARIANT: there is one answer per request.
        Ok(answers.into_iter().next().expect("an answer per request"))
    }

    /// Computes the log-probability of `target` as the answer to this request: HF `forward` with
    /// labels. Only the cancel token, the deadline and the timeout of the options have an effect.
    ///
    /// # Errors
    /// Those of [`Self::run`].
    pub fn score(self, target: &str) -> Result<TargetScore> {
        let cancel = self.options.started().cancel;
        self.model.score_request(&self.request, target, &cancel)
    }

    run_setters!(options);
    callback_setters!('a);
}

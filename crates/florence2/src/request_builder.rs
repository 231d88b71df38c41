//! [`RequestBuilder`]: one request with its options.

use florence2_processor::Prompt;

use crate::answer::{Answer, TargetScore};
use crate::error::Result;
use crate::event::{Callbacks, callback_setters};
use crate::florence2::Florence2;
use crate::request::{ImageInput, Request};
use crate::run_options::{RunOptions, run_setters};

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
    /// Creates a request with options. `image` is an [`Image`](crate::Image) or
    /// [`ImageFeatures`](crate::ImageFeatures), by reference.
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

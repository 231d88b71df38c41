//! Batches of requests whose failures do not affect each other.

use std::ops::ControlFlow;
use std::slice;

use florence2_core::Error as ModelError;
use florence2_core::generate::{GenerationEvent, GenerationObserver};

use crate::answer::Answer;
use crate::error::{Error, Result};
use crate::event::{Callbacks, callback_setters};
use crate::florence2::Florence2;
use crate::request::Request;
use crate::run_options::{RunOptions, run_setters};

/// Requests that run in one batch, with their options. [`Florence2::batch`] creates it.
#[derive(Debug)]
#[must_use = "a batch does nothing until `run` is called"]
pub struct BatchBuilder<'a> {
    model: &'a Florence2,
    requests: Vec<Request<'a>>,
    options: RunOptions,
    callbacks: Callbacks<'a>,
}

impl Florence2 {
    /// Creates a batch of requests: pairs of an image (or its features) and a prompt, or
    /// [`Request`]s. An image that several requests share is encoded once. The required memory
    /// grows with the number of requests.
    ///
    /// ```no_run
    /// use florence2::{Florence2, Image, Task};
    ///
    /// let model = Florence2::load("Florence-2-base")?;
    /// let (street, garden) = (Image::open("street.jpg")?, Image::open("garden.jpg")?);
    /// let requests = [(&street, Task::Caption), (&garden, Task::ObjectDetection)];
    /// for answer in model.batch(requests).num_beams(1).run()? {
    ///     match answer {
    ///         Ok(answer) => println!("{}", answer.text),
    ///         Err(error) => eprintln!("{}", florence2::error_chain(&error)),
    ///     }
    /// }
    /// # Ok::<(), florence2::Error>(())
    /// ```
    pub fn batch<'a, R: Into<Request<'a>>>(
        &'a self,
        requests: impl IntoIterator<Item = R>,
    ) -> BatchBuilder<'a> {
        BatchBuilder {
            model: self,
            requests: requests.into_iter().map(Into::into).collect(),
            options: RunOptions::default(),
            callbacks: Callbacks::default(),
        }
    }
}

impl<'a> BatchBuilder<'a> {
    /// Runs the requests. There is one result per request, in order, and each answer equals the
    /// answer of its request alone. A failed request does not affect the others.
    ///
    /// # Errors
    /// Errors that concern all requests: invalid options, [`Error::DeviceFailed`],
    /// [`Error::Forked`], [`ModelError::Cancelled`] and [`ModelError::DeadlineExceeded`].
    pub fn run(self) -> Result<Vec<Result<Answer>>> {
        let (model, requests, options) = (self.model, &self.requests, self.options.started());
        let tokenizer = &model.processor().tokenizer;
        self.callbacks
            .observe(tokenizer, requests.len(), |observer| {
                model.run_requests_each(requests, &options, observer)
            })
    }

    /// Runs the requests, and fails if one of them fails. Requests that are invalid are found
    /// before the model runs.
    ///
    /// # Errors
    /// Those of [`Self::run`] and of [`RequestBuilder::run`](crate::RequestBuilder::run). If one
    /// of several requests is invalid, [`Error::Request`] with its index.
    pub fn run_all(self) -> Result<Vec<Answer>> {
        let (model, requests, options) = (self.model, &self.requests, self.options.started());
        let tokenizer = &model.processor().tokenizer;
        self.callbacks
            .observe(tokenizer, requests.len(), |observer| {
                model.run_requests(requests, &options, observer)
            })
    }

    run_setters!(options);
    callback_setters!('a);
}

impl Florence2 {
    /// Runs requests in one batch, as [`run_requests`](Self::run_requests) does, and returns a
    /// result for each.
    fn run_requests_each(
        &self,
        requests: &[Request<'_>],
        options: &RunOptions,
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Result<Answer>>> {
        let config = options.generation.apply(self.generation_config());
        let text_config = &self.config().text_config;
        config.validate(text_config)?;
        let starts = config.start_tokens(text_config, requests.len())?;
        let mut results: Vec<Option<Result<Answer>>> = requests
            .iter()
            .map(|request| {
                self.pipeline
                    .prompts(slice::from_ref(request))
                    .err()
                    .map(Err)
            })
            .collect();
        let indices: Vec<usize> = (0..requests.len())
            .filter(|index| results[*index].is_none())
            .collect();
        let mut batch = Batch {
            model: self,
            requests,
            options,
            starts: &starts,
            emitted: Emitted::new(requests.len()),
        };
        let answers = batch.run_each(&indices, observer)?;
        for (index, answer) in indices.into_iter().zip(answers) {
            results[index] = Some(answer);
        }
        // INVARIANT: every request failed its check or is among `indices`.
        let results = results.into_iter().map(|result| result.expect("a result"));
        Ok(results.collect())
    }
}

/// The requests of a [`BatchBuilder`], which are run together or one by one.
struct Batch<'a> {
    model: &'a Florence2,
    requests: &'a [Request<'a>],
    options: &'a RunOptions,
    /// The start token of each request.
    starts: &'a [u32],
    emitted: Emitted,
}

impl Batch<'_> {
    /// Runs the requests at `indices` together. If this fails, runs each alone, which determines the
    /// requests that fail.
    ///
    /// # Errors
    /// Errors that concern all requests.
    fn run_each(
        &mut self,
        indices: &[usize],
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Vec<Result<Answer>>> {
        if let Ok(answers) = self.run(indices, observer)? {
            return Ok(answers.into_iter().map(Ok).collect());
        }
        let results = indices.iter().map(|index| {
            let answers = self.run(&[*index], observer)?;
            // INVARIANT: there is one answer per request.
            Ok(answers.map(|answers| answers.into_iter().next().expect("an answer")))
        });
        results.collect()
    }

    /// Runs the requests at `indices` in one batch. The outer error concerns all requests, the inner
    /// one some of them.
    fn run(
        &mut self,
        indices: &[usize],
        observer: &mut GenerationObserver<'_>,
    ) -> Result<Result<Vec<Answer>>> {
        let requests = indices.iter().map(|index| self.requests[*index].clone());
        let requests: Vec<Request<'_>> = requests.collect();
        let starts = indices.iter().map(|index| self.starts[*index]);
        let mut options = self.options.clone();
        options.generation.decoder_start_token_id = Some(starts.collect());
        let answers = self.emitted.observe(indices, observer, |observer| {
            self.model.run_requests(&requests, &options, observer)
        });
        match answers {
            Err(error) if concerns_all(&error) => Err(error),
            answers => Ok(answers),
        }
    }
}

/// Returns true if an error concerns all requests of a batch.
fn concerns_all(error: &Error) -> bool {
    matches!(
        error,
        Error::DeviceFailed { .. }
            | Error::Forked { .. }
            | Error::Model(ModelError::Cancelled | ModelError::DeadlineExceeded)
    )
}

/// The number of tokens that an observer received for each request. A second run of a request emits
/// only the tokens after these.
struct Emitted(Vec<usize>);

impl Emitted {
    fn new(requests: usize) -> Self {
        Self(vec![0; requests])
    }

    /// Runs the requests at `indices` and forwards their events with these indices.
    fn observe<R>(
        &mut self,
        indices: &[usize],
        observer: &mut GenerationObserver<'_>,
        run: impl FnOnce(&mut GenerationObserver<'_>) -> R,
    ) -> R {
        if !observer.is_listening() {
            return run(&mut GenerationObserver::default());
        }
        let mut seen = vec![0; indices.len()];
        let mut forward = |event| match self.translate(indices, &mut seen, event) {
            Some(event) if observer.notify(event).is_err() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        run(&mut GenerationObserver::new(&mut forward))
    }

    /// Translates an event for the observer; `None` for a token that it has received before.
    fn translate(
        &mut self,
        indices: &[usize],
        seen: &mut [usize],
        event: GenerationEvent,
    ) -> Option<GenerationEvent> {
        let GenerationEvent::Token {
            entry,
            token_id,
            log_prob,
        } = event
        else {
            return Some(event);
        };
        let index = indices[entry];
        seen[entry] += 1;
        if seen[entry] <= self.0[index] {
            return None;
        }
        self.0[index] = seen[entry];
        Some(GenerationEvent::Token {
            entry: index,
            token_id,
            log_prob,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(entry: usize, token_id: u32) -> GenerationEvent {
        GenerationEvent::Token {
            entry,
            token_id,
            log_prob: 0.0,
        }
    }

    #[test]
    fn tokens_of_a_second_run_are_emitted_once() {
        let mut received = Vec::new();
        let mut callback = |event| {
            if let GenerationEvent::Token {
                entry, token_id, ..
            } = event
            {
                received.push((entry, token_id));
            }
            ControlFlow::Continue(())
        };
        let mut observer = GenerationObserver::new(&mut callback);
        let mut emitted = Emitted::new(4);
        emitted.observe(&[1, 3], &mut observer, |observer| {
            for event in [token(0, 10), token(1, 30), token(0, 11)] {
                observer.notify(event).unwrap();
            }
        });
        emitted.observe(&[1], &mut observer, |observer| {
            for event in [token(0, 10), token(0, 11), token(0, 12)] {
                observer.notify(event).unwrap();
            }
        });
        emitted.observe(&[3], &mut observer, |observer| {
            observer.notify(token(0, 30)).unwrap();
        });
        assert_eq!(received, [(1, 10), (3, 30), (1, 11), (1, 12)]);
    }
}

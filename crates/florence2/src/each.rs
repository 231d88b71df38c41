//! Batches in which a failed request does not affect the others.

use std::ops::ControlFlow;

use florence2_core::Error as ModelError;
use florence2_core::generate::{GenerationEvent, GenerationObserver};

use crate::answer::Answer;
use crate::error::{Error, Result};
use crate::model::{Florence2, Request};
use crate::options::RunOptions;

impl Florence2 {
    /// Runs requests in one batch, as [`run_requests`](Self::run_requests) does, and returns a
    /// result for each. A failed request does not affect the others.
    ///
    /// # Errors
    /// Errors that concern all requests: invalid options, [`Error::DeviceFailed`],
    /// [`Error::Forked`], [`ModelError::Cancelled`] and [`ModelError::DeadlineExceeded`].
    pub fn run_requests_each(
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
            .map(|request| self.check_whole(request).err().map(Err))
            .collect();
        let places: Vec<usize> = (0..requests.len())
            .filter(|index| results[*index].is_none())
            .collect();
        let sound: Vec<Request<'_>> = places
            .iter()
            .map(|index| requests[*index].clone())
            .collect();
        let mut emitted = Emitted::new(requests.len());
        let answers = emitted.observe(&places, observer, |observer| {
            self.run_requests(&sound, &options_of(options, &starts, &places), observer)
        });
        match answers {
            Ok(answers) => {
                for (index, answer) in places.iter().zip(answers) {
                    results[*index] = Some(Ok(answer));
                }
            }
            Err(error) if concerns_all(&error) => return Err(error),
            // Separate runs determine which request failed.
            Err(_) => {
                for index in places {
                    let request = std::slice::from_ref(&requests[index]);
                    let answers = emitted.observe(&[index], observer, |observer| {
                        self.run_requests(
                            request,
                            &options_of(options, &starts, &[index]),
                            observer,
                        )
                    });
                    results[index] = Some(match answers {
                        // INVARIANT: one request, one answer.
                        Ok(answers) => Ok(answers.into_iter().next().expect("an answer")),
                        Err(error) if concerns_all(&error) => return Err(error),
                        Err(error) => Err(error),
                    });
                }
            }
        }
        // INVARIANT: every request failed its check or is among `places`.
        let results = results.into_iter().map(|result| result.expect("a result"));
        Ok(results.collect())
    }

    /// Performs the checks of a request that require no inference.
    fn check_whole(&self, request: &Request<'_>) -> Result<()> {
        self.check(request)?;
        let prompts = [(&request.prompt, request.subject.size())];
        let tokens = self.processor().tokenize(&prompts)?;
        self.check_vocabulary(tokens.input_ids.iter().flatten())
    }
}

/// The options of the requests at `places`, of whose batch `starts` has a start token for each
/// request.
fn options_of(options: &RunOptions, starts: &[u32], places: &[usize]) -> RunOptions {
    let mut options = options.clone();
    let starts = places.iter().map(|place| starts[*place]);
    options.generation.decoder_start_token_id = Some(starts.collect());
    options
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

    /// Runs the requests at `places` and forwards their events with these indices.
    fn observe<R>(
        &mut self,
        places: &[usize],
        observer: &mut GenerationObserver<'_>,
        run: impl FnOnce(&mut GenerationObserver<'_>) -> R,
    ) -> R {
        if !observer.is_listening() {
            return run(&mut GenerationObserver::default());
        }
        let mut seen = vec![0; places.len()];
        let mut forward = |event| match self.translate(places, &mut seen, event) {
            Some(event) if observer.notify(event).is_err() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        run(&mut GenerationObserver::new(&mut forward))
    }

    /// Translates an event for the observer; `None` for a token that it has received before.
    fn translate(
        &mut self,
        places: &[usize],
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
        let place = places[entry];
        seen[entry] += 1;
        if seen[entry] <= self.0[place] {
            return None;
        }
        self.0[place] = seen[entry];
        Some(GenerationEvent::Token {
            entry: place,
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

//! Observation and cancellation of a run.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::{Error, Result};

/// Cancels a run from any thread. It is checked before each vision stage and each decoder step.
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    cancelled: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl CancelToken {
    /// Creates a token that also ends runs at `deadline`.
    pub fn with_deadline(deadline: Instant) -> Self {
        Self {
            deadline: Some(deadline),
            ..Self::default()
        }
    }

    /// Returns this token with `deadline` as a further deadline.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        let earlier = self.deadline.map_or(deadline, |own| own.min(deadline));
        Self {
            cancelled: Arc::clone(&self.cancelled),
            deadline: Some(earlier),
        }
    }

    /// Cancels every run that holds a clone of this token.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Returns whether [`Self::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Checks that the run may continue.
    ///
    /// # Errors
    /// [`Error::Cancelled`] after a cancellation, [`Error::DeadlineExceeded`] after the deadline.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Error::DeadlineExceeded),
            _ => Ok(()),
        }
    }
}

/// An event of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GenerationEvent {
    /// A token of an entry's best sequence. Greedy search and single-sequence sampling report it
    /// when it is chosen, other searches when they have ended.
    Token {
        /// The batch entry.
        entry: usize,
        /// The token.
        token_id: u32,
        /// Its log-probability.
        log_prob: f32,
    },
    /// A step is complete (every search).
    Progress {
        /// The number of tokens per sequence so far.
        new_tokens: usize,
        /// The maximum number of tokens per sequence.
        max_new_tokens: usize,
    },
}

/// A callback for [`GenerationEvent`]s, called on the generating thread. `Break` cancels the run.
#[derive(Default)]
pub struct GenerationObserver<'a> {
    callback: Option<&'a mut dyn FnMut(GenerationEvent) -> ControlFlow<()>>,
}

impl<'a> GenerationObserver<'a> {
    /// Creates an observer with a callback.
    pub fn new(callback: &'a mut dyn FnMut(GenerationEvent) -> ControlFlow<()>) -> Self {
        Self {
            callback: Some(callback),
        }
    }

    /// Returns whether there is a callback.
    pub fn is_listening(&self) -> bool {
        self.callback.is_some()
    }

    /// Calls the callback with an event.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the callback returns `Break`.
    pub fn notify(&mut self, event: GenerationEvent) -> Result<()> {
        match self.callback.as_mut().map(|callback| callback(event)) {
            Some(ControlFlow::Break(())) => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }
}

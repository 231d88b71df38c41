//! Watching a run and ending it early.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::{Error, Result};

/// Ends a run from any thread; checked before each vision stage and each decoder step.
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    cancelled: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl CancelToken {
    /// A token that also fires by itself at `deadline`.
    pub fn with_deadline(deadline: Instant) -> Self {
        Self {
            deadline: Some(deadline),
            ..Self::default()
        }
    }

    /// This token, firing by itself at `deadline` too.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        let earlier = self.deadline.map_or(deadline, |own| own.min(deadline));
        Self {
            cancelled: Arc::clone(&self.cancelled),
            deadline: Some(earlier),
        }
    }

    /// Ends every run that holds a clone of this token.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`Error::Cancelled`] once cancelled, [`Error::DeadlineExceeded`] once late.
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

/// What a run tells while it generates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GenerationEvent {
    /// A token of an entry's best sequence: as it is chosen by greedy search and single-sequence
    /// sampling, else when the searches have ended.
    Token {
        /// The batch entry.
        entry: usize,
        /// The token.
        token_id: u32,
        /// Its log-probability.
        log_prob: f32,
    },
    /// A step was made (every search).
    Progress {
        /// Tokens per sequence so far.
        new_tokens: usize,
        /// Tokens per sequence at most.
        max_new_tokens: usize,
    },
}

/// A listener to [`GenerationEvent`]s, called on the generating thread; `Break` cancels the run.
#[derive(Default)]
pub struct GenerationObserver<'a> {
    callback: Option<&'a mut dyn FnMut(GenerationEvent) -> ControlFlow<()>>,
}

impl<'a> GenerationObserver<'a> {
    /// Listens with a callback.
    pub fn new(callback: &'a mut dyn FnMut(GenerationEvent) -> ControlFlow<()>) -> Self {
        Self {
            callback: Some(callback),
        }
    }

    /// Whether anyone listens.
    pub fn is_listening(&self) -> bool {
        self.callback.is_some()
    }

    /// Tells the listener of an event.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the listener breaks.
    pub fn notify(&mut self, event: GenerationEvent) -> Result<()> {
        match self.callback.as_mut().map(|callback| callback(event)) {
            Some(ControlFlow::Break(())) => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }
}

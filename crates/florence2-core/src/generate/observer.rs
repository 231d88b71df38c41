//! Observation of a run: a callback for its tokens and its progress.

use std::ops::ControlFlow;

use crate::error::{Error, Result};

/// An event of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum GenerationEvent {
    /// A token of an entry's best sequence. Greedy search and single-sequence sampling report it
    /// when it is chosen, other searches when they have ended.
    Token {
        /// The batch entry.
        entry: usize,
        /// The token's id.
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

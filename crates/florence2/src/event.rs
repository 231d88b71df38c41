//! The events of a run: its tokens with their text, and its progress.

use std::fmt;
use std::ops::ControlFlow;

use florence2_core::generate::{GenerationEvent, GenerationObserver};
use florence2_processor::{TextStream, Tokenizer};

/// A generated token.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Token<'a> {
    /// The index of the token's request in its batch; 0 for a single request.
    pub entry: usize,
    /// The token's id.
    pub token_id: u32,
    /// The text that the token adds to the answer. A character that consists of several tokens is
    /// part of the last of them. Empty for `<s>`, `</s>` and `<pad>`.
    pub text: &'a str,
    /// The natural logarithm of the token's probability, given the tokens before it.
    pub log_prob: f32,
}

/// An event of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum RunEvent<'a> {
    /// A token of the best sequence of a request. Greedy search and single-sequence sampling report
    /// it when it is chosen, other searches when they have ended.
    Token(Token<'a>),
    /// A step of the search is complete. The progress of a batch begins again if one of its requests
    /// fails, because the others then run one at a time.
    Progress {
        /// The number of tokens per sequence so far.
        new_tokens: usize,
        /// The maximum number of tokens per sequence.
        max_new_tokens: usize,
    },
}

type OnToken<'a> = Box<dyn FnMut(Token<'_>) + 'a>;
type OnEvent<'a> = Box<dyn FnMut(RunEvent<'_>) -> ControlFlow<()> + 'a>;

/// The callbacks of a run.
#[derive(Default)]
pub(crate) struct Callbacks<'a> {
    pub(crate) on_token: Option<OnToken<'a>>,
    pub(crate) on_event: Option<OnEvent<'a>>,
}

impl Callbacks<'_> {
    /// Runs `requests` requests with an observer that calls these callbacks.
    pub(crate) fn observe<R>(
        mut self,
        tokenizer: &Tokenizer,
        requests: usize,
        run: impl FnOnce(&mut GenerationObserver<'_>) -> R,
    ) -> R {
        if self.on_token.is_none() && self.on_event.is_none() {
            return run(&mut GenerationObserver::default());
        }
        let mut texts: Vec<TextStream<'_>> =
            (0..requests).map(|_| TextStream::new(tokenizer)).collect();
        let mut forward = |event| match event {
            GenerationEvent::Token {
                entry,
                token_id,
                log_prob,
            } => self.token(Token {
                entry,
                token_id,
                text: &texts[entry].push(token_id),
                log_prob,
            }),
            GenerationEvent::Progress {
                new_tokens,
                max_new_tokens,
            } => self.event(RunEvent::Progress {
                new_tokens,
                max_new_tokens,
            }),
            _ => ControlFlow::Continue(()),
        };
        run(&mut GenerationObserver::new(&mut forward))
    }

    fn token(&mut self, token: Token<'_>) -> ControlFlow<()> {
        if let Some(on_token) = &mut self.on_token {
            on_token(token);
        }
        self.event(RunEvent::Token(token))
    }

    fn event(&mut self, event: RunEvent<'_>) -> ControlFlow<()> {
        match &mut self.on_event {
            Some(on_event) => on_event(event),
            None => ControlFlow::Continue(()),
        }
    }
}

/// Shows which callbacks are set.
impl fmt::Debug for Callbacks<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Callbacks")
            .field("on_token", &self.on_token.is_some())
            .field("on_event", &self.on_event.is_some())
            .finish()
    }
}

/// Declares the setters of the callbacks of a builder with a field `callbacks`.
macro_rules! callback_setters {
    ($lifetime:lifetime) => {
        /// Sets a callback that receives each token with its text, in order, on the thread that
        /// calls `run`. Greedy search and single-sequence sampling call it during the run, other
        /// searches after it.
        pub fn on_token(
            mut self,
            on_token: impl FnMut($crate::event::Token<'_>) + $lifetime,
        ) -> Self {
            self.callbacks.on_token = Some(Box::new(on_token));
            self
        }

        /// Sets a callback that receives the tokens and the progress, in order, on the thread that
        /// calls `run`. `Break` cancels the run: it returns
        /// [`Cancelled`](florence2_core::Error::Cancelled).
        pub fn on_event(
            mut self,
            on_event: impl FnMut($crate::event::RunEvent<'_>) -> std::ops::ControlFlow<()> + $lifetime,
        ) -> Self {
            self.callbacks.on_event = Some(Box::new(on_event));
            self
        }
    };
}

pub(crate) use callback_setters;
